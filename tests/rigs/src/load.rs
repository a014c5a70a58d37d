//! Clients that write and read until told to stop, and the history of what they saw.
//!
//! Most values are a few bytes. A volley is many of the largest values that a `set` takes, all at once, so that they meet in one sync. Every
//! value tells which write it is, down to its last byte.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use check::{Action, Call, History, STEPS_MAX, Verdict, check};
use client::{Client, INLINE_VALUE_BYTES, Kind};
use tokio::task::JoinSet;

use crate::calls::Calls;
use crate::cluster::Cluster;
use crate::deadline::eventually;
use crate::kv::{Failure, Kv};
use crate::noise::Noise;

/// A writer takes a breath after a write that was not executed, so that an election does not become a storm.
const PAUSE_MS: u64 = 10;
/// Connections that the writes of a volley share.
const VOLLEY_CLIENTS: usize = 4;
/// Several elections long.
const GO_ON_LIMIT_S: u64 = 60;
/// Of operations, kept until somebody asks how long they took.
const TIMES_MAX: usize = 1 << 20;
/// For each of the last reads, while an election may be running.
const LAST_READ_LIMIT_S: u64 = 60;

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

/// The clients that read at the end are numbered from here.
const LAST_READER: u64 = 1_000;

/// Load on a cluster.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<History>,
    volley: Vec<Client>,
}

struct Shared {
    start: Instant,
    stop: AtomicBool,
    next_value: AtomicU64,
    /// Keys come in ranges of `plan.keys`; this one is written and read now.
    range: AtomicU64,
    /// Writes sent and not answered yet.
    in_flight: AtomicU64,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    gap: Mutex<Gap>,
    /// Answered, by node.
    reads: Vec<AtomicU64>,
    /// How long the latest operations took; one without an answer is [`NEVER`].
    times: Mutex<Vec<Duration>>,
    plan: Plan,
}

/// Longer than any operation takes.
const NEVER: Duration = Duration::from_secs(3_600);

/// Times without an acknowledged write.
struct Gap {
    /// The last one, or the start of the watch.
    since: Instant,
    longest: Duration,
}

impl Gap {
    fn close(&mut self) {
        self.longest = self.longest.max(self.since.elapsed());
        self.since = Instant::now();
    }
}

impl Load {
    /// Writers go through the client library, which follows the leader; each reader asks one node alone, by turns over a stream and without.
    pub async fn start(cluster: &Cluster, plan: Plan) -> Load {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            next_value: AtomicU64::new(1),
            range: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            gap: Mutex::new(Gap { since: Instant::now(), longest: Duration::ZERO }),
            reads: cluster.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
            times: Mutex::default(),
            plan,
        });
        let mut clients = JoinSet::new();
        for number in 0..plan.writers {
            clients.spawn(write(shared.clone(), cluster.client(plan.timeout).await, number));
        }
        for (index, node) in cluster.nodes.iter().enumerate() {
            for reader in 0..plan.readers_per_node {
                let number = plan.writers + index as u64 * plan.readers_per_node + reader;
                clients.spawn(read(shared.clone(), node.kv(), number, index));
            }
        }
        let mut volley = Vec::new();
        for _ in 0..VOLLEY_CLIENTS {
            volley.push(cluster.client(plan.timeout).await);
        }
        Load { shared, clients, volley }
    }

    /// That many writes of 64 KiB begin now, beside all else.
    pub fn volley(&mut self, writes: u64) {
        for number in 0..writes {
            let client = self.volley[number as usize % self.volley.len()].clone();
            let shared = self.shared.clone();
            self.clients.spawn(async move {
                let mut history = History::new();
                shared.write_once(&client, shared.plan.writers + number, number, INLINE_VALUE_BYTES, &mut history).await;
                history
            });
        }
    }

    /// From now on other keys are used: the history of one key stays short enough for a verdict, however long the load lasts.
    pub fn next_range(&self) {
        self.shared.range.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes that nobody has answered yet.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    pub fn reads(&self) -> u64 {
        (0..self.shared.reads.len()).map(|node| self.reads_at(node)).sum()
    }

    /// Those that this node answered.
    pub fn reads_at(&self, node: usize) -> u64 {
        self.shared.reads[node].load(Ordering::Relaxed)
    }

    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// The longest time in which no write was acknowledged, since the last call or the start.
    pub fn longest_gap(&self) -> Duration {
        let mut gap = self.shared.gap.lock().expect("no client panics");
        gap.longest = gap.longest.max(gap.since.elapsed());
        std::mem::replace(&mut *gap, Gap { since: Instant::now(), longest: Duration::ZERO }).longest
    }

    /// How long all but the slowest hundredth of the operations took that ended since the last call, and how many these are. Failed ones are the
    /// slowest of all.
    pub fn p99(&self) -> (Duration, usize) {
        let mut times = std::mem::take(&mut *self.shared.times.lock().expect("no client panics"));
        times.sort_unstable();
        (times.get(times.len().saturating_sub(1 + times.len() / 100)).copied().unwrap_or(NEVER), times.len())
    }

    /// Waits until that many more writes are acknowledged.
    pub async fn goes_on(&self, writes: u64) {
        let before = self.acknowledged();
        eventually(GO_ON_LIMIT_S, "writes are acknowledged", || async { self.acknowledged() }, |now| *now >= before + writes).await;
    }

    /// Ends; then one order must explain what the clients saw, and all nodes must hold the same. A search without a verdict is a failure, too.
    pub async fn verify(self, cluster: &Cluster) {
        cluster.settled().await;
        println!("{} writes acknowledged, {} of unknown outcome, {} reads", self.acknowledged(), self.unknown(), self.reads());
        match check(&self.finish(cluster).await, STEPS_MAX) {
            Verdict::Ok => {}
            other => panic!("{other:?}"),
        }
        cluster.equal().await;
        cluster.assert_no_panics();
    }

    /// Ends after the operations under way. The last reads at every node see each key once more: what was lost shows now.
    pub async fn finish(self, cluster: &Cluster) -> History {
        self.try_finish(cluster).await.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Like [`finish`](Load::finish), for clusters of which something else may be expected than that they work.
    pub async fn try_finish(mut self, cluster: &Cluster) -> Result<History, String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::new();
        while let Some(seen) = self.clients.join_next().await {
            history.merge(seen.map_err(|error| format!("a client gave up: {error}"))?);
        }
        let mut readers = JoinSet::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            readers.spawn(read_all(self.shared.clone(), node.kv(), node.name.clone(), LAST_READER + index as u64));
        }
        while let Some(seen) = readers.join_next().await {
            history.merge(seen.map_err(|error| format!("a last read ended: {error}"))??);
        }
        Ok(history)
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

    fn took(&self, time: Duration) {
        let mut times = self.times.lock().expect("no client panics");
        // Where nobody asks, memory must not grow for hours.
        if times.len() < TIMES_MAX {
            times.push(time);
        }
    }

    fn key(&self, turn: u64) -> u64 {
        self.range.load(Ordering::Relaxed) * self.plan.keys + turn % self.plan.keys
    }

    async fn write_once(&self, client: &Client, number: u64, turn: u64, bytes: usize, history: &mut History) {
        let value = self.next_value.fetch_add(1, Ordering::Relaxed);
        let action = Action::Write { value };
        let encoded = encode(value, bytes);
        let call = Call::new(number, self.key(turn), action, self.now());
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        let answer = client.set(&key_bytes(call.key()), encoded, None).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(_) => {
                history.done(call, action, self.now());
                self.took(sent.elapsed());
                self.gap.lock().expect("no client panics").close();
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.took(NEVER);
                match error.kind {
                    Kind::NotExecuted => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
                    Kind::Unknown => {
                        history.unknown(call);
                        self.unknown.fetch_add(1, Ordering::Relaxed);
                    }
                    other => panic!("a plain write was refused ({other:?}): {error}"),
                }
            }
        }
    }
}

