//! What the parts of a running node share.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use raft::NodeId;
use storage::{BlobHash, Blobs, RoomReport, Started};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    board,
    config::{Config, Listen},
    engine::Engine,
    fatal::Fatal,
    guard::{Guard, Guesses},
    peers::{Book, Identity, PROTOCOL_VERSION},
    snapshots::Shelf,
    state_in_force::StateInForce,
};

/// Version shown to people and peers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lost blobs that are named; there may be more.
const BLOBS_LOST_MAX: usize = 64;

/// One running node. The data directory is open; whether it belongs to a cluster is known to `member`.
pub struct Node {
    pub id: NodeId,
    /// Drawn at each start of the process.
    pub boot: u64,
    /// Which board this is, if that can be told.
    pub board: Option<u64>,
    pub config: Config,
    pub book: Arc<Book>,
    pub blobs: Blobs,
    pub state: StateInForce,
    /// The frozen copy of the state that peers may fetch.
    pub shelf: Arc<Shelf>,
    pub fatal: Fatal,
    pub uploads: Arc<Semaphore>,
    pub room: watch::Sender<RoomReport>,
    /// Blobs that the state refers to and that are not on this disk.
    pub blobs_missing: AtomicU64,
    pub blobs_whole: AtomicU64,
    /// A reader came upon a blob that is not on this disk, or not as it should be: worth a search.
    pub blob_absent: Notify,
    pub leader_changes: AtomicU64,
    /// What it has to do with a closed cluster.
    pub guard: Guard,
    pub guesses: Guesses,
    member: OnceLock<Member>,
    formed: watch::Sender<bool>,
    promised: Mutex<Option<Vec<NodeId>>>,
    /// The last started node that spoke to this one before it belonged to a cluster.
    hello: Mutex<Option<Hello>>,
    /// The cluster that an operator has this node make or enter.
    start: Mutex<Option<Started>>,
    waits_for: Mutex<String>,
    alarm: Mutex<String>,
    blobs_lost: Mutex<BTreeSet<BlobHash>>,
    stopping: watch::Sender<bool>,
}

/// A member of a formed cluster speaks to this node by its id: it was promised to, or it is to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub from: NodeId,
    pub cluster_id: [u8; 16],
    pub cluster_name: String,
}

/// A node's part in a formed cluster.
pub struct Member {
    pub cluster_id: [u8; 16],
    pub engine: Engine,
}

/// What a node starts with.
pub struct Parts {
    pub id: NodeId,
    pub boot: u64,
    pub config: Config,
    pub book: Arc<Book>,
    pub blobs: Blobs,
    pub state: StateInForce,
    pub fatal: Fatal,
    pub room: RoomReport,
    pub guard: Guard,
}

impl Node {
    pub fn new(parts: Parts) -> Node {
        Node {
            id: parts.id,
            boot: parts.boot,
            board: board::hint(&parts.config),
            uploads: Arc::new(Semaphore::new(parts.config.limits.uploads)),
            config: parts.config,
            book: parts.book,
            blobs: parts.blobs,
            state: parts.state,
            shelf: Arc::default(),
            fatal: parts.fatal,
            room: watch::Sender::new(parts.room),
            blobs_missing: AtomicU64::new(0),
            blobs_whole: AtomicU64::new(0),
            alarm: Mutex::default(),
            blobs_lost: Mutex::default(),
            blob_absent: Notify::new(),
            leader_changes: AtomicU64::new(0),
            guard: parts.guard,
            guesses: Guesses::default(),
            start: Mutex::default(),
            member: OnceLock::new(),
            formed: watch::Sender::new(false),
            promised: Mutex::default(),
            hello: Mutex::default(),
            waits_for: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// `None` until the node belongs to a formed cluster.
    pub fn member(&self) -> Option<&Member> {
        self.member.get()
    }

    pub fn identity(&self) -> Identity {
        Identity {
            protocol_version: PROTOCOL_VERSION,
            id: self.id,
            boot: self.boot,
            cluster_name: self.config.cluster_name.to_string(),
            cluster_id: self.member().map(|member| member.cluster_id),
            promised: self.promised.lock().unwrap().clone(),
            name: self.config.node_name.to_string(),
            version: VERSION.into(),
            port: self.config.port,
            board: self.board,
        }
    }

    /// The promise is durable: from now on others may hear of it.
    pub fn promised(&self, ids: Vec<NodeId>) {
        *self.promised.lock().unwrap() = Some(ids);
    }

    pub fn has_promised(&self) -> bool {
        self.promised.lock().unwrap().is_some()
    }

    /// A started node speaks to this one, which belongs to no cluster yet.
    pub fn note_hello(&self, hello: Hello) {
        *self.hello.lock().unwrap() = Some(hello);
    }

    pub fn take_hello(&self) -> Option<Hello> {
        self.hello.lock().unwrap().take()
    }

    /// An operator has this node make or enter a cluster: its papers are on the disk.
    pub fn start_as(&self, started: Started) {
        *self.start.lock().unwrap() = Some(started);
    }

    pub fn take_start(&self) -> Option<Started> {
        self.start.lock().unwrap().take()
    }

    /// On which addresses it listens at present.
    pub fn listen(&self) -> Listen {
        match self.guard.current() {
            Some(_) => self.config.network.listen_when_closed,
            None => self.config.network.listen,
        }
    }

    /// The start is durable and the engine runs.
    pub fn join(&self, member: Member) {
        assert!(self.member.set(member).is_ok(), "a node belongs to one cluster, once");
        self.wait_for(String::new());
        self.formed.send_replace(true);
    }

    pub fn formed(&self) -> watch::Receiver<bool> {
        self.formed.subscribe()
    }

    /// What people are told the node waits for; logged when it changes.
    pub fn wait_for(&self, what: String) {
        let mut waits_for = self.waits_for.lock().unwrap();
        if *waits_for != what {
            if !what.is_empty() {
                log::info!(reason = what.as_str(); "waiting");
            }
            *waits_for = what;
        }
    }

    pub fn waits_for(&self) -> String {
        self.waits_for.lock().unwrap().clone()
    }

    /// The applied index up to which no blob is missing here.
    pub fn whole(&self) -> u64 {
        self.blobs_whole.load(Ordering::Relaxed)
    }

    pub fn alarm(&self) -> String {
        self.alarm.lock().unwrap().clone()
    }

    /// For people: something is wrong that nobody but they can settle.
    pub fn raise_alarm(&self, what: String) {
        *self.alarm.lock().unwrap() = what;
    }

    /// No voter has this blob, or some has after all.
    pub fn note_lost(&self, hash: BlobHash, lost: bool) {
        let mut all = self.blobs_lost.lock().unwrap();
        if !lost {
            all.remove(&hash);
        } else if all.len() < BLOBS_LOST_MAX && all.insert(hash) {
            log::error!(blob:% = hash; "no voter has this blob; `rusty-kv status` names its keys, which can only be deleted or written anew");
        }
    }

    pub fn lost(&self) -> Vec<BlobHash> {
        self.blobs_lost.lock().unwrap().iter().copied().collect()
    }

    pub fn missing(&self) -> u64 {
        self.blobs_missing.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves once the node is told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
