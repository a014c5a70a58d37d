//! One caller's connection: bytes, who it is, and the places it holds.
//!
//! It ends by itself:
//! - when the first bytes of HTTP/2 are not there within a few seconds: who says nothing keeps no place. Behind them the server's own keepalive
//!   finds out whether anybody is still there;
//! - when its caller has shown no certificate and has had the time that asking to be admitted takes;
//! - when nothing has been under way on it for long, unless it is a node's: a forgotten connection keeps no place from others. It is an end, not
//!   an error, so that clients just connect again;
//! - when it is without encryption and the node comes to belong to a closed cluster: whoever was let in unasked is not in any more.
//!
//! Reading and writing both look at the time: a caller who takes no bytes would else never be looked at again.

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
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{Activity, Place};
use crate::caller::{Caller, Proven};

/// From the first byte to the end of the preface.
const PREFACE_TIMEOUT_MS: u64 = 5_000;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// A caller without a certificate: longer than any admission takes.
const STRANGER_LIFE_MS: u64 = 30_000;
/// Without a stream. Longer than the pauses of whoever does something now and then.
const IDLE_TIMEOUT_MS: u64 = 600_000;

/// How long who is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    preface: Duration,
    life: Duration,
    idle: Duration,
}

const PATIENCE: Patience = Patience {
    preface: Duration::from_millis(PREFACE_TIMEOUT_MS),
    life: Duration::from_millis(STRANGER_LIFE_MS),
    idle: Duration::from_millis(IDLE_TIMEOUT_MS),
};

/// One caller; its places are free again when it goes.
pub struct Connection {
    wire: Wire,
    caller: Caller,
    activity: Activity,
    /// A stranger's time.
    life: Option<Pin<Box<Sleep>>>,
    /// When to look next whether anything is under way, and how long there may be nothing.
    idle: Option<(Pin<Box<Sleep>>, Duration)>,
    /// Until the preface is here: its bytes still to come, and when patience ends.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    /// Ends the connection when it turns false: one without encryption when the node comes to belong to a closed cluster, any other when an
    /// authority is trusted no more.
    door: Option<watch::Receiver<bool>>,
    _places: Vec<Place>,
}

/// Who is behind a connection, and what is under way on it.
#[derive(Clone, Debug)]
pub struct Met {
    pub caller: Caller,
    pub activity: Activity,
}

/// What the bytes come over.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Local(UnixStream),
}

impl Connection {
    pub fn new(wire: Wire, caller: Caller, places: Vec<Place>) -> Connection {
        Connection::within(PATIENCE, wire, caller, places)
    }

    fn within(patience: Patience, wire: Wire, caller: Caller, places: Vec<Place>) -> Connection {
        let after = |duration| Box::pin(sleep(duration));
        let life = matches!(caller.proven, Proven::Stranger { .. }).then(|| after(patience.life));
        let idle = (!matches!(caller.proven, Proven::Node(_))).then(|| (after(patience.idle), patience.idle));
        let preface = Some((PREFACE_BYTES, after(patience.preface)));
        Connection { wire, caller, activity: Activity::new(), life, idle, preface, door: None, _places: places }
    }

    /// It lasts no longer than the door is open.
    pub fn behind(self, door: watch::Receiver<bool>) -> Connection {
        Connection { door: Some(door), ..self }
    }

    /// Why it is over, if it is.
    fn is_over(&mut self, cx: &mut Context<'_>) -> Option<io::ErrorKind> {
        if self.door.as_ref().is_some_and(|open| !*open.borrow()) {
            return Some(io::ErrorKind::ConnectionAborted);
        }
        self.life.as_mut().is_some_and(|life| life.as_mut().poll(cx).is_ready()).then_some(io::ErrorKind::TimedOut)
    }

    fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((look, patience)) = &mut self.idle else { return false };
        while look.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let until = self.activity.idle_at(now, *patience);
            if until <= now {
                // Asked again, it says the same.
                look.set(sleep_until(now));
                return true;
            }
            look.as_mut().reset(until);
        }
        false
    }
}

