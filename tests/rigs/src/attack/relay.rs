//! A man in the middle: ends the joiner's TLS with papers that it has, opens its own to a real node, and passes on every byte between the two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use trust::{Credentials, UnixSecs};

use super::Outpost;
use crate::pass::Pass;

/// Ends when dropped.
pub struct Relay {
    pub address: SocketAddr,
    met: Arc<AtomicU64>,
    believed: Arc<AtomicU64>,
    _end: oneshot::Sender<()>,
}

impl Relay {
    /// `shown`: to those who call; `pass`: with which it calls `node` itself.
    pub async fn between(outpost: &Outpost, shown: &Credentials, pass: Pass, node: String) -> Relay {
        let config = trust::server_config(shown, Arc::new(|| UnixSecs(0))).expect("they are a node's");
        let (bound, listening) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let (met, believed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (met.clone(), believed.clone());
        let (outpost, address) = (outpost.clone(), outpost.address);
        tokio::spawn(async move {
            let serve = move || async move {
                let listener = TcpListener::bind((address, 0)).await.expect("a port is free");
                let _ = bound.send(listener.local_addr().expect("it is bound"));
                let mut calls = JoinSet::new();
                let accept = async {
                    while let Ok((socket, _)) = listener.accept().await {
                        let (config, pass, node) = (config.clone(), pass.clone(), node.clone());
                        let (met, believed) = counts.clone();
                        met.fetch_add(1, Ordering::Relaxed);
                        calls.spawn(async move {
                            let mut here = TlsAcceptor::from(config).accept(socket).await?;
                            believed.fetch_add(1, Ordering::Relaxed);
                            let mut there = pass.greet(TcpStream::connect(node).await?).await?;
                            copy_bidirectional(&mut here, &mut there).await
                        });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = ended => {}
                }
            };
            outpost.run(serve).await;
        });
        Relay { address: listening.await.expect("it listens"), met, believed, _end: end }
    }

    /// Who called it.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    /// Callers that took it for a node.
    pub fn believed(&self) -> u64 {
        self.believed.load(Ordering::Relaxed)
    }
}
