//! Three engines on disks where *every* call takes half a second: heartbeats must not notice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use raft::{Batch, Config, Entry, Index, LogId, Membership, Message, NodeId};
use replica::{Command, Condition, Key, Limits, Operation, Replica, Reply, Value, state::Position};
use storage::{Anchor, AnchorRecord, Error, Formation, LogImage, LogStore, MemHome, MemLog, MemState, Scan, Started, StateStore, Write};

use super::*;

const STALL_MS: u64 = 500;
const WATCHED_S: u64 = 8;
/// In ticks: shorter than a stall, so that a heartbeat that waited for a disk would cost the leader its place.
const ELECTION_TICKS: (u64, u64) = (40, 80);

/// An engine whose every call takes [`STALL_MS`] once switched on.
struct Stalling<S> {
    inner: S,
    on: Arc<AtomicBool>,
}

impl<S> Stalling<S> {
    fn wait(&self) -> &S {
        if self.on.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(STALL_MS));
        }
        &self.inner
    }
}

impl LogStore for Stalling<MemLog> {
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error> {
        self.wait().load(tail_bytes)
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), Error> {
        self.wait().persist(batches)
    }

    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        self.wait().entries(first, last, max_bytes)
    }

    fn save_formation(&self, formation: &Formation) -> Result<(), Error> {
        self.wait().save_formation(formation)
    }

    fn check(&self) -> Result<(), Error> {
        self.wait().check()
    }
}

impl StateStore for Stalling<MemState> {
    fn applied(&self) -> Result<LogId, Error> {
        self.wait().applied()
    }

    fn applied_durable(&self) -> Result<LogId, Error> {
        self.wait().applied_durable()
    }

    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.wait().show(key, look)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.wait().scan(scan)
    }

    fn write(&self, writes: Vec<Write>, applied: LogId) -> Result<(), Error> {
        self.wait().write(writes, applied)
    }

    fn flush(&self) -> Result<(), Error> {
        self.wait().flush()
    }

    fn check(&self) -> Result<(), Error> {
        self.wait().check()
    }
}

/// When each follower last heard an append, and the longest it waited for one.
#[derive(Default)]
struct Rhythm(BTreeMap<NodeId, (Option<Instant>, Duration)>);

impl Rhythm {
    fn heard(&mut self, follower: NodeId) {
        let (last, longest) = self.0.entry(follower).or_default();
        let gap = last.map_or(Duration::ZERO, |last| last.elapsed());
        (*last, *longest) = (Some(Instant::now()), gap.max(*longest));
    }
}

#[test]
fn heartbeats_keep_their_rhythm_while_every_storage_call_stalls() {
    let ids = [NodeId(1), NodeId(2), NodeId(3)];
    let stall = Arc::new(AtomicBool::new(false));
    let rhythm: Arc<Mutex<Rhythm>> = Arc::default();
    let dir = std::env::temp_dir().join(format!("rusty-kv-stall-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut engines = BTreeMap::new();
    let mut mail = Vec::new();
    for id in ids {
        let (outbound, new_peers) = Outbound::new();
        mail.push(new_peers);
        engines.insert(id, Arc::new(engine(id, &ids, &dir, outbound, stall.clone())));
    }
    for mut new_peers in mail {
        let (engines, rhythm) = (engines.clone(), rhythm.clone());
        thread::spawn(move || {
            while let Some((to, mut end)) = new_peers.blocking_recv() {
                let (target, rhythm): (Arc<Engine>, _) = (engines[&to].clone(), rhythm.clone());
                thread::spawn(move || {
                    while let Some(envelope) = end.blocking_recv() {
                        if matches!(envelope.message, Message::Append(_)) {
                            rhythm.lock().unwrap().heard(envelope.to);
                        }
                        target.inbox().deliver([envelope]);
                    }
                });
            }
        });
    }
    let leader = wait_for_leader(&engines);
    let term = engines[&leader].status().term;
    stall.store(true, Ordering::Relaxed);
    *rhythm.lock().unwrap() = Rhythm::default();

    let until = Instant::now() + Duration::from_secs(WATCHED_S);
    let mut written = 0;
    while Instant::now() < until {
        let answer = engines[&leader].request(|reply| Request::Write { command: put(written), haves: None, reply }).unwrap();
        assert!(matches!(answer.blocking_recv(), Ok(Reply::Written(_))), "a slow disk loses no write");
        written += 1;
    }

    assert!(written >= 3, "writes go on, slowly: {written}");
    assert!(engines.values().all(|engine| engine.status().term == term), "nobody campaigned");
    for (follower, (_, longest)) in &rhythm.lock().unwrap().0 {
        assert!(*longest < Duration::from_millis(STALL_MS), "{follower} heard nothing for {longest:?}");
    }
    assert_eq!(rhythm.lock().unwrap().0.len(), 2, "both followers were heard");
    stall.store(false, Ordering::Relaxed);
    engines.values().for_each(|engine| engine.stop());
    std::fs::remove_dir_all(dir).unwrap();
}

fn engine(id: NodeId, ids: &[NodeId], dir: &std::path::Path, outbound: Outbound, stall: Arc<AtomicBool>) -> Engine {
    let started = Started { cluster_id: [1; 16], membership: Membership::of_voters(ids.iter().copied()) };
    let formation = Formation { node: id, cluster_name: "slow".into(), promised: Some(ids.to_vec()), started: Some(started) };
    let log = Stalling { inner: MemLog::create(&formation), on: stall.clone() };
    let state = Stalling { inner: MemState::new(), on: stall };
    let image = log.load(1 << 20).unwrap();
    let (election_min_ticks, election_max_ticks) = ELECTION_TICKS;
    let config = Config { election_min_ticks, election_max_ticks, ..Config::with_defaults(id, id.0, id.0) };
    let nothing = Position { applied: LogId::ZERO, hash: [0; 32], collect: 0, membership: None };
    let replica = Replica::open(config, Limits::default(), image, nothing).unwrap();
    let anchor = Anchor::create(&dir.join(id.to_string()), AnchorRecord::blank(id)).unwrap();
    let (fatal, _) = Fatal::channel();
    let (blobs, _) = tokio::sync::mpsc::unbounded_channel();
    let (wanted, _) = tokio::sync::mpsc::channel(1);
    let (condemn, alarm) = (Box::new(|_: &_| {}), Box::new(|_| {}));
    let state = StateInForce::new(Arc::new(state));
    let engine = Engine::start(
        replica,
        Stores { log: Arc::new(log), home: Arc::new(MemHome::new()), state, generation: 0, anchor },
        Surroundings { outbound, blobs, shelf: Arc::default(), wanted, condemn, alarm, fatal, requests_max: 16 },
    );
    engine.set_room(Room::Enough);
    engine
}

fn wait_for_leader(engines: &BTreeMap<NodeId, Arc<Engine>>) -> NodeId {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some((id, _)) = engines.iter().find(|(_, engine)| engine.status().settled_leader && !engine.status().refusing) {
            return *id;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("no leader in time")
}

fn put(number: u64) -> Command {
    let key = Key::new(number.to_be_bytes()).unwrap();
    Command {
        session: None,
        operation: Operation::Put { key, value: Value::Inline(vec![7; 100]), condition: Condition::Always, expires: None },
    }
}
