//! What is committed, and what clients were told of it.
//!
//! Invariants it checks:
//! - every member applies the same entry at the same index, with the same outcome and the same state hash, however entries were
//!   batched and however often replayed after a crash; the outcome is that of a plain map;
//! - a command is committed at most once; "written" only if it is, "not executed" only if it never is;
//! - a manifest is committed only in the term in which a quorum said that it holds the blob;
//! - a request is answered at most once, and only by the run of the process that took it;
//! - a read sees everything that was acknowledged or read, at any member, before it was asked.

use std::{collections::BTreeMap, ops::AddAssign};

use raft::{Entry, Index, Membership, Payload};
use replica::{
    Command, Failure, Haves, Key, Reply, Ticket,
    state::{self, Applied, Outcome},
};
use storage::MemState;

use super::{Member, Model};

#[derive(Debug)]
pub struct Ledger {
    pub model: Model,
    membership: Membership,
    /// Index 1 first.
    committed: Vec<Committed>,
    /// Applies each entry alone.
    reference: MemState,
    requests: BTreeMap<Ticket, Request>,
    /// What a later read must at least see.
    floor: Index,
    answers: Answers,
}

/// How often each kind of answer was given: a run that never sees one proves nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub written: u64,
    pub overwritten: u64,
    pub refused: u64,
    pub no_room: u64,
    pub blob_not_held: u64,
    pub read: u64,
}

#[derive(Debug)]
struct Committed {
    entry: Entry,
    outcome: Option<Outcome>,
    hash: [u8; 32],
}

#[derive(Debug)]
struct Request {
    /// Which member took it, in which run of its process.
    taken_by: (usize, u64),
    kind: Kind,
    answered: bool,
    committed_at: Option<Index>,
    not_executed: bool,
}

#[derive(Debug)]
enum Kind {
    Write { command: Command, haves: Option<Haves> },
    Read { key: Key, floor: Index },
}

impl AddAssign for Answers {
    fn add_assign(&mut self, more: Answers) {
        self.written += more.written;
        self.overwritten += more.overwritten;
        self.refused += more.refused;
        self.no_room += more.no_room;
        self.blob_not_held += more.blob_not_held;
        self.read += more.read;
    }
}

impl Ledger {
    pub fn new(membership: Membership) -> Ledger {
        Ledger {
            model: Model::default(),
            membership,
            committed: Vec::new(),
            reference: MemState::new(),
            requests: BTreeMap::new(),
            floor: 0,
            answers: Answers::default(),
        }
    }

    pub fn answers(&self) -> Answers {
        self.answers
    }

    pub fn committed(&self) -> Index {
        self.committed.len() as Index
    }

    /// A client asks for a write. The command's stamp names the ticket, so that it is found again in the log.
    pub fn asks_write(&mut self, ticket: Ticket, taken_by: (usize, u64), command: Command, haves: Option<Haves>) {
        self.asks(ticket, taken_by, Kind::Write { command, haves });
    }

    pub fn asks_read(&mut self, ticket: Ticket, taken_by: (usize, u64), key: Key) {
        self.asks(ticket, taken_by, Kind::Read { key, floor: self.floor });
    }

    /// A member has applied entries.
    pub fn applied(&mut self, entries: &[Entry], applied: &Applied) -> Result<(), String> {
        for (entry, (id, outcome)) in entries.iter().zip(&applied.outcomes) {
            if entry.id.index > self.committed() {
                self.commit(entry)?;
            }
            let known = &self.committed[entry.id.index as usize - 1];
            if known.entry != *entry || *id != entry.id {
                return Err(format!("index {} holds {:?} here and {:?} there", entry.id.index, known.entry, entry));
            }
            if known.outcome != *outcome {
                return Err(format!("entry {} led to {:?} and to {outcome:?}", entry.id, known.outcome));
            }
        }
        let last = &self.committed[applied.through.index as usize - 1];
        match applied.hash == last.hash && applied.outcomes.len() == entries.len() && last.entry.id == applied.through {
            true => Ok(()),
            false => Err(format!("another state at {}", applied.through)),
        }
    }

