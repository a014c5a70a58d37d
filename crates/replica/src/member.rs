//! A member: the Raft core, the requests that wait on it, the work under way.
//!
//! Invariants:
//! - entries are applied in order, each once, only when committed and durable here; one apply job is under way at a time;
//! - a write is answered "done" only when its own entry (term and index) was applied, "not executed" only when another entry was
//!   applied at its index or it never entered the log; else it goes on waiting, whoever leads, and its fate stays unknown;
//! - a read is answered when its read index is applied;
//! - a manifest enters the log only with a quorum's word, given in the present term, that they hold the blob.

use std::collections::{BTreeMap, BTreeSet};

use raft::{
    Batch, Config, EntriesRead, Entry, Envelope, Index, LogId, NeedEntries, Node, NodeId, Payload, Recovered, Refusal, Room, Seq, Status,
    Term,
};
use storage::LogImage;

use crate::{
    Command, Error,
    state::{Applied, Outcome},
};

/// Names a waiting client request; chosen by the caller, unique within one run.
pub type Ticket = u64;

/// Entries of one apply job.
const APPLY_MAX_BYTES: usize = 4 << 20;

/// One member of a formed cluster.
#[derive(Debug)]
pub struct Replica {
    node: Node,
    /// Appended here as leader. One index may stand here in several terms: an entry that this log has lost to a truncation can
    /// still be committed from another member's, so its writer's fate is open until that index is applied.
    writes: BTreeMap<(Index, Term), Ticket>,
    /// Confirmed reads that wait for their index to be applied.
    reads: BTreeMap<Index, Vec<Ticket>>,
    applied: Index,
    hash: [u8; 32],
    applying: bool,
    replies: Vec<(Ticket, Reply)>,
}

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
}

/// Who holds a blob for good, asked in a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Haves {
    pub term: Term,
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
}

/// Entries to apply; answered by [`Input::Applied`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyJob {
    Entries(Vec<Entry>),
    /// No longer in memory: read them from the log, up to `max_bytes`, at least one.
    FromLog {
        first: Index,
        last: Index,
        max_bytes: usize,
    },
}

/// The answer to a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Written(Outcome),
    /// Everything acknowledged before the read was asked is applied here.
    ReadNow,
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
    /// No quorum has said in this term that it holds the blob.
    BlobNotHeld,
}

impl Replica {
    /// Goes on from what the log and the state hold, all of it synced by this process.
    ///
    /// Fails if they contradict each other: then the disk has forgotten something.
    pub fn open(config: Config, image: LogImage, applied: LogId, hash: [u8; 32]) -> Result<Replica, Error> {
        if applied.index > image.last.index {
            return Err(Error::LogTooShort { applied, last: image.last });
        }
        let run = image.terms.iter().rev().find(|(first, _)| *first <= applied.index);
        let held = run.map_or(image.mark.term, |(_, term)| *term);
        if held != applied.term {
            return Err(Error::LogDiffers { applied, held });
        }
        if image.hard.term < image.last.term {
            return Err(Error::TermTooOld { term: image.hard.term, last: image.last.term });
        }
        let at_start = image.formation.started.map(|started| (0, started.membership));
        let membership = image.membership.map(|(id, membership)| (id.index, membership)).or(at_start);
        let node = Node::new(
            config,
            Recovered {
                hard: image.hard,
                mark: image.mark,
                last: image.last,
                terms: image.terms,
                tail: image.tail,
                applied: applied.index,
                membership: membership.expect("only a member of a formed cluster has a replica"),
            },
        );
        let empty = (BTreeMap::new(), BTreeMap::new());
        Ok(Replica { node, writes: empty.0, reads: empty.1, applied: applied.index, hash, applying: false, replies: Vec::new() })
    }

    /// Takes one input; its effects are in the next [`Replica::effects`].
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Tick => self.node.tick(),
            Input::Message(envelope) => self.node.receive(envelope),
            Input::Connected(peer) => self.node.reconnected(peer),
            Input::Persisted(seq) => self.node.persisted(seq),
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
        let output = self.node.output();
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

    fn write(&mut self, command: &Command, haves: Option<Haves>) -> Result<LogId, Failure> {
        if !self.node.is_leader() {
            return Err(Failure::NotLeader(self.node.leader()));
        }
        if command.needs_room() && self.node.is_refusing() {
            return Err(Failure::NoRoom);
        }
        if command.needs_blob().is_some() {
            let held = haves.filter(|haves| haves.term == self.node.term());
            let quorum = held.is_some_and(|haves| self.node.membership().has_quorum(|id| haves.nodes.contains(&id)));
            if !quorum {
                return Err(Failure::BlobNotHeld);
            }
        }
        Ok(self.node.propose(Payload::Command(command.encode().into()))?)
    }

    fn take_applied(&mut self, applied: Applied) {
        assert!(self.applying && applied.through.index > self.applied, "an apply job that nobody asked for");
        self.applying = false;
        self.applied = applied.through.index;
        self.hash = applied.hash;
        for (id, outcome) in applied.outcomes {
            while let Some(((index, term), ticket)) = self.writes.first_key_value().map(|(key, ticket)| (*key, *ticket)) {
                if index > id.index {
                    break;
                }
                self.writes.pop_first();
                let reply = match outcome {
                    Some(outcome) if (index, term) == (id.index, id.term) => Reply::Written(outcome),
                    _ => Reply::NotExecuted(Failure::Overwritten),
                };
                self.replies.push((ticket, reply));
            }
        }
        let waiting = self.reads.split_off(&(self.applied + 1));
        let ready = std::mem::replace(&mut self.reads, waiting);
        self.answer_all(ready.into_values().flatten(), Reply::ReadNow);
    }

    fn next_apply(&mut self, through: Index) -> Option<ApplyJob> {
        if self.applying || through <= self.applied {
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
        }
    }
}
