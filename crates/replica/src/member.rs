//! A member: the Raft core, the requests that wait on it, the work under way.
//!
//! Invariants:
//! - entries are applied in order, each once, only when committed and durable here; one apply job is under way at a time;
//! - a write is answered "done" only when its own entry (term and index) was applied, "not executed" only when another entry was
//!   applied at its index or it never entered the log; else it goes on waiting, whoever leads, and its fate stays unknown;
//! - a read is answered when its read index is applied;
//! - a manifest enters the log only with a quorum's word, given in the present term and since the newest `collect` entry of the log, that
//!   they hold the blob;
//! - the log is cut only at a position that the flushed state has reached;
//! - while a snapshot is being installed nothing is applied: the log belongs to the new state, the state in force is still the old one.

use std::collections::{BTreeMap, BTreeSet};

use raft::{
    Batch, Change, Config, EntriesRead, Entry, Envelope, Fetch, Index, LogId, NeedEntries, Node, NodeId, Recovered, Refusal, Room, Seq,
    Snapshot, Status, Term,
    planted::{Bug, is_planted},
};
use storage::LogImage;

use crate::{
    Command, Error, Operation,
    hashes::{Comparison, Hashes},
    retention::{Keep, Retention},
    state::{Applied, Outcome, Position},
};

/// Names a waiting client request; chosen by the caller, unique within one run.
pub type Ticket = u64;

/// Entries of one apply job.
const APPLY_MAX_BYTES: usize = 4 << 20;

/// Ticks between two looks at what the members' states are.
const COMPARE_TICKS: u64 = 10;

/// A frozen copy of the state that no peer needs is let go after this.
const CHECKPOINT_IDLE_TICKS: u64 = 3_000;

/// Bounds of one member.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub keep: Keep,
    /// At least so many ticks lie between two `collect` entries.
    pub collect_ticks: u64,
}

/// At 10 ms a tick.
const COLLECT_TICKS: u64 = 60_000;

impl Default for Limits {
    fn default() -> Limits {
        Limits { keep: Keep::default(), collect_ticks: COLLECT_TICKS }
    }
}

/// One member of a formed cluster.
#[derive(Debug)]
pub struct Replica {
    node: Node,
    /// Appended here as leader. One index may stand here in several terms: an entry that this log has lost to a truncation can
    /// still be committed from another member's, so its writer's fate is open until that index is applied.
    writes: BTreeMap<(Index, Term), Ticket>,
    changes: BTreeMap<(Index, Term), Ticket>,
    /// Confirmed reads that wait for their index to be applied.
    reads: BTreeMap<Index, Vec<Ticket>>,
    applied: Index,
    hash: [u8; 32],
    applying: bool,
    replies: Vec<(Ticket, Reply)>,
    limits: Limits,
    retention: Retention,
    /// A flush of the state is under way.
    flushing: bool,
    /// Who waits for the log to be cut as far as the state is flushed.
    compacting: Vec<Ticket>,
    checkpointing: bool,
    /// A frozen copy exists; the tick at which a peer last needed it.
    checkpoint: Option<u64>,
    release_checkpoint: bool,
    generation: u64,
    installing: Option<Installing>,
    hashes: Hashes,
    /// The newest `collect` entry applied.
    collect: Index,
    /// The newest one put into the log here, as leader. Another leader may have cut it off since.
    collect_proposed: LogId,
    collect_due: u64,
    ticks: u64,
    suspect: Option<Suspect>,
    alarm: Option<String>,
    alarmed_at: Option<Index>,
    collected: Option<Index>,
}

/// A snapshot on its way into force.
#[derive(Clone, Copy, Debug)]
struct Installing {
    generation: u64,
    /// The batch that names it in the log, once known.
    seq: Option<Seq>,
    /// The driver has been told to switch.
    switching: bool,
}

/// Why this node must never speak again under its id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Suspect {
    #[error("the disk has lost entries up to {durable}, which an earlier run of this node had acknowledged")]
    Forgot { durable: Index },
    #[error("at entry {index} the state of this node differs from what a majority of the voters has")]
    StateDiffers { index: Index },
}

/// The cluster works with another history than the one that is committed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a leader replaces entry {0}, which is committed here: the other nodes have lost acknowledged writes, for instance because an old copy of a data \
     directory was put back. This node keeps what it has and stops. To go on with what it has, stop the others and run `rusty-kv cluster recover` here; to go on \
     with what they have, move this data directory away and take the board in as a new node"
)]
pub struct Contradiction(pub LogId);