async fn write(shared: Arc<Shared>, client: Client, number: u64) -> History {
    let mut history = History::new();
    let mut turn = number;
    while !shared.stopped() {
        shared.write_once(&client, number, turn, 0, &mut history).await;
        turn += 1;
        tokio::time::sleep(shared.plan.pause).await;
    }
    history
}

async fn read(shared: Arc<Shared>, kv: Kv, number: u64, node: usize) -> History {
    let mut history = History::new();
    let mut turn = number;
    let mut stream = None;
    while !shared.stopped() {
        let key = shared.key(turn);
        turn += 1;
        let call = Call::new(number, key, Action::Read { found: None }, shared.now());
        let sent = Instant::now();
        let answer = match turn / shared.plan.keys % 2 {
            0 => kv.get(&key_bytes(key)).await,
            _ => get_over(&mut stream, &kv, &key_bytes(key)).await,
        };
        match answer {
            Ok(found) => {
                history.done(call, Action::Read { found: found.map(|value| parse(&value)) }, shared.now());
                shared.took(sent.elapsed());
                shared.reads[node].fetch_add(1, Ordering::Relaxed);
            }
            // The node is down or has no leader: nothing was seen.
            Err(_) => {
                shared.took(NEVER);
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        }
        tokio::time::sleep(shared.plan.pause).await;
    }
    history
}

/// Each key of all ranges, once.
async fn read_all(shared: Arc<Shared>, kv: Kv, name: String, number: u64) -> Result<History, String> {
    let mut history = History::new();
    let ranges = shared.range.load(Ordering::Relaxed) + 1;
    for key in 0..ranges * shared.plan.keys {
        let end = Instant::now() + Duration::from_secs(LAST_READ_LIMIT_S);
        loop {
            let call = Call::new(number, key, Action::Read { found: None }, shared.now());
            match kv.get(&key_bytes(key)).await {
                Ok(found) => {
                    history.done(call, Action::Read { found: found.map(|value| parse(&value)) }, shared.now());
                    break;
                }
                Err(failure) if Instant::now() >= end => return Err(format!("{name} does not read: {failure:?}")),
                Err(_) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
            }
        }
    }
    Ok(history)
}

/// A stream that has failed is left for a new one.
async fn get_over(stream: &mut Option<Calls>, kv: &Kv, key: &[u8]) -> Result<Option<Bytes>, Failure> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => Calls::open(kv).await?,
    };
    let found = open.get(key).await?;
    *stream = Some(open);
    Ok(found)
}

fn key_bytes(key: u64) -> Vec<u8> {
    format!("load/{key}").into_bytes()
}

/// The number, and to fill `bytes` a line end and what the number makes.
fn encode(value: u64, bytes: usize) -> Bytes {
    let mut encoded = value.to_string().into_bytes();
    if encoded.len() < bytes {
        encoded.push(b'\n');
        let rest = (bytes - encoded.len()) as u64;
        let mut noise = Noise::new(value, rest);
        while let Some(chunk) = noise.chunk(bytes) {
            encoded.extend_from_slice(&chunk);
        }
    }
    encoded.into()
}

fn parse(encoded: &[u8]) -> u64 {
    let number = encoded.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let value = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
    let value = value.unwrap_or_else(|| panic!("{:?} was never written", encoded.get(..100).unwrap_or(encoded)));
    assert!(encoded == encode(value, encoded.len()), "other bytes than those of write {value} were read");
    value
}
