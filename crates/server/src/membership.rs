//! The start of a member: its replica, its engine, the streams to its peers, the search for missing blobs.

use std::sync::Arc;

use raft::Config;
use replica::{Replica, state};
use storage::{Anchor, LogStore, RoomState, Started};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    blobs::pull_missing,
    engine::{Engine, Stores, Surroundings, TICK_MS},
    fatal::Fatal,
    node::{Member, Node},
    peers::{Link, Outbound},
    watchers,
};

/// What it takes to become a member; used once.
pub struct Entrance {
    pub log: Arc<dyn LogStore>,
    pub anchor: Anchor,
    pub fatal: Fatal,
}

/// Entries of the log read into memory at start.
const TAIL_BYTES: usize = 8 << 20;

impl Entrance {
    /// Starts everything that a member runs, or reports why it cannot.
    pub async fn enter(self, node: Arc<Node>, started: Started) {
        let fatal = self.fatal.clone();
        let cluster_id = started.cluster_id;
        let opened = {
            let node = node.clone();
            spawn_blocking(move || self.open(&node, cluster_id)).await
        };
        match opened {
            Ok(Ok((replica, stores, fatal))) => run(node, cluster_id, replica, stores, fatal),
            Ok(Err(error)) => fatal.report("this node", &error),
            Err(_) => {}
        }
    }

    fn open(mut self, node: &Node, cluster_id: [u8; 16]) -> Result<(Replica, Stores, Fatal), replica::Error> {
        let mut record = self.anchor.read().clone();
        if record.cluster_id != Some(cluster_id) {
            record.cluster_id = Some(cluster_id);
            self.anchor.write(&record)?;
        }
        let image = self.log.load(TAIL_BYTES)?;
        let vote = image.hard.vote.map_or("nobody".into(), |id| id.to_string());
        log::info!(term = image.hard.term.0, vote = vote.as_str(), last = image.last.index; "found on the disk");
        let replica = Replica::open(core_config(node), image, node.state.applied()?, state::state_hash(&*node.state)?)?;
        Ok((replica, Stores { log: self.log, state: node.state.clone(), anchor: self.anchor }, self.fatal))
    }
}

fn run(node: Arc<Node>, cluster_id: [u8; 16], replica: Replica, stores: Stores, fatal: Fatal) {
    let peers: Vec<_> = replica.node().membership().members().filter(|id| *id != node.id).collect();
    let (outbound, ends) = Outbound::to(peers);
    let (blobs_named, named) = mpsc::unbounded_channel();
    let requests_max = node.config.limits.requests_queued;
    let engine = Engine::start(replica, stores, Surroundings { outbound, blobs_named, fatal, requests_max });
    engine.set_room(room_of(node.room.borrow().state));
    let inbox = engine.inbox().clone();
    node.join(Member { cluster_id, engine });
    log::info!(cluster:% = node.config.cluster_name, node:% = node.id, cluster_id = hex(&cluster_id).as_str(); "member of a cluster");
    for (peer, end) in ends {
        let link = Link { peer, cluster_id, me: node.identity(), book: node.book.clone(), inbox: inbox.clone() };
        tokio::spawn(link.run(end));
    }
    tokio::spawn(pull_missing(node.clone(), named));
    tokio::spawn(watchers::watch_role(node));
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
    let ticks = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(TICK_MS);
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
