//! Thousands of connections from many addresses, none of which comes to the point.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trust::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Connects and says nothing.
    Silent,
    /// Says half of what opens a TLS handshake.
    Halfway,
    /// Says what opens a TLS handshake, a byte a second.
    Slow,
    /// Ends the handshake and says nothing more.
    Greeted,
}

/// Connections at a time, each opened again when the node ends it, until so many have been tried and the time is over, give or take some seconds.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub manner: Manner,
    pub at_a_time: usize,
    pub total: usize,
    pub time: Duration,
}

/// Opened at a time: a burst beyond the kernel's queue of those who wait would only be repeated by the kernel.
const OPENING: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Where the machine is so busy that so many cannot be opened in the time, there is more.
const OVERTIME: Duration = Duration::from_secs(20);
const BYTE_PERIOD: Duration = Duration::from_secs(1);

impl Crowd {
    /// How many connections came about. To be run where these addresses are.
    pub async fn run(self, from: Vec<Ipv4Addr>, nodes: Vec<SocketAddr>, token: Token) -> usize {
        have_files_for(self.at_a_time);
        let hello: Arc<[u8]> = hello(&token).into();
        let gate = Arc::new(tokio::sync::Semaphore::new(OPENING));
        let end = Instant::now() + self.time;
        let last_call = end + OVERTIME;
        let mut held = JoinSet::new();
        let mut came_about = 0;
        let mut opened = 0;
        let mut count = |ended: Option<Result<bool, tokio::task::JoinError>>| came_about += usize::from(matches!(ended, Some(Ok(true))));
        while Instant::now() < end || opened < self.total && Instant::now() < last_call {
            if held.len() >= self.at_a_time {
                count(held.join_next().await);
                continue;
            }
            let (address, node) = (from[opened % from.len()], nodes[opened / from.len() % nodes.len()]);
            opened += 1;
            let (gate, hello, manner) = (gate.clone(), hello.clone(), self.manner);
            let permit = gate.acquire_owned().await.expect("it is never closed");
            let token = token.clone();
            held.spawn(async move {
                let Ok(socket) = connect(address, node).await else { return false };
                drop(permit);
                let _ended_by_the_node = timeout(end.saturating_duration_since(Instant::now()), be(manner, socket, &hello, &token)).await;
                true
            });
            while let Some(ended) = held.try_join_next() {
                count(Some(ended));
            }
            // Whoever was turned away at once comes again, but not as fast as a processor can.
            if opened > self.total {
                sleep(Duration::from_millis(2)).await;
            }
        }
        while let Some(ended) = held.join_next().await {
            count(Some(ended));
        }
        came_about
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((from, 0).into())?;
    timeout(CONNECT_TIMEOUT, socket.connect(to)).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Until the node ends it.
async fn be(manner: Manner, mut socket: TcpStream, hello: &[u8], token: &Token) -> std::io::Result<()> {
    match manner {
        Manner::Silent => {}
        Manner::Halfway => socket.write_all(&hello[..hello.len() / 2]).await?,
        Manner::Slow => {
            let mut heard = [0; 256];
            for byte in hello {
                socket.write_all(&[*byte]).await?;
                if let Ok(Ok(0) | Err(_)) = timeout(BYTE_PERIOD, socket.read(&mut heard)).await {
                    return Ok(());
                }
            }
        }
        Manner::Greeted => {
            let mut session = crate::pass::Pass::of_stranger(token).greet(socket).await?;
            return until_ended(&mut session).await;
        }
    }
    until_ended(&mut socket).await
}

async fn until_ended(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut heard = [0; 256];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

/// What opens a handshake.
fn hello(token: &Token) -> Vec<u8> {
    let mut session = ClientConnection::new(trust::pinned_config(token.ca_hash), trust::joining_name()).expect("the name is one");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("memory takes it");
    bytes
}

/// As many files as the system allows, and as many as are needed.
fn have_files_for(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the hard limit anybody may go");
    let needed = connections as u64 + 1_000;
    assert!(limit.maximum.is_none_or(|most| most >= needed), "this machine allows {:?} open files, {needed} are needed", limit.maximum);
}
