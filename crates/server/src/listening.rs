//! Sockets that wait for callers, and how many callers there may be.
//!
//! Invariants:
//! - a caller beyond the bound is closed at once, so that it goes to another node: one left in the kernel's queue would wait for ever;
//! - who says nothing keeps no place: a caller has a few seconds for the first bytes of HTTP/2. Behind them the server's own
//!   keepalive finds out whether anybody is still there.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::config::Listen;

/// Callers accepted and not yet served.
const ACCEPTED_QUEUED: usize = 16;
/// From connecting to the end of the preface.
const PREFACE_TIMEOUT_MS: u64 = 5_000;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// After an accept that failed, for want of file descriptors say.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Binds the port. On loopback IPv4 must work, IPv6 may.
pub async fn bind(listen: Listen, port: u16) -> io::Result<Vec<TcpListener>> {
    match listen {
        Listen::Loopback => {
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
            Ok([Some(v4), v6].into_iter().flatten().collect())
        }
        // Dual-stack where the system has IPv6 at all.
        Listen::Any => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(both) => Ok(vec![both]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => Ok(vec![TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?]),
        },
    }
}

/// Callers of all sockets, at most `connections_max` at a time; further ones are closed.
pub fn accept(listeners: Vec<TcpListener>, connections_max: usize) -> ReceiverStream<io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(connections_max));
    let (accepted, stream) = mpsc::channel(ACCEPTED_QUEUED);
    for listener in listeners {
        let (permits, accepted) = (permits.clone(), accepted.clone());
        tokio::spawn(async move {
            loop {
                let socket = tokio::select! {
                    socket = listener.accept() => socket,
                    () = accepted.closed() => return,
                };
                match socket {
                    Ok((socket, _)) => {
                        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                        let _ = socket.set_nodelay(true);
                        if accepted.send(Ok(Connection::new(socket, permit))).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await,
                }
            }
        });
    }
    ReceiverStream::new(stream)
}

/// One caller; its place is free again when it goes.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// Until the preface is here: its bytes still to come, and when patience ends.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(socket: TcpStream, permit: OwnedSemaphorePermit) -> Connection {
        let patience = Box::pin(sleep(Duration::from_millis(PREFACE_TIMEOUT_MS)));
        Connection { socket, preface: Some((PREFACE_BYTES, patience)), _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        let canonical = |address: io::Result<SocketAddr>| address.ok().map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()));
        TcpConnectInfo { local_addr: canonical(self.socket.local_addr()), remote_addr: canonical(self.socket.peer_addr()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Some((missing, patience)) = &mut self.preface {
            *missing = missing.saturating_sub(buf.filled().len() - before);
            if *missing == 0 {
                self.preface = None;
            } else if read.is_pending() && patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