/// What can happen to a member.
#[derive(Clone, Debug)]
pub enum Input {
    Tick,
    Message(Envelope),
    /// A new stream to this peer is up.
    Connected(NodeId),
    Persisted(Seq),
    Applied(Applied),
    EntriesRead(EntriesRead),
    Room(Room),
    Write {
        ticket: Ticket,
        command: Command,
        haves: Option<Haves>,
    },
    Read {
        ticket: Ticket,
    },
    /// Answered when the change's entry is committed.
    Change {
        ticket: Ticket,
        change: Change,
    },
    /// Answered when it is known who is to lead.
    Transfer {
        ticket: Ticket,
        to: Option<NodeId>,
    },
    /// Cut the log as far as the state is flushed.
    Compact {
        ticket: Ticket,
    },
    /// The entries of an [`ApplyJob::FromLog`] are gone from the log: a snapshot took their place.
    NothingApplied,
    /// The state would survive a power cut up to here.
    Flushed(LogId),
    /// A frozen copy of the state at this position can be fetched here.
    Checkpointed(LogId),
    /// A fetched snapshot is verified, and durable under its generation.
    Staged(Snapshot),
    /// The state of the staged generation is in force.
    Switched(Position),
    /// Up to this applied index no blob that the state refers to is missing.
    Whole(Index),
    /// Whether this disk holds blobs that nothing refers to.
    Garbage(bool),
}

/// Who holds a blob for good, asked in a term, with the newest `collect` entry that the leader's log had then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Haves {
    pub term: Term,
    pub collect: Index,
    pub nodes: BTreeSet<NodeId>,
}

/// What a member asks for. Start `persist` first.
#[derive(Debug, Default)]
pub struct Effects {
    pub persist: Option<(Seq, Batch)>,
    pub send: Vec<Envelope>,
    pub apply: Option<ApplyJob>,
    pub need_entries: Vec<NeedEntries>,
    pub replies: Vec<(Ticket, Reply)>,
    /// Make the state durable, then give [`Input::Flushed`].
    pub flush: bool,
    /// Make a frozen copy of the state, then give [`Input::Checkpointed`].
    pub checkpoint: bool,
    /// The frozen copy is needed no longer.
    pub release_checkpoint: bool,
    /// Fetch this snapshot, stage it as [`Replica::next_generation`], then give [`Input::Staged`]. Repeated as long as it is wanted.
    pub fetch: Option<Fetch>,
    /// Stop for good: from now on this node counts for nothing under its id, and nothing more is sent.
    pub suspect: Option<Suspect>,
    /// Stop, and keep what is here.
    pub contradiction: Option<Contradiction>,
    /// States differ and no majority agrees.
    pub alarm: Option<String>,
    /// A `collect` entry at this index is applied: unreferenced blobs may go once the state is flushed that far.
    pub collected: Option<Index>,
}

/// Work on the state. Entries are answered by [`Input::Applied`], a switch by [`Input::Switched`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyJob {
    Entries(Vec<Entry>),
    /// No longer in memory: read them from the log, up to `max_bytes`, at least one.
    FromLog {
        first: Index,
        last: Index,
        max_bytes: usize,
    },
    /// From now on the state is that of this generation, which the log names.
    Switch {
        generation: u64,
    },
}

/// The answer to a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Written(Outcome),
    /// Everything acknowledged before the read was asked is applied here.
    ReadNow,
    /// The change's entry is committed.
    Changed(LogId),
    /// Leadership goes to this voter, if nothing comes between.
    Transferring(NodeId),
    /// The log begins behind this entry.
    Compacted(LogId),
    /// Whether the write took effect is not known here, and will not be.
    Unknown,
    NotExecuted(Failure),
}

/// Why a request had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another node leads, if one is known.
    NotLeader(Option<NodeId>),
    /// Too much waits for its commit.
    Overloaded,
    /// The leader or a quorum is short of disk space.
    NoRoom,
    /// Another leader's entry took its place in the log.
    Overwritten,
    /// No quorum has said in this term, and since the last collection, that it holds the blob.
    BlobNotHeld,
    /// A change of the membership is under way, or the leader is too new to begin one.
    Busy,
    /// What was asked makes no sense with the present membership.
    Invalid(&'static str),
}