impl Connected for Connection {
    type ConnectInfo = Met;

    fn connect_info(&self) -> Met {
        Met { caller: self.caller.clone(), activity: self.activity.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(over) = self.is_over(cx) {
            return Poll::Ready(Err(over.into()));
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
        if read.is_pending() && self.is_idle(cx) {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(over) = self.is_over(cx) {
            return Poll::Ready(Err(over.into()));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Wire::Tls(session) => Pin::new(session).poll_write(cx, buf),
            Wire::Local(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(over) = self.is_over(cx) {
            return Poll::Ready(Err(over.into()));
        }
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
        if let Some(over) = self.is_over(cx) {
            return Poll::Ready(Err(over.into()));
        }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use raft::NodeId;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };
    use trust::{Grant, Role};

    use super::*;

    const SHORT: Patience =
        Patience { preface: Duration::from_millis(100), life: Duration::from_millis(200), idle: Duration::from_millis(300) };

    /// A caller that has sent the preface, and the node's end of it.
    async fn connected(proven: Proven) -> (UnixStream, Connection) {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut connection = Connection::within(SHORT, Wire::Local(near), Caller { remote: None::<SocketAddr>, proven }, Vec::new());
        far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        connection.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        (far, connection)
    }

    fn client() -> Proven {
        Proven::Client { id: 1, grant: Grant { role: Role::Read, prefix: Vec::new() } }
    }

    /// Reads on, sending a byte now and then, until the connection ends: with what, and after how long.
    async fn end(far: &mut UnixStream, connection: &mut Connection) -> (Result<usize, io::ErrorKind>, Duration) {
        let begun = Instant::now();
        loop {
            let read = timeout(Duration::from_millis(10), connection.read(&mut [0; 8])).await;
            match read {
                Ok(Ok(1..)) => {}
                Ok(ended) => return (ended.map_err(|error| error.kind()), begun.elapsed()),
                Err(_) => far.write_all(b"x").await.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_begin_in_time_is_gone() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        let mut connection = Connection::within(SHORT, Wire::Local(near), Caller { remote: None, proven: client() }, Vec::new());
        far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await.unwrap();
        connection.read_exact(&mut [0; PREFACE_BYTES - 1]).await.unwrap();
        let ended = connection.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SHORT.preface && begun.elapsed() < SHORT.idle);
    }

    #[tokio::test]
    async fn a_stranger_has_its_time_whatever_it_does() {
        let begun = Instant::now();
        let (mut far, mut connection) = connected(Proven::Stranger { exporter: [0; 32] }).await;
        let _busy = connection.activity.begin(1).unwrap();
        let (ended, _) = end(&mut far, &mut connection).await;
        assert_eq!(ended, Err(io::ErrorKind::TimedOut));
        assert!(begun.elapsed() >= SHORT.life);
        assert_eq!(connection.write(b"x").await.unwrap_err().kind(), io::ErrorKind::TimedOut, "nor is it told anything more");
    }

    #[tokio::test]
    async fn a_client_without_a_stream_is_gone_after_a_while_and_one_with_a_stream_is_not() {
        let (mut far, mut connection) = connected(client()).await;
        let stream = connection.activity.begin(1).unwrap();
        let still = timeout(SHORT.idle * 3, end(&mut far, &mut connection)).await;
        assert!(still.is_err(), "something is under way");
        drop(stream);
        // Pings go to and fro on every connection: bytes alone keep none.
        let (ended, after) = end(&mut far, &mut connection).await;
        assert_eq!(ended, Ok(0), "an end, no error");
        assert!(after >= SHORT.idle - Duration::from_millis(50), "{after:?}");
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap_or(0), 0, "and it stays one");
    }

    #[tokio::test]
    async fn nodes_are_kept_though_nothing_is_under_way() {
        let (mut far, mut connection) = connected(Proven::Node(NodeId(2))).await;
        assert!(timeout(SHORT.idle * 3, end(&mut far, &mut connection)).await.is_err());
    }
}
