//! The start of a member: its replica, its engine, the streams to its peers, the care for its blobs.

use std::{sync::Arc, time::Duration};

use raft::Config;
use replica::{Keep, Limits, Replica, state};
use storage::{Anchor, DataDir, LogImage, LogStore, RoomState, Started, StateHome};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    blobs::Keeper,
    engine::{Condemn, Engine, Stores, Surroundings, TICK_MS},
    fatal::Fatal,
    guard,
    node::{Member, Node},
    peers::{Link, NewPeer, Outbound},
    replacing::replace_returned,
    snapshots::Fetcher,
    watchers,
};

/// What it takes to become a member; used once.
pub struct Entrance {
    pub log: Arc<dyn LogStore>,
    /// What the log held at the start; before this node belongs to a cluster that is nothing.
    pub image: LogImage,
    pub home: Arc<dyn StateHome>,
    pub anchor: Anchor,
    pub fatal: Fatal,
}

/// Whoever holds garbage may be down: its last word must not fill the log.
const COLLECT_MIN: Duration = Duration::from_secs(1);
/// Snapshots asked for while one is fetched: the newest wish is said again.
const WISHES_QUEUED: usize = 1;

impl Entrance {
    /// Starts everything that a member runs, or reports why it cannot.
    pub async fn enter(self, node: Arc<Node>, started: Started) {
        let fatal = self.fatal.clone();
        let cluster_id = started.cluster_id;
        let opened = {
            let node = node.clone();
            spawn_blocking(move || self.open(&node, started)).await
        };
        match opened {
            Ok(Ok((replica, stores, fatal))) => run(node, cluster_id, replica, stores, fatal),
            Ok(Err(error)) => fatal.report("this node", &error),
            Err(_) => {}
        }
    }

    fn open(mut self, node: &Node, started: Started) -> Result<(Replica, Stores, Fatal), replica::Error> {
        let mut record = self.anchor.read().clone();
        if record.cluster_id != Some(started.cluster_id) {
            record.cluster_id = Some(started.cluster_id);
            self.anchor.write(&record)?;
        }
        let mut image = self.image;
        image.formation.started = Some(started);
        let generation = image.generation;
        let vote = image.hard.vote.map_or("nobody".into(), |id| id.to_string());
        log::info!(term = image.hard.term.0, vote = vote.as_str(), last = image.last.index; "found on the disk");
        let replica = Replica::open(core_config(node), limits(node), image, state::position(&*node.state.get())?)?;
        let stores = Stores { log: self.log, home: self.home, state: node.state.clone(), generation, anchor: self.anchor };
        Ok((replica, stores, self.fatal))
    }
}

fn run(node: Arc<Node>, cluster_id: [u8; 16], replica: Replica, stores: Stores, fatal: Fatal) {
    let applied = replica.applied();
    let home = stores.home.clone();
    let (outbound, new_peers) = Outbound::new();
    let (blobs, news) = mpsc::unbounded_channel();
    let (wanted, wishes) = mpsc::channel(WISHES_QUEUED);
    let around = Surroundings {
        outbound,
        blobs,
        shelf: node.shelf.clone(),
        wanted,
        condemn: condemn(&node, fatal.clone()),
        alarm: Box::new({
            let node = node.clone();
            move |what| node.raise_alarm(what)
        }),
        fatal,
        requests_max: node.config.limits.requests_queued,
    };
    let engine = Engine::start(replica, stores, around);
    engine.set_room(room_of(node.room.borrow().state));
    let inbox = engine.inbox().clone();
    node.join(Member { cluster_id, engine });
    log::info!(cluster:% = node.config.cluster_name, node:% = node.id, cluster_id = hex(&cluster_id).as_str(); "member of a cluster");
    tokio::spawn(link(node.clone(), cluster_id, new_peers));
    tokio::spawn(Fetcher { node: node.clone(), cluster_id, home, inbox }.run(wishes));
    tokio::spawn(Keeper::new(node.clone(), applied).run(news));
    tokio::spawn(replace_returned(node.clone()));
    if node.guard.current().is_some() {
        tokio::spawn(guard::found(node.clone()));
        tokio::spawn(guard::keep_time(node.clone()));
        tokio::spawn(guard::keep_renewed(node.clone()));
    }
    tokio::spawn(watchers::watch_role(node));
}

/// A stream to each peer that the engine begins to speak to.
async fn link(node: Arc<Node>, cluster_id: [u8; 16], mut new_peers: mpsc::UnboundedReceiver<NewPeer>) {
    while let (Some((peer, end)), Some(member)) = (new_peers.recv().await, node.member()) {
        let link = Link { peer, cluster_id, node: node.clone(), inbox: member.engine.inbox().clone() };
        tokio::spawn(link.run(end));
    }
}

/// Makes it durable that this node is suspect, before it falls silent: the next start brings the board back as a new node.
fn condemn(node: &Arc<Node>, fatal: Fatal) -> Condemn {
    let data_dir = node.config.data_dir.clone();
    Box::new(move |suspect| {
        if let Err(error) = DataDir::condemn(&data_dir, &suspect.to_string()) {
            log::error!(error:%; "could not write down that this node is suspect");
        }
        fatal.report("this node", suspect);
    })
}

fn limits(node: &Node) -> Limits {
    let storage = &node.config.storage;
    let keep = Keep { bytes: storage.log_keep_bytes, entries: storage.log_keep_entries };
    Limits { keep, collect_ticks: ticks(node.config.limits.collect.max(COLLECT_MIN)) }
}

/// A storage reading in the core's words.
pub fn room_of(state: RoomState) -> raft::Room {
    match state {
        RoomState::Enough => raft::Room::Enough,
        RoomState::Low => raft::Room::Low,
        RoomState::Floor => raft::Room::Floor,
    }
}

fn core_config(node: &Node) -> Config {
    let timing = &node.config.timing;
    Config {
        heartbeat_ticks: ticks(timing.heartbeat),
        election_min_ticks: ticks(timing.election_min),
        election_max_ticks: ticks(timing.election_max),
        disk_stall_ticks: ticks(timing.disk_stall),
        // Two members that start in the same instant must not draw the same timeouts.
        ..Config::with_defaults(node.id, node.boot ^ node.id.0, node.boot)
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(TICK_MS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
