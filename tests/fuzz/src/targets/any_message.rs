//! Any message, in any state: a core that hears whatever its wire lets through, at any moment.
//!
//! The script plays one driver (ticks, completions of persists in any order, clients, cuts, snapshots) and four peers, of whom
//! none need be honest. A peer can only say what the conversion from the wire accepts: a bounded term, entries that continue each
//! other, and neither these nor an offer of the future.
//!
//! Two lies are left out, because the process ends at them, and is meant to:
//! - entries that contradict what is committed here: to go on would be to lose it;
//! - a leader that contradicts what it said itself in the same term.
//!
//! The log is kept by a store that has asserts of its own: no gaps, nothing forgotten before the mark.

use std::collections::{BTreeMap, VecDeque};

use raft::{
    Append, Change, Config, EntriesRead, Entry, Envelope, HardState, Index, Intent, LogId, Membership, Message, NeedEntries, Node, NodeId,
    Payload, ReadId, Recovered, Report, Room, Seq, Snapshot, StateHash, Term,
};
use storage::{Formation, LogStore as _, MemLog};

use crate::script::Script;

const ME: NodeId = NodeId(1);
const STEPS_MAX: usize = 400;
const ENTRIES_MAX: u64 = 5;
/// As the conversion from the wire has it.
const TERM_MAX: u64 = 1 << 62;
const INDEX_MAX: u64 = 1 << 62;

/// The process goes on, and what it asks to be persisted fits the log on its disk.
pub fn any_message(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut driver = Driver::start(&mut script);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        driver.step(&mut script);
    }
}

struct Driver {
    node: Node,
    disk: MemLog,
    /// As the last output allowed.
    applied: Index,
    /// Every configuration on the disk, in its log or its state.
    memberships: Vec<(Index, Membership)>,
    boot: u64,
    /// Handed out and not yet reported as done.
    persisting: VecDeque<Seq>,
    wanted: VecDeque<NeedEntries>,
    /// Of a snapshot that the core wants.
    fetch: Option<LogId>,
    generation: u64,
    /// How far each leader's log is this one, by what it said in its term.
    matched: BTreeMap<(Term, NodeId), Index>,
}

