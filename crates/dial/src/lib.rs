//! Connections to nodes: plain, with TLS, or over a socket in the file system.
//!
//! Beside a channel it yields what the TLS session proved: who answered, and the bytes that only the two ends of this very session know.
//! Left out: whom to dial, whether the one who answered is the one meant, and when to try again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Error, Uri};

/// What the latest TLS session of a channel proved.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The certificate of the one who answered and those behind it, DER. Never empty.
    pub chain: Vec<Vec<u8>>,
    /// Known to both ends of the session and to nobody else.
    pub exporter: [u8; 32],
}

/// Connects without TLS.
pub async fn plain(endpoint: Endpoint) -> Result<Channel, Error> {
    endpoint.tcp_nodelay(true).connect().await
}

/// Connects with TLS to the host and port of the endpoint's URI, whose scheme is `http`: the encryption is ours. The answering end must prove
/// `name` under `config`.
pub async fn tls(endpoint: Endpoint, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<(Channel, Proof), Error> {
    let proof = Arc::new(Mutex::new(None));
    let noted = proof.clone();
    let connector = tower::service_fn(move |uri: Uri| {
        let (config, name, noted) = (config.clone(), name.clone(), noted.clone());
        async move {
            let session = greet(&uri, config, name).await?;
            *noted.lock().unwrap() = Some(proof_of(&session)?);
            Ok::<_, io::Error>(TokioIo::new(session))
        }
    });
    let channel = endpoint.connect_with_connector(connector).await?;
    let proof = proof.lock().unwrap().take().expect("a channel that is up has a session");
    Ok((channel, proof))
}

/// Connects over a node's own socket.
pub async fn local(endpoint: Endpoint, path: &Path) -> Result<Channel, Error> {
    let path: PathBuf = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await
}

async fn greet(uri: &Uri, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<TlsStream<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((host, uri.port_u16().unwrap_or_default())).await?;
    socket.set_nodelay(true)?;
    TlsConnector::from(config).connect(name, socket).await
}

fn proof_of(session: &TlsStream<TcpStream>) -> io::Result<Proof> {
    let (_, session) = session.get_ref();
    let chain = session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Proof { chain, exporter: trust::exporter(session).map_err(io::Error::other)? })
}
