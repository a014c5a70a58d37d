//! A LAN inside this machine: boards and a client's computer on a bridge, each with a network of its own; nothing of it touches the host's.
//!
//! - The bridge is the kernel's, in a network of its own. The cables between it and the boards are ours, so that they can be cut in one
//!   direction, delay frames, and tell what passes; this needs no packet filter and no traffic control of the kernel.
//! - All of it is held by this process alone and goes with it, also when it is killed. Nodes on it belong to the test like others.

mod avahi;
mod board;
mod cable;
mod frame;
mod namespace;
mod tap;

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use avahi::Avahi;
pub use board::Board;
pub use namespace::Namespace;

use cable::Cable;

const BRIDGE: &str = "br0";
const PREFIX_BITS: u8 = 24;
/// Of the client's computer; the boards count from 1.
const CLIENT_NUMBER: u8 = 100;
const WORKER_THREADS: usize = 2;

pub struct Lan {
    pub boards: Vec<Board>,
    /// Where the story is told: test code, load and command line run here.
    pub client: Board,
    _bridge: Namespace,
    _wires: Wires,
}

/// Tells a story on a new LAN, or skips it where the machine does not allow one. Everything in it runs on the client's computer.
pub fn on_lan(boards: u8, story: impl AsyncFnOnce(Lan) + Send) {
    if let Some(reason) = missing() {
        return crate::skip(reason);
    }
    let lan = Lan::new(boards).expect("a LAN can be made here");
    let client = lan.client.network.clone();
    client.run(|| {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build().expect("threads start");
        runtime.block_on(story(lan));
    });
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("a LAN inside this machine needs root");
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("a LAN inside this machine needs /dev/net/tun");
    }
    match Namespace::new() {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("a LAN inside this machine needs the command `ip` (Debian: iproute2)")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some("this machine lets nobody make a network namespace"),
        Err(error) => panic!("no network namespace: {error}"),
    }
}

impl Lan {
    fn new(boards: u8) -> io::Result<Lan> {
        let bridge = Namespace::new()?;
        bridge.ip(&format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up\n"))?;
        let mut cables = Vec::new();
        let mut plug_in = |number| -> io::Result<Board> {
            let (board, cable) = Board::plug_in(number, first_address(number), &bridge)?;
            cables.push(cable);
            Ok(board)
        };
        let client = plug_in(CLIENT_NUMBER)?;
        let boards = (1..=boards).map(plug_in).collect::<io::Result<_>>()?;
        Ok(Lan { boards, client, _wires: Wires::lay(cables), _bridge: bridge })
    }

    /// From now on nothing of board `from` arrives at board `to`.
    pub fn cut(&self, from: usize, to: usize) {
        self.boards[to].weather().deaf_to.insert(self.boards[from].mac);
    }

    /// Takes back every [`cut`](Lan::cut).
    pub fn heal(&self) {
        for board in &self.boards {
            board.weather().deaf_to.clear();
        }
    }

    /// Every frame to a board takes longer by a time between 0 and `most`.
    pub fn jitter(&self, most: Duration) {
        for board in &self.boards {
            board.weather().jitter = most;
        }
    }
}

fn first_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

/// The thread that carries all frames.
struct Wires {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Wires {
    fn lay(cables: Vec<Cable>) -> Wires {
        let (end, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let carry = move || {
            runtime.block_on(async {
                let mut carried: JoinSet<io::Result<()>> = cables.into_iter().map(Cable::carry).collect();
                tokio::select! {
                    _ = ended => {}
                    broken = carried.join_next() => panic!("a cable broke: {broken:?}"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("cables".into()).spawn(carry).expect("a thread starts");
        Wires { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        drop(self.end.take());
        let carried = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(carried, Some(Err(_))), "a cable broke");
    }
}
