//! The doors of a node: where it listens, and to whom.
//!
//! - A node that belongs to no closed cluster listens on loopback, or beyond it if it is told to be open; without encryption.
//! - From the moment on that it has the papers of a closed cluster it listens with TLS only, on every address; who listened without is closed.
//! - Over its own socket in the file system it hears root and the user that it runs as, always.

mod activity;
mod connection;
mod gate;
mod greetings;
mod inflow;
mod places;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use raft::NodeId;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use trust::Who;

use greetings::{Greeting, Greetings};

pub use activity::{Activity, UnderWay};
pub use connection::{Connection, Met, Wire};
pub use gate::Gate;
pub use places::{Place, Places};

use crate::{
    caller::{Caller, Proven},
    config::Listen,
    guard::Secured,
    node::Node,
};

/// Callers accepted and not yet served.
const ACCEPTED_QUEUED: usize = 16;
/// From connecting to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// For a caller that was refused to hear it.
const PARTING_TIMEOUT_MS: u64 = 300;
const PARTING_BYTES: usize = 64 << 10;
/// After an accept that failed, for want of file descriptors say.
const ACCEPT_PAUSE_MS: u64 = 100;
/// Only the user that the node runs as, and root.
const SOCKET_MODE: u32 = 0o600;

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

/// The node's own socket. One that a killed process left behind is in the way.
pub fn bind_local(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(socket)
}

/// Callers of all doors. The doors change when the node comes to the papers of a closed cluster.
pub fn open(node: Arc<Node>, listeners: Vec<TcpListener>, local: Option<UnixListener>) -> ReceiverStream<io::Result<Connection>> {
    let places = Arc::new(Places::new(node.config.limits.connections, node.config.limits.connections_per_address));
    let (accepted, stream) = mpsc::channel(ACCEPTED_QUEUED);
    if let Some(local) = local {
        tokio::spawn(hear_locally(local, accepted.clone()));
    }
    tokio::spawn(keep_doors(node, listeners, places, accepted));
    ReceiverStream::new(stream)
}

type Accepted = mpsc::Sender<io::Result<Connection>>;

/// Runs until nobody serves any more.
async fn keep_doors(node: Arc<Node>, mut listeners: Vec<TcpListener>, places: Arc<Places>, accepted: Accepted) {
    let mut papers = node.guard.watch();
    loop {
        let closed = papers.borrow_and_update().is_some();
        let mut doors = JoinSet::new();
        let open = watch::Sender::new(true);
        let greetings = Arc::new(Greetings::default());
        for listener in listeners {
            doors.spawn(hear(node.clone(), listener, places.clone(), greetings.clone(), open.subscribe(), accepted.clone()));
        }
        let first = papers.wait_for(|secured| secured.is_some() != closed);
        tokio::select! {
            changed = first => if changed.is_err() { return },
            () = accepted.closed() => return,
        }
        // The port is free once the tasks that hold it have ended.
        doors.shutdown().await;
        open.send_replace(false);
        listeners = loop {
            match bind(node.listen(), node.config.port).await {
                Ok(bound) => break bound,
                Err(error) => log::error!(port = node.config.port, error:%; "cannot listen with TLS; trying again"),
            }
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
        };
        log::info!(port = node.config.port; "listening with TLS, for the closed cluster");
    }
}

async fn hear(
    node: Arc<Node>,
    listener: TcpListener,
    places: Arc<Places>,
    greetings: Arc<Greetings>,
    open: watch::Receiver<bool>,
    accepted: Accepted,
) {
    loop {
        let Ok((socket, remote)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            continue;
        };
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let _ = socket.set_nodelay(true);
        let standing = node.guard.standing();
        let secured = node.guard.current();
        let met = match secured {
            None => places.client().map(|place| {
                let caller = Caller { remote: Some(remote), proven: Proven::Open };
                Connection::new(Wire::Plain(socket), caller, vec![place]).behind(open.clone())
            }),
            Some(secured) => {
                let from_node = node.book.has_node_at(remote.ip());
                let at = if from_node { Some(Vec::new()) } else { places.at(remote.ip()).map(|at| vec![at]) };
                // Whoever holds too much already displaces nobody.
                let handshake = at.is_some().then(|| match from_node {
                    true => places.node_handshake().map(Handshake::OfNode),
                    false => Some(Handshake::Greeting(greetings.begin(remote.ip()))),
                });
                if let Some((at, handshake)) = at.zip(handshake.flatten()) {
                    let greeted = Greeted { socket, remote, handshake, at, standing };
                    tokio::spawn(greet(node.clone(), secured, greeted, places.clone(), accepted.clone()));
                }
                None
            }
        };
        if let Some(connection) = met
            && accepted.send(Ok(connection)).await.is_err()
        {
            return;
        }
    }
}