    /// A member has answered.
    pub fn answered(&mut self, from: usize, member: &Member, ticket: Ticket, reply: &Reply) -> Result<(), String> {
        let request = self.requests.get_mut(&ticket).ok_or_else(|| format!("nobody has asked {ticket}"))?;
        if std::mem::replace(&mut request.answered, true) || request.taken_by != (from, member.boot()) {
            return Err(format!("a second or foreign answer to {request:?}"));
        }
        match (&request.kind, reply) {
            (Kind::Write { .. }, Reply::Written(outcome)) => {
                let index = request.committed_at.ok_or_else(|| format!("acknowledged, but not committed: {request:?}"))?;
                self.answers.written += 1;
                self.floor = self.floor.max(index);
                match self.committed[index as usize - 1].outcome == Some(*outcome) {
                    true => Ok(()),
                    false => Err(format!("entry {index} was answered with {outcome:?}")),
                }
            }
            (Kind::Write { command, .. }, Reply::NotExecuted(failure)) => {
                request.not_executed = true;
                match failure {
                    Failure::Overwritten => self.answers.overwritten += 1,
                    Failure::NoRoom => self.answers.no_room += 1,
                    Failure::BlobNotHeld => self.answers.blob_not_held += 1,
                    Failure::NotLeader(_) | Failure::Overloaded => self.answers.refused += 1,
                }
                match (request.committed_at, failure) {
                    (Some(index), _) => Err(format!("\"not executed\", but entry {index}: {request:?}")),
                    (None, Failure::NoRoom) if !command.needs_room() => Err(format!("a delete needs no room: {request:?}")),
                    _ => Ok(()),
                }
            }
            (Kind::Read { key, floor }, Reply::ReadNow) => {
                let (key, floor, at) = (key.clone(), *floor, member.applied().index);
                self.answers.read += 1;
                self.check_read(member, &key, floor, at)?;
                self.floor = self.floor.max(at);
                Ok(())
            }
            (Kind::Read { .. }, Reply::NotExecuted(Failure::NotLeader(_))) => Ok(()),
            _ => Err(format!("{reply:?} to {request:?}")),
        }
    }

    /// Requests without an answer that the present run of a member took.
    pub fn unanswered(&self, from: usize, member: &Member) -> Vec<Ticket> {
        let here = (from, member.boot());
        self.requests.iter().filter(|(_, request)| !request.answered && request.taken_by == here).map(|(ticket, _)| *ticket).collect()
    }

    fn asks(&mut self, ticket: Ticket, taken_by: (usize, u64), kind: Kind) {
        let request = Request { taken_by, kind, answered: false, committed_at: None, not_executed: false };
        assert!(self.requests.insert(ticket, request).is_none(), "tickets are unique");
    }

    fn commit(&mut self, entry: &Entry) -> Result<(), String> {
        let alone = state::apply(&self.reference, std::slice::from_ref(entry)).map_err(|error| error.to_string())?;
        let outcome = match &entry.payload {
            Payload::Command(bytes) => {
                let command = Command::decode(bytes).map_err(|error| error.to_string())?.owned();
                self.find(entry, &command)?;
                Some(self.model.execute(entry.id.index, &command))
            }
            Payload::Noop | Payload::Membership(_) => None,
        };
        self.committed.push(Committed { entry: entry.clone(), outcome, hash: alone.hash });
        Ok(())
    }

    /// Whose command this is, and whether it may be here.
    fn find(&mut self, entry: &Entry, command: &Command) -> Result<(), String> {
        let ticket = command.session.map(|stamp| stamp.session).ok_or("a command that no client sent")?;
        let request = self.requests.get_mut(&ticket).ok_or("a command that no client sent")?;
        let Kind::Write { command: asked, haves } = &request.kind else { return Err("a read in the log".into()) };
        if asked != command || request.not_executed || request.committed_at.is_some() {
            return Err(format!("entry {} is what was not to be: {request:?}", entry.id));
        }
        let held =
            haves.as_ref().is_some_and(|haves| haves.term == entry.id.term && self.membership.has_quorum(|id| haves.nodes.contains(&id)));
        if command.needs_blob().is_some() && !held {
            return Err(format!("entry {} names a blob that no quorum holds: {request:?}", entry.id));
        }
        request.committed_at = Some(entry.id.index);
        Ok(())
    }

    fn check_read(&self, member: &Member, key: &Key, floor: Index, at: Index) -> Result<(), String> {
        if at < floor {
            return Err(format!("a read at {at} misses what was acknowledged up to {floor}"));
        }
        let found = state::get(&member.state, key).map_err(|error| error.to_string())?;
        if found.as_ref() != self.model.at(key.as_bytes(), at) {
            return Err(format!("{key:?} at {at} is {found:?} instead of {:?}", self.model.at(key.as_bytes(), at)));
        }
        let listed = state::list(&member.state, b"", b"", usize::MAX, usize::MAX).map_err(|error| error.to_string())?;
        match listed.iter().map(|(key, meta)| (key, *meta)).eq(self.model.keys_at(at)) {
            true => Ok(()),
            false => Err(format!("the list at {at} is {listed:?}")),
        }
    }
}