impl Replica {
    /// Goes on from what the log and the state hold, all of it synced by this process. Whether the disk has forgotten something is to
    /// be asked before.
    ///
    /// Fails if log and state contradict each other.
    pub fn open(config: Config, limits: Limits, image: LogImage, position: Position) -> Result<Replica, Error> {
        let applied = position.applied;
        if applied.index > image.last.index {
            return Err(Error::LogTooShort { applied, last: image.last });
        }
        if applied.index < image.mark.index {
            return Err(Error::StateTooOld { applied, mark: image.mark });
        }
        let run = image.terms.iter().rev().find(|(first, _)| *first <= applied.index);
        let held = run.filter(|_| applied.index > image.mark.index).map_or(image.mark.term, |(_, term)| *term);
        if held != applied.term {
            return Err(Error::LogDiffers { applied, held });
        }
        if image.hard.term < image.last.term {
            return Err(Error::TermTooOld { term: image.hard.term, last: image.last.term });
        }
        let started = image.formation.started.expect("only a member of a formed cluster has a replica");
        let base = position.membership.unwrap_or((0, started.membership));
        let newer = image
            .memberships
            .into_iter()
            .map(|(id, membership)| (id.index, membership))
            .filter(|(index, _)| *index > applied.index && !is_planted(Bug::MembershipFromState));
        let memberships = std::iter::once(base).chain(newer).collect();
        let retention = Retention::new(limits.keep, image.mark.index, applied.index);
        let recovered = Recovered {
            hard: image.hard,
            mark: image.mark,
            last: image.last,
            terms: image.terms,
            tail: image.tail,
            applied: applied.index,
            memberships,
        };
        Ok(Replica {
            node: Node::new(config, recovered),
            writes: BTreeMap::new(),
            changes: BTreeMap::new(),
            reads: BTreeMap::new(),
            applied: applied.index,
            hash: position.hash,
            applying: false,
            replies: Vec::new(),
            limits,
            retention,
            flushing: false,
            compacting: Vec::new(),
            checkpointing: false,
            checkpoint: None,
            release_checkpoint: false,
            generation: image.generation,
            installing: None,
            hashes: Hashes::default(),
            collect: position.collect,
            collect_proposed: LogId::ZERO,
            collect_due: 0,
            ticks: 0,
            suspect: None,
            alarm: None,
            alarmed_at: None,
            collected: None,
        })
    }