/// A caller who is to prove who it is.
struct Greeted {
    socket: TcpStream,
    remote: SocketAddr,
    /// Free again when the handshake is over.
    handshake: Handshake,
    /// What it holds by its address.
    at: Vec<Place>,
    standing: watch::Receiver<bool>,
}

enum Handshake {
    /// Held for its drop.
    OfNode(#[allow(dead_code, reason = "held for its drop")] Place),
    Greeting(Greeting),
}

impl Handshake {
    /// Nobody displaces a node.
    async fn displaced(&self) {
        match self {
            Handshake::OfNode(_) => std::future::pending().await,
            Handshake::Greeting(greeting) => greeting.displaced().await,
        }
    }
}

async fn greet(node: Arc<Node>, secured: Arc<Secured>, greeted: Greeted, places: Arc<Places>, accepted: Accepted) {
    let Greeted { socket, remote, handshake, at, standing } = greeted;
    let acceptor = TlsAcceptor::from(secured.server.clone());
    let accepting = timeout(Duration::from_millis(HANDSHAKE_TIMEOUT_MS), acceptor.accept(socket).into_fallible());
    let session = tokio::select! {
        ended = accepting => ended,
        () = handshake.displaced() => return,
    };
    let session = match session {
        Ok(Ok(session)) => session,
        Ok(Err((error, socket))) => {
            node.guard.refused(remote.ip(), &error.to_string());
            return part(socket).await;
        }
        Err(_) => return,
    };
    let proven = match proven(&secured, session.get_ref().1) {
        Ok(proven) => proven,
        Err(why) => return node.guard.refused(remote.ip(), &why),
    };
    drop(handshake);
    let held = match proven {
        // Nodes are not counted by address.
        Proven::Node(_) => places.node().map(|place| vec![place]),
        Proven::Stranger { .. } => places.stranger().map(|place| at.into_iter().chain([place]).collect()),
        _ => places.client().map(|place| at.into_iter().chain([place]).collect()),
    };
    let Some(held) = held else { return };
    let caller = Caller { remote: Some(remote), proven };
    let _ = accepted.send(Ok(Connection::new(Wire::Tls(Box::new(session)), caller, held).behind(standing))).await;
}

/// Lets a caller read why it was refused. To close at once, with bytes of its own unread, takes back what was said to it.
async fn part(mut socket: TcpStream) {
    let reading = async {
        let (mut heard, mut left) = ([0; 1024], PARTING_BYTES);
        let _gone = socket.shutdown().await;
        while let Ok(count @ 1..) = socket.read(&mut heard).await
            && count < left
        {
            left -= count;
        }
    };
    let _bounded = timeout(Duration::from_millis(PARTING_TIMEOUT_MS), reading).await;
}

fn proven(secured: &Secured, session: &rustls::ServerConnection) -> Result<Proven, String> {
    let Some([leaf, ..]) = session.peer_certificates() else {
        return Ok(Proven::Stranger { exporter: trust::exporter(session).map_err(|error| error.to_string())? });
    };
    let subject = trust::subject_of(leaf).map_err(|error| error.to_string())?;
    if subject.cluster_id != secured.cluster_id {
        return Err("a certificate of another cluster".into());
    }
    Ok(match subject.who {
        Who::Node(id) => Proven::Node(NodeId(id)),
        Who::Client { id, grant } => Proven::Client { id, grant },
    })
}

async fn hear_locally(listener: UnixListener, accepted: Accepted) {
    let me = rustix::process::geteuid().as_raw();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            continue;
        };
        // The file's mode says the same; but a careless chmod must not hand out the cluster.
        let vouched = socket.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == me);
        if vouched {
            let caller = Caller { remote: None, proven: Proven::Local };
            if accepted.send(Ok(Connection::new(Wire::Local(socket), caller, Vec::new()))).await.is_err() {
                return;
            }
        }
    }
}
