//! Clients that write and read until told to stop, and the history of what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use check::{Action, Call, History};
use client::{Client, Kind};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::kv::Kv;

/// A writer takes a breath after a write that was not executed, so that an election does not become a storm.
const PAUSE_MS: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub writers: u64,
    pub readers_per_node: u64,
    pub keys: u64,
    /// Between the operations of one client.
    pub pause: Duration,
    /// Of a write; one not acknowledged by then failed.
    pub timeout: Duration,
}

/// Load on a cluster.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<History>,
}

struct Shared {
    start: Instant,
    stop: AtomicBool,
    next_value: AtomicU64,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    reads: AtomicU64,
    plan: Plan,
}

impl Load {
    /// Writers go through the client library, which follows the leader; each reader asks one node alone.
    pub async fn start(cluster: &Cluster, plan: Plan) -> Load {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            next_value: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            plan,
        });
        let mut clients = JoinSet::new();
        for number in 0..plan.writers {
            clients.spawn(write(shared.clone(), cluster.client(plan.timeout).await, number));
        }
        for (index, node) in cluster.nodes.iter().enumerate() {
            for reader in 0..plan.readers_per_node {
                let number = plan.writers + index as u64 * plan.readers_per_node + reader;
                clients.spawn(read(shared.clone(), node.kv(), number));
            }
        }
        Load { shared, clients }
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    pub fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Ends after the operations under way. The last reads at every node see each key once more: what was lost shows now.
    pub async fn finish(mut self, cluster: &Cluster) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::new();
        while let Some(seen) = self.clients.join_next().await {
            history.merge(seen.expect("a client does not panic"));
        }
        for (index, node) in cluster.nodes.iter().enumerate() {
            let kv = node.kv();
            for key in 0..self.shared.plan.keys {
                let call = Call::new(1_000 + index as u64, key, Action::Read { found: None }, self.shared.now());
                let found = kv.get(&key_bytes(key)).await.unwrap_or_else(|failure| panic!("{} does not read: {failure:?}", node.name));
                history.done(call, Action::Read { found: found.map(|value| parse(&value)) }, self.shared.now());
            }
        }
        history
    }
}

impl Shared {
    /// Nanoseconds since the start: one clock for all clients, as the checker asks for.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("tests are shorter than centuries")
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

async fn write(shared: Arc<Shared>, client: Client, number: u64) -> History {
    let mut history = History::new();
    let mut turn = number;
    while !shared.stopped() {
        let value = shared.next_value.fetch_add(1, Ordering::Relaxed);
        let key = turn % shared.plan.keys;
        turn += 1;
        let action = Action::Write { value };
        let call = Call::new(number, key, action, shared.now());
        match client.set(&key_bytes(key), value.to_string(), None).await {
            Ok(_) => {
                history.done(call, action, shared.now());
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => match error.kind {
                Kind::NotExecuted => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
                Kind::Unknown => {
                    history.unknown(call);
                    shared.unknown.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("a plain write was refused ({other:?}): {error}"),
            },
        }
        tokio::time::sleep(shared.plan.pause).await;
    }
    history
}

async fn read(shared: Arc<Shared>, kv: Kv, number: u64) -> History {
    let mut history = History::new();
    let mut turn = number;
    while !shared.stopped() {
        let key = turn % shared.plan.keys;
        turn += 1;
        let call = Call::new(number, key, Action::Read { found: None }, shared.now());
        match kv.get(&key_bytes(key)).await {
            Ok(found) => {
                history.done(call, Action::Read { found: found.map(|value| parse(&value)) }, shared.now());
                shared.reads.fetch_add(1, Ordering::Relaxed);
            }
            // The node is down or has no leader: nothing was seen.
            Err(_) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
        }
        tokio::time::sleep(shared.plan.pause).await;
    }
    history
}

fn key_bytes(key: u64) -> Vec<u8> {
    format!("load/{key}").into_bytes()
}

fn parse(value: &[u8]) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value:?} was never written"))
}
