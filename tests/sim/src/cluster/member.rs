//! One member: two disks that remember, and a process that comes and goes.

use std::collections::VecDeque;

use raft::{Batch, Config, EntriesRead, Entry, Envelope, LogId, Membership, NeedEntries, NodeId, Room, Seq};
use replica::{
    ApplyJob, Effects, Input, Replica, Reply, Ticket,
    state::{self, Applied},
};
use storage::{Formation, LogStore, MemLog, MemState, Started, StateStore};

use super::Weather;
use crate::Rng;

/// So little of the log is kept in memory that entries are often read back from it.
const CACHE_MAX_BYTES: usize = 600;
/// Batches that one sync takes.
const BATCHES_MAX: usize = 4;

pub struct Member {
    pub id: NodeId,
    pub state: MemState,
    log: MemLog,
    process: Option<Process>,
    flaw: Option<Flaw>,
    boots: u64,
}

/// What a crash destroys.
struct Process {
    replica: Replica,
    to_sync: VecDeque<(Seq, Batch)>,
    /// On its way to the disk, and the tick of its arrival.
    syncing: Option<(u64, Vec<(Seq, Batch)>)>,
    applying: Option<(u64, ApplyJob)>,
    reading: VecDeque<(u64, NeedEntries)>,
}

/// A mistake made on purpose: checks that let all of these pass check nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A batch counts as synced when its write begins.
    SyncedTooEarly,
    /// A read is answered from what is applied, without asking a quorum.
    ReadLocally,
    /// Whoever stops to lead says of all that waits that it was not executed.
    DeclaredDead,
}

/// What the outside sees of a tick.
#[derive(Default)]
pub struct Seen {
    pub send: Vec<Envelope>,
    pub applied: Vec<(Vec<Entry>, Applied)>,
    pub replies: Vec<(Ticket, Reply)>,
}

impl Member {
    pub fn new(id: NodeId, members: &[NodeId], flaw: Option<Flaw>) -> Member {
        let started = Started { cluster_id: [1; 16], membership: Membership::of_voters(members.iter().copied()) };
        let formation = Formation { node: id, cluster_name: "home".into(), promised: Some(members.to_vec()), started: Some(started) };
        let log = MemLog::create(&formation);
        Member { id, state: MemState::new(), log, process: None, flaw, boots: 0 }
    }

    pub fn replica(&self) -> Option<&Replica> {
        self.process.as_ref().map(|process| &process.replica)
    }

    /// Which run of the process this is; answers come only within one.
    pub fn boot(&self) -> u64 {
        self.boots
    }

    pub fn leads(&self) -> bool {
        self.replica().is_some_and(|replica| replica.node().is_leader())
    }

    pub fn start(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.boots += 1;
        let config = Config {
            backoff_max_ticks: 60,
            append_max_bytes: 400,
            inflight_max_bytes: 2_000,
            uncommitted_max_bytes: 6_000,
            cache_max_bytes: CACHE_MAX_BYTES,
            ..Config::with_defaults(self.id, rng.draw(), self.boots)
        };
        let image = self.log.load(CACHE_MAX_BYTES).map_err(|error| error.to_string())?;
        let applied = self.state.applied().map_err(|error| error.to_string())?;
        let hash = state::state_hash(&self.state).map_err(|error| error.to_string())?;
        let mut replica = Replica::open(config, image, applied, hash).map_err(|error| error.to_string())?;
        replica.handle(Input::Room(Room::Enough));
        let empty = (VecDeque::new(), VecDeque::new());
        self.process = Some(Process { replica, to_sync: empty.0, syncing: None, applying: None, reading: empty.1 });
        Ok(())
    }

    /// Power off: the sync under way has reached the disk as a whole, or not at all; unflushed state is gone.
    pub fn crash(&mut self, sync_survives: bool) {
        let syncing = self.process.take().and_then(|process| process.syncing);
        if let (Some((_, batches)), true, None) = (syncing, sync_survives, self.flaw) {
            self.persist(batches.into_iter().map(|(_, batch)| batch).collect());
        }
        self.log.crash();
        self.state.crash();
    }