    /// Takes one input; its effects are in the next [`Replica::effects`].
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Message(envelope) => self.node.receive(envelope),
            Input::Connected(peer) => self.node.reconnected(peer),
            Input::Persisted(seq) => self.node.persisted(seq),
            Input::NothingApplied => {
                assert!(self.installing.is_some(), "committed entries are missing in the log");
                self.applying = false;
            }
            Input::Flushed(flushed) => self.cut_log(flushed),
            Input::Checkpointed(mark) => {
                self.checkpointing = false;
                self.checkpoint = Some(self.ticks);
                self.node.snapshot_ready(mark);
            }
            Input::Staged(snapshot) => self.install(snapshot),
            Input::Switched(position) => self.take_over(position),
            Input::Whole(index) => self.node.set_whole(index),
            Input::Garbage(garbage) => self.node.set_garbage(garbage),
            Input::Change { ticket, change } => match self.node.change(change) {
                Ok(id) => drop(self.changes.insert((id.index, id.term), ticket)),
                Err(refusal) => self.replies.push((ticket, Reply::NotExecuted(refusal.into()))),
            },
            Input::Transfer { ticket, to } => {
                let reply = match self.node.transfer(to) {
                    Ok(heir) => Reply::Transferring(heir),
                    Err(refusal) => Reply::NotExecuted(refusal.into()),
                };
                self.replies.push((ticket, reply));
            }
            Input::Compact { ticket } => self.compacting.push(ticket),
            Input::EntriesRead(read) => self.node.entries_read(read),
            Input::Room(room) => self.node.set_room(room),
            Input::Applied(applied) => self.take_applied(applied),
            Input::Read { ticket } => self.node.read(ticket),
            Input::Write { ticket, command, haves } => match self.write(&command, haves) {
                Ok(id) => {
                    self.writes.insert((id.index, id.term), ticket);
                }
                Err(failure) => self.replies.push((ticket, Reply::NotExecuted(failure))),
            },
        }
    }

    /// What followed from the inputs since the last call.
    pub fn effects(&mut self) -> Effects {
        let mut output = self.node.output();
        if let (Some(installing), Some((seq, _))) =
            (&mut self.installing, output.persist.as_ref().filter(|(_, batch)| batch.install.is_some()))
        {
            installing.seq = Some(*seq);
        }
        if let Some(agreed) = output.agreed.filter(|agreed| self.hashes.contradicts(*agreed)) {
            self.suspect = Some(Suspect::StateDiffers { index: agreed.index });
        }
        if let Some(durable) = output.forgot {
            self.suspect = Some(Suspect::Forgot { durable });
        }
        if self.suspect.is_some() {
            output.send.clear();
        }
        // A flush for a cut that somebody's fetching forbids would be followed by the next at once.
        let due = self.retention.target().is_some_and(|target| target.min(self.cut_bound()) > self.node.mark().index);
        let flush = !self.flushing && self.installing.is_none() && (due || !self.compacting.is_empty());
        self.flushing |= flush;
        let checkpoint = output.need_snapshot && !self.checkpointing && self.installing.is_none();
        self.checkpointing |= checkpoint;
        for read in output.reads {
            match read.result {
                Ok(index) if index <= self.applied => self.replies.push((read.token, Reply::ReadNow)),
                Ok(index) => self.reads.entry(index).or_default().push(read.token),
                Err(refusal) => self.replies.push((read.token, Reply::NotExecuted(refusal.into()))),
            }
        }
        Effects {
            persist: output.persist,
            send: output.send,
            apply: self.next_apply(output.apply_through),
            need_entries: output.need_entries,
            replies: std::mem::take(&mut self.replies),
            flush,
            checkpoint,
            release_checkpoint: std::mem::take(&mut self.release_checkpoint),
            fetch: output.fetch.filter(|_| self.installing.is_none()),
            suspect: self.suspect.clone(),
            contradiction: output.contradicted.map(Contradiction),
            alarm: self.alarm.take(),
            collected: self.collected.take(),
        }
    }

    pub fn status(&self) -> Status {
        self.node.status()
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The last entry that is committed and durable here.
    pub fn settled(&self) -> LogId {
        self.node.settled()
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    /// State hash at the applied index.
    pub fn state_hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The generation that a snapshot fetched now is to be staged as.
    pub fn next_generation(&self) -> u64 {
        self.generation + 1
    }

    /// The newest `collect` entry that this member's log can hold; none on a leader too new to know, which asks for no blobs yet.
    pub fn collect_index(&self) -> Option<Index> {
        match self.node.leads_since() {
            Some(since) if self.applied < since => None,
            // What was proposed in an earlier leadership is either applied or was never committed.
            Some(_) if self.collect_proposed.term == self.node.term() => Some(self.collect.max(self.collect_proposed.index)),
            _ => Some(self.collect),
        }
    }

    fn tick(&mut self) {
        self.node.tick();
        self.ticks += 1;
        self.let_checkpoint_go();
        self.leave_if_removed();
        if self.node.is_leader() && self.ticks.is_multiple_of(COMPARE_TICKS) {
            self.compare_states();
            self.propose_collect();
        }
    }

    fn write(&mut self, command: &Command, haves: Option<Haves>) -> Result<LogId, Failure> {
        if !self.node.is_leader() {
            return Err(Failure::NotLeader(self.node.leader()));
        }
        if command.needs_room() && self.node.is_refusing() {
            return Err(Failure::NoRoom);
        }
        if command.needs_blob().is_some() {
            let since_collect = |haves: &Haves| Some(haves.collect) == self.collect_index() || is_planted(Bug::OldHaveCounted);
            let asked_now = |haves: &Haves| haves.term == self.node.term() && since_collect(haves);
            let held = haves.filter(asked_now);
            let forgot: BTreeSet<NodeId> = self.node.status().peers.iter().filter(|peer| peer.forgot).map(|peer| peer.id).collect();
            let holds = |haves: &Haves, id: NodeId| haves.nodes.contains(&id) && !forgot.contains(&id);
            let quorum = held.is_some_and(|haves| self.node.membership().has_quorum(|id| holds(&haves, id)));
            if !quorum && !is_planted(Bug::ManifestBeforeQuorum) {
                return Err(Failure::BlobNotHeld);
            }
        }
        Ok(self.node.propose(command.encode().into())?)
    }

    fn take_applied(&mut self, applied: Applied) {
        assert!(self.applying && applied.through.index > self.applied, "an apply job that nobody asked for");
        self.applying = false;
        self.applied = applied.through.index;
        self.hash = applied.hash;
        self.retention.applied(self.applied, applied.bytes);
        for hash in applied.hashes {
            self.hashes.made(hash);
            self.node.set_state_hash(hash);
        }
        self.take_collect(applied.collect);
        for (id, outcome) in applied.outcomes {
            self.settle_writes(id, outcome);
        }
        self.settle_changes();
        self.release_reads();
    }

    /// Answers the writes that waited for this index.
    fn settle_writes(&mut self, id: LogId, outcome: Option<Outcome>) {
        while let Some(((index, term), ticket)) = self.writes.first_key_value().map(|(key, ticket)| (*key, *ticket)) {
            if index > id.index {
                break;
            }
            self.writes.pop_first();
            let reply = match outcome {
                Some(Outcome::Superseded) if (index, term) == (id.index, id.term) => Reply::Unknown,
                Some(outcome) if (index, term) == (id.index, id.term) => Reply::Written(outcome),
                _ => Reply::NotExecuted(Failure::Overwritten),
            };
            self.replies.push((ticket, reply));
        }
    }

    fn settle_changes(&mut self) {
        while let Some(((index, term), ticket)) = self.changes.first_key_value().map(|(key, ticket)| (*key, *ticket)) {
            if index > self.applied {
                break;
            }
            self.changes.pop_first();
            let reply = match self.node.term_at(index) {
                Some(held) if held == term => Reply::Changed(LogId::new(term, index)),
                Some(_) => Reply::NotExecuted(Failure::Overwritten),
                None => Reply::Unknown,
            };
            self.replies.push((ticket, reply));
        }
    }

    fn release_reads(&mut self) {
        let waiting = self.reads.split_off(&(self.applied + 1));
        let ready = std::mem::replace(&mut self.reads, waiting);
        self.answer_all(ready.into_values().flatten(), Reply::ReadNow);
    }

    /// The state is durable up to `flushed`: what the log holds up to there is needed by peers only.
    fn cut_log(&mut self, flushed: LogId) {
        self.flushing = false;
        let asked = std::mem::take(&mut self.compacting);
        let wanted = if asked.is_empty() { self.retention.target() } else { Some(Index::MAX) };
        let bound = self.cut_bound();
        let durable = if is_planted(Bug::CutBehindUnflushed) { self.applied } else { flushed.index };
        let target = wanted.map(|index| index.min(durable).min(bound));
        // While a snapshot is being installed the log is already that of the new state.
        if let Some(index) = target.filter(|index| self.installing.is_none() && *index > self.node.mark().index) {
            let term = self.node.term_at(index).expect("the log holds what is behind its mark");
            self.node.compact(LogId { term, index });
            self.retention.cut(index);
        }
        let mark = self.node.mark();
        self.answer_all(asked, Reply::Compacted(mark));
    }

    /// Nobody tells a member that was removed what becomes of the writes that it still had under way as leader.
    fn leave_if_removed(&mut self) {
        let waiting = !self.writes.is_empty() || !self.changes.is_empty();
        let removed = !self.node.is_changing() && !self.node.membership().contains(self.node.id());
        if waiting && removed && !self.node.is_leader() {
            let writes = std::mem::take(&mut self.writes).into_values();
            let changes = std::mem::take(&mut self.changes).into_values();
            self.answer_all(writes.chain(changes).collect::<Vec<_>>(), Reply::Unknown);
        }
    }

    /// A frozen copy keeps files of the state from being freed, so it goes some time after its last use.
    fn let_checkpoint_go(&mut self) {
        let Some(used) = self.checkpoint else { return };
        if self.node.offer_in_use().is_some() {
            self.checkpoint = Some(self.ticks);
        } else if !self.node.is_leader() || self.ticks - used > CHECKPOINT_IDLE_TICKS {
            self.checkpoint = None;
            self.release_checkpoint = true;
            self.node.snapshot_gone();
        }
    }

    /// Behind this a peer could not go on from the snapshot that it is fetching.
    fn cut_bound(&self) -> Index {
        self.node.offer_in_use().map_or(Index::MAX, |offer| offer.index)
    }

    fn install(&mut self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        if self.installing.is_some() || generation != self.next_generation() || !self.node.install(snapshot) {
            return;
        }
        self.generation = generation;
        self.installing = Some(Installing { generation, seq: None, switching: false });
    }

    /// The state is another one, further on. What became of the writes in between stays unknown: their answers are not in it.
    fn take_over(&mut self, position: Position) {
        assert!(self.installing.take().is_some_and(|installing| installing.switching), "a switch that nobody asked for");
        assert!(position.applied.index >= self.applied, "a snapshot leads forward");
        self.applying = false;
        self.applied = position.applied.index;
        self.hash = position.hash;
        self.take_collect(position.collect);
        self.retention.restart_at(self.applied);
        let waiting = self.writes.split_off(&(self.applied + 1, Term(0)));
        let passed = std::mem::replace(&mut self.writes, waiting);
        self.answer_all(passed.into_values(), Reply::Unknown);
        self.settle_changes();
        self.release_reads();
    }

    /// Whoever leads next waits as long for the next one as this leader would.
    fn take_collect(&mut self, collect: Index) {
        if collect > self.collect {
            self.collect = collect;
            self.collected = Some(collect);
            self.collect_due = self.ticks + self.limits.collect_ticks;
        }
    }

    fn compare_states(&mut self) {
        if let Some(own) = self.hashes.newest() {
            self.hashes.report(self.node.id(), own);
        }
        for peer in self.node.status().peers.into_iter().filter(|peer| !peer.forgot) {
            if let Some(hash) = peer.report.and_then(|report| report.hash) {
                self.hashes.report(peer.id, hash);
            }
        }
        match self.hashes.compare(self.node.membership()) {
            Some(Comparison::Agreed(agreed)) if self.hashes.contradicts(agreed) => {
                self.suspect = Some(Suspect::StateDiffers { index: agreed.index });
            }
            Some(Comparison::Agreed(agreed)) => self.node.set_agreed(agreed),
            Some(Comparison::Discord(index)) if self.alarmed_at != Some(index) => {
                self.alarmed_at = Some(index);
                self.alarm = Some(format!("the members' states differ at entry {index}, and no majority of the voters agrees"));
            }
            _ => {}
        }
    }

    /// Blobs that nobody refers to are collected behind an entry of the log, now and then.
    fn propose_collect(&mut self) {
        let peers = self.node.status().peers;
        let garbage = self.node.has_garbage() || peers.iter().any(|peer| peer.report.is_some_and(|report| report.garbage));
        if !garbage || self.ticks < self.collect_due || self.collect_index().is_none() {
            return;
        }
        let collect: Command = Command { session: None, operation: Operation::Collect };
        if let Ok(id) = self.node.propose(collect.encode().into()) {
            self.collect_proposed = id;
            self.collect_due = self.ticks + self.limits.collect_ticks;
        }
    }

    fn next_apply(&mut self, through: Index) -> Option<ApplyJob> {
        if self.applying {
            return None;
        }
        if let Some(installing) = &mut self.installing {
            let named = installing.seq.is_some_and(|seq| seq <= self.node.completed());
            if !named || installing.switching {
                return None;
            }
            (installing.switching, self.applying) = (true, true);
            return Some(ApplyJob::Switch { generation: installing.generation });
        }
        if through <= self.applied {
            return None;
        }
        self.applying = true;
        let (first, last, max_bytes) = (self.applied + 1, through, APPLY_MAX_BYTES);
        Some(match self.node.entries(first, last, max_bytes) {
            Some(entries) => ApplyJob::Entries(entries),
            None => ApplyJob::FromLog { first, last, max_bytes },
        })
    }

    fn answer_all(&mut self, tickets: impl IntoIterator<Item = Ticket>, reply: Reply) {
        self.replies.extend(tickets.into_iter().map(|ticket| (ticket, reply.clone())));
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::NotLeader(leader) => Failure::NotLeader(leader),
            Refusal::Overloaded => Failure::Overloaded,
            Refusal::Busy => Failure::Busy,
            Refusal::Invalid(why) => Failure::Invalid(why),
        }
    }
}
