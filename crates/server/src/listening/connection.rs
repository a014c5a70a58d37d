//! One caller's connection: bytes, who it is, and the places it holds.
//!
//! Who says nothing keeps no place: a caller has a few seconds for the first bytes of HTTP/2. Behind them the server's own keepalive finds
//! out whether anybody is still there.
//!
//! A connection without encryption ends when the node comes to belong to a closed cluster: whoever was let in unasked is not in any more.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::Place;
use crate::caller::Caller;

/// From the first byte to the end of the preface.
const PREFACE_TIMEOUT_MS: u64 = 5_000;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// One caller; its places are free again when it goes.
pub struct Connection {
    wire: Wire,
    caller: Caller,
    /// Until the preface is here: its bytes still to come, and when patience ends.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    /// Of a connection without encryption: ends when the door behind it is closed.
    door: Option<watch::Receiver<bool>>,
    _places: Vec<Place>,
}

/// What the bytes come over.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Local(UnixStream),
}

impl Connection {
    pub fn new(wire: Wire, caller: Caller, places: Vec<Place>) -> Connection {
        let patience = Box::pin(sleep(Duration::from_millis(PREFACE_TIMEOUT_MS)));
        Connection { wire, caller, preface: Some((PREFACE_BYTES, patience)), door: None, _places: places }
    }

    /// It lasts no longer than the door is open.
    pub fn behind(self, door: watch::Receiver<bool>) -> Connection {
        Connection { door: Some(door), ..self }
    }

    fn is_shut(&self) -> bool {
        self.door.as_ref().is_some_and(|open| !*open.borrow())
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_shut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Wire::Tls(session) => Pin::new(session).poll_read(cx, buf),
            Wire::Local(socket) => Pin::new(socket).poll_read(cx, buf),
        };
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
        if self.is_shut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Wire::Tls(session) => Pin::new(session).poll_write(cx, buf),
            Wire::Local(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Tls(session) => Pin::new(session).poll_flush(cx),
            Wire::Local(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Tls(session) => Pin::new(session).poll_shutdown(cx),
            Wire::Local(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Wire::Tls(session) => Pin::new(session).poll_write_vectored(cx, bufs),
            Wire::Local(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(socket) => socket.is_write_vectored(),
            Wire::Tls(session) => session.is_write_vectored(),
            Wire::Local(socket) => socket.is_write_vectored(),
        }
    }
}