impl Driver {
    fn start(script: &mut Script<'_>) -> Driver {
        let voters = Membership::of_voters((1..=script.below(4) + 1).map(NodeId));
        let formation = Formation { node: ME, cluster_name: "home".into(), promised: None, started: None };
        let disk = MemLog::create(&formation);
        let mut terms = Vec::new();
        let (mut last, mut tail) = (LogId::ZERO, Vec::new());
        for _ in 0..script.below(6) {
            last = LogId { term: Term(last.term.0.max(1) + script.below(2)), index: last.index + 1 };
            if terms.last().map(|(_, term)| *term) != Some(last.term) {
                terms.push((last.index, last.term));
            }
            tail.push(Entry { id: last, payload: Payload::Noop });
        }
        let hard = HardState { term: Term(last.term.0 + script.below(2)), vote: None };
        let batch = raft::Batch { hard: Some(hard), entries: tail.clone(), ..raft::Batch::default() };
        disk.persist(&[batch]).expect("memory can be written");
        let applied = script.below(last.index + 1);
        let memberships = vec![(0, voters)];
        let found = Recovered { hard, mark: LogId::ZERO, last, terms, tail, applied, memberships: memberships.clone() };
        let (persisting, wanted) = (VecDeque::new(), VecDeque::new());
        Driver {
            node: Node::new(config(1), found),
            disk,
            applied,
            memberships,
            boot: 1,
            persisting,
            wanted,
            fetch: None,
            generation: 0,
            matched: BTreeMap::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let before = (self.node.term(), self.node.commit());
        match script.below(25) {
            0..=9 => self.hear(script),
            10..=11 => (0..script.below(64)).for_each(|_| self.node.tick()),
            12..=14 => self.take_output(),
            15..=16 => self.complete(script),
            17 => {
                let _ = self.node.propose(script.piece().into());
            }
            18 => self.node.read(script.below(8)),
            19 => self.change(script),
            20 => self.tell_of_itself(script),
            21 => self.cut(script),
            22 => self.install(script),
            23 => self.give_entries(script),
            _ => return self.restart(),
        }
        if script.flag() {
            self.take_output();
        }
        assert!(self.node.term() >= before.0 && self.node.commit() >= before.1, "term or commit went back");
    }

    fn take_output(&mut self) {
        let output = self.node.output();
        assert!(output.apply_through <= self.node.commit(), "applied before it is committed");
        if let Some((seq, batch)) = output.persist {
            self.memberships.retain(|(index, _)| batch.truncate.is_none_or(|from| *index < from));
            self.memberships.extend(batch.entries.iter().filter_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some((entry.id.index, membership.clone())),
                _ => None,
            }));
            self.disk.persist(&[batch]).expect("memory can be written");
            self.persisting.push_back(seq);
        }
        self.applied = output.apply_through;
        self.wanted.extend(output.need_entries);
        self.fetch = output.fetch.map(|fetch| fetch.mark).or(self.fetch);
        assert!(output.send.iter().all(|envelope| envelope.from == ME && envelope.term <= self.node.term()), "it speaks for others");
    }

    /// What is on the disk is there again, and nothing else.
    fn restart(&mut self) {
        self.disk.crash();
        let image = self.disk.load(usize::MAX).expect("memory can be read");
        let applied = self.applied.max(image.mark.index);
        let passed = self.memberships.partition_point(|(index, _)| *index <= applied);
        let in_force = self.memberships[passed.saturating_sub(1)].clone();
        let behind = image.memberships.into_iter().map(|(id, membership)| (id.index, membership));
        let behind: Vec<_> = behind.filter(|(index, _)| *index > applied).collect();
        let found = Recovered {
            hard: image.hard,
            mark: image.mark,
            last: image.last,
            terms: image.terms,
            tail: image.tail,
            applied,
            memberships: [vec![in_force], behind].concat(),
        };
        self.boot += 1;
        self.node = Node::new(config(self.boot), found);
        self.persisting.clear();
        self.wanted.clear();
        self.fetch = None;
    }

    fn complete(&mut self, script: &mut Script<'_>) {
        if self.persisting.is_empty() {
            return;
        }
        let at = script.below(self.persisting.len() as u64) as usize;
        if let Some(seq) = self.persisting.remove(at) {
            self.node.persisted(seq);
        }
    }

    fn change(&mut self, script: &mut Script<'_>) {
        let (one, other) = (peer(script), peer(script));
        let change = match script.below(6) {
            0 => Change::AddLearner(one, Intent::Promote),
            1 => Change::AddLearner(one, Intent::Replace(other)),
            2 => Change::Promote(one),
            3 => Change::Replace { old: one, new: other },
            4 => Change::Remove(one),
            _ => {
                let _ = self.node.transfer(script.flag().then_some(one));
                return;
            }
        };
        let _ = self.node.change(change);
    }

    fn tell_of_itself(&mut self, script: &mut Script<'_>) {
        match script.below(7) {
            0 => self.node.set_room(room(script)),
            1 => self.node.set_whole(script.near(self.node.commit())),
            2 => self.node.set_state_hash(hash(self.node.commit(), script)),
            3 => self.node.set_agreed(hash(self.node.commit(), script)),
            4 => self.node.reconnected(peer(script)),
            5 => self.node.snapshot_gone(),
            _ => {
                let settled = self.node.settled();
                self.node.snapshot_ready(settled);
            }
        }
    }

    /// Only what is applied is cut, and only what is committed and durable is applied.
    fn cut(&mut self, script: &mut Script<'_>) {
        self.take_output();
        let index = script.below(1 + self.node.settled().index.min(255));
        if let Some(term) = self.node.term_at(index) {
            self.node.compact(LogId { term, index });
        }
    }

    /// The one that was offered, whatever is in it.
    fn install(&mut self, script: &mut Script<'_>) {
        self.take_output();
        let Some(mark) = self.fetch.take() else { return };
        let membership = script.flag().then(|| (script.below(1 + mark.index.min(255)), membership(script)));
        if self.node.install(Snapshot { mark, generation: self.generation + 1, membership }) {
            self.generation += 1;
            self.memberships.retain(|(index, _)| *index > mark.index);
            self.memberships.insert(0, self.node.committed_membership().clone());
            self.take_output();
        }
    }

    fn give_entries(&mut self, script: &mut Script<'_>) {
        let Some(wanted) = self.wanted.pop_front() else { return };
        let NeedEntries { peer, term, first, last, max_bytes } = wanted;
        let read = match script.below(4) {
            0 => Ok(Vec::new()),
            _ => self.disk.entries(first, last.max(first), max_bytes),
        };
        self.node.entries_read(EntriesRead { peer, term, entries: read.unwrap_or_default() });
    }

    fn hear(&mut self, script: &mut Script<'_>) {
        let from = peer(script);
        let now = self.node.term().0;
        let term = match script.below(8) {
            0..=4 => now,
            5 => now + 1,
            6 => now.saturating_sub(1),
            _ => script.near(now),
        };
        let term = Term(term.min(TERM_MAX));
        let status = self.node.status();
        let last = status.last;
        let message = match script.below(16) {
            0 => Message::PreVote { last: log_id(last, script) },
            1 => Message::PreVoteReply { granted: script.flag(), asked: Term(script.near(now)) },
            2 => Message::Vote { last: log_id(last, script) },
            3..=4 => Message::VoteReply { granted: true },
            5..=9 => match self.append(from, term, script) {
                Some(append) => Message::Append(append),
                None => return,
            },
            10..=11 => {
                let matched = script.near(last.index);
                Message::Accepted { matched, durable: script.near(matched), round: script.near(1), report: report(last.index, script) }
            }
            12 => {
                let (prev, hint) = (script.near(last.index), log_id(last, script));
                Message::Rejected { prev, hint, round: script.near(1), report: report(last.index, script) }
            }
            13 => Message::Campaign,
            14 => Message::Forgot { durable: script.near(last.index) },
            _ if script.flag() => Message::ReadIndex { id: read_id(script) },
            _ => Message::ReadIndexReply { id: read_id(script), index: script.flag().then(|| script.near(last.index)) },
        };
        let named = match &message {
            Message::Append(append) => append.entries.iter().map(|entry| entry.id).chain([append.prev]).collect(),
            _ => Vec::new(),
        };
        self.node.receive(Envelope { from, to: ME, term, message });
        if (self.node.leader(), self.node.term()) == (Some(from), term) {
            let held = named.into_iter().filter(|id| self.node.term_at(id.index) == Some(id.term)).map(|id| id.index);
            let matched = self.matched.entry((term, from)).or_default();
            *matched = held.chain([*matched]).max().unwrap_or(0);
        }
    }

    /// None where it would be one of the lies that are left out.
    fn append(&mut self, from: NodeId, term: Term, script: &mut Script<'_>) -> Option<Append> {
        let last = self.node.status().last;
        let prev = match script.below(4) {
            0..=2 => {
                let index = last.index.saturating_sub(script.below(6));
                self.node.term_at(index).map(|term| LogId { term, index })?
            }
            _ => log_id(last, script),
        };
        let mut entries = Vec::new();
        let mut before = prev;
        for _ in 0..script.below(ENTRIES_MAX) {
            let step = if script.below(4) == 0 { script.below(3) } else { 0 };
            let Some(index) = before.index.checked_add(1) else { break };
            before = LogId { term: Term(before.term.0.checked_add(step)?), index };
            if before.term > term {
                break;
            }
            let payload = match script.below(6) {
                0 => Payload::Membership(membership(script)),
                1..=2 => Payload::Command(script.piece().into()),
                _ => Payload::Noop,
            };
            entries.push(Entry { id: before, payload });
        }
        let offer = (script.below(6) == 0).then(|| log_id(last, script)).filter(|offer| offer.term <= term && offer.index <= INDEX_MAX);
        let append = Append {
            prev,
            entries,
            commit: script.near(last.index),
            round: script.near(1),
            refusing: script.flag(),
            offer,
            agreed: script.flag().then(|| hash(last.index, script)),
        };
        let settled = self.node.commit().max(self.matched.get(&(term, from)).copied().unwrap_or(0));
        let differs = |id: LogId| id.index <= settled && self.node.term_at(id.index).is_some_and(|term| term != id.term);
        let is_sound = !append.entries.iter().any(|entry| differs(entry.id));
        is_sound.then_some(append)
    }
}