    pub fn handle(&mut self, input: Input) {
        if let Some(process) = &mut self.process {
            process.replica.handle(input);
        }
    }

    /// Whether this flawed member answers a read here and now.
    pub fn answers_locally(&self) -> bool {
        self.flaw == Some(Flaw::ReadLocally)
    }

    pub fn declares_dead(&self) -> bool {
        self.flaw == Some(Flaw::DeclaredDead)
    }

    /// One tick: what threads have finished comes in, time passes, new work goes out.
    pub fn tick(&mut self, now: u64, weather: &Weather, rng: &mut Rng) -> Result<Seen, String> {
        let mut seen = Seen::default();
        self.finish_sync(now);
        self.finish_apply(now, rng, &mut seen)?;
        self.finish_reads(now);
        self.handle(Input::Tick);
        self.take_effects(now, weather, rng, &mut seen);
        Ok(seen)
    }

    fn finish_sync(&mut self, now: u64) {
        let Some(process) = &mut self.process else { return };
        let Some((_, batches)) = process.syncing.take_if(|(due, _)| *due <= now) else { return };
        let (seqs, batches): (Vec<Seq>, Vec<Batch>) = batches.into_iter().unzip();
        self.persist(batches);
        if self.flaw != Some(Flaw::SyncedTooEarly) {
            seqs.into_iter().for_each(|seq| self.handle(Input::Persisted(seq)));
        }
    }

    fn finish_apply(&mut self, now: u64, rng: &mut Rng, seen: &mut Seen) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some((_, job)) = process.applying.take_if(|(due, _)| *due <= now) else { return Ok(()) };
        let entries = match job {
            ApplyJob::Entries(entries) => entries,
            ApplyJob::FromLog { first, last, max_bytes } => {
                // The log hands out fewer than asked, at its own choice.
                let max_bytes = max_bytes.min(rng.between(1, 4_000) as usize);
                self.log.entries(first, last, max_bytes).map_err(|error| error.to_string())?
            }
        };
        let applied = state::apply(&self.state, &entries).map_err(|error| error.to_string())?;
        if rng.chance(100) {
            self.state.flush().map_err(|error| error.to_string())?;
        }
        self.handle(Input::Applied(applied.clone()));
        seen.applied.push((entries, applied));
        Ok(())
    }

    fn finish_reads(&mut self, now: u64) {
        let Some(process) = &mut self.process else { return };
        while let Some((_, need)) = process.reading.pop_front_if(|(due, _)| *due <= now) {
            // Truncated meanwhile: then this member leads no more, and the answer is worth nothing.
            let entries = self.log.entries(need.first, need.last, need.max_bytes).unwrap_or_default();
            process.replica.handle(Input::EntriesRead(EntriesRead { peer: need.peer, term: need.term, entries }));
        }
    }

    fn take_effects(&mut self, now: u64, weather: &Weather, rng: &mut Rng, seen: &mut Seen) {
        let Some(process) = &mut self.process else { return };
        let Effects { persist, send, apply, need_entries, replies } = process.replica.effects();
        let early = persist.as_ref().map(|(seq, _)| *seq).filter(|_| self.flaw == Some(Flaw::SyncedTooEarly));
        process.to_sync.extend(persist);
        if process.syncing.is_none() && !process.to_sync.is_empty() {
            let count = process.to_sync.len().min(rng.between(1, BATCHES_MAX as u64) as usize);
            process.syncing = Some((now + rng.between(1, weather.sync_max_ticks), process.to_sync.drain(..count).collect()));
        }
        if let Some(job) = apply {
            assert!(process.applying.is_none(), "one apply job at a time");
            process.applying = Some((now + rng.between(1, weather.apply_max_ticks), job));
        }
        process.reading.extend(need_entries.into_iter().map(|need| (now + 1, need)));
        seen.send.extend(send);
        seen.replies.extend(replies);
        if let Some(seq) = early {
            process.replica.handle(Input::Persisted(seq));
        }
    }

    fn persist(&mut self, batches: Vec<Batch>) {
        self.log.persist(&batches).expect("this disk was never told to fail");
    }

    /// Where the state stands.
    pub fn applied(&self) -> LogId {
        self.state.applied().expect("memory can be read")
    }
}
