//! How a caller of a closed cluster secures its connections, and proves who it is.

use std::fmt;
use std::io;
use std::sync::Arc;

use client::Login;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use trust::{Clock, Credentials, Error, Token, UnixSecs};

#[derive(Clone)]
pub struct Pass {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Pass {
    /// Of a user who has logged in.
    pub fn of(login: &Login) -> Pass {
        Pass { config: login.tls().expect("a login can be used"), name: trust::server_name(&login.cluster_id.0) }
    }

    /// Of whoever shows these credentials, rightly or not. It takes every node's certificate for valid, whatever its end.
    pub fn showing(credentials: &Credentials) -> Result<Pass, Error> {
        let beginning: Clock = Arc::new(|| UnixSecs(0));
        let name = trust::server_name(&credentials.subject()?.cluster_id);
        Ok(Pass { config: trust::client_config(credentials, beginning)?, name })
    }

    /// Of one who has only a token, and shows nothing.
    pub fn of_stranger(token: &Token) -> Pass {
        Pass { config: trust::pinned_config(token.ca_hash), name: trust::joining_name() }
    }

    /// The handshake. Whether a certificate shown is taken is known only once the other side has answered something.
    pub async fn greet(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        socket.set_nodelay(true)?;
        TlsConnector::from(self.config.clone()).connect(self.name.clone(), socket).await
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("name", &self.name).finish_non_exhaustive()
    }
}