/// Entries leave memory and windows close within a few of them.
fn config(boot: u64) -> Config {
    Config {
        cache_max_bytes: 150,
        append_max_bytes: 100,
        inflight_max_bytes: 300,
        uncommitted_max_bytes: 2_000,
        ..Config::with_defaults(ME, 7, boot)
    }
}

/// One of those the core knows, mostly.
fn peer(script: &mut Script<'_>) -> NodeId {
    NodeId(2 + script.below(4))
}

fn log_id(near: LogId, script: &mut Script<'_>) -> LogId {
    LogId { term: Term(script.near(near.term.0)), index: script.near(near.index) }
}

fn read_id(script: &mut Script<'_>) -> ReadId {
    ReadId { node: NodeId(script.below(3)), boot: script.below(3), counter: script.near(1) }
}

fn room(script: &mut Script<'_>) -> Room {
    [Room::Unknown, Room::Floor, Room::Low, Room::Enough][script.below(4) as usize]
}

fn hash(index: Index, script: &mut Script<'_>) -> StateHash {
    StateHash { index: script.near(index), digest: script.below(3) }
}

fn report(index: Index, script: &mut Script<'_>) -> Report {
    Report {
        boot: script.below(3),
        end: script.near(index),
        room: room(script),
        whole: script.near(index),
        hash: script.flag().then(|| hash(index, script)),
        garbage: script.flag(),
    }
}

fn membership(script: &mut Script<'_>) -> Membership {
    let some = |script: &mut Script<'_>| {
        let chosen = script.byte();
        (1..=6).filter(move |id| chosen >> id & 1 == 1).map(NodeId)
    };
    let voters = some(script).collect();
    let outgoing = if script.below(3) == 0 { some(script).collect() } else { Default::default() };
    let intent = [Intent::Stay, Intent::Promote, Intent::Replace(NodeId(1 + script.below(6)))][script.below(3) as usize];
    let learners = if script.below(3) == 0 { some(script).map(|id| (id, intent)).collect() } else { BTreeMap::new() };
    Membership { voters, outgoing, learners }
}
