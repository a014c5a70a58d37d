//! A write takes effect once, however often it was sent: what commands do to a plain map with a table of sessions, written apart from
//! the state machine.

use std::collections::BTreeMap;

use super::{Property, Tokens, Verdict};
use replica::{
    Command, Condition, Operation, Value,
    state::{Meta, Outcome, Record},
};

/// The map at every index it ever had.
#[derive(Clone, Debug, Default)]
pub struct ExactlyOnce {
    now: BTreeMap<Vec<u8>, Record>,
    /// Of each key: the index of each change, ascending, and what the key was from then on.
    history: BTreeMap<Vec<u8>, Vec<(u64, Option<Record>)>>,
    pub tokens: Tokens,
    sessions: BTreeMap<u64, Session>,
    sessions_max: usize,
    /// Sessions opened before this may be forgotten ones.
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    opened: u64,
    serial: u64,
    /// Index of its last write.
    last: u64,
    outcome: Outcome,
}

impl ExactlyOnce {
    /// `sessions_max`: as the members have it.
    pub fn new(sessions_max: usize) -> ExactlyOnce {
        ExactlyOnce { sessions_max, ..ExactlyOnce::default() }
    }

    pub fn execute(&mut self, index: u64, command: &Command) -> Outcome {
        let Some(stamp) = command.session else { return self.operate(index, &command.operation) };
        match self.sessions.get(&stamp.session) {
            Some(known) if known.opened != stamp.opened => return Outcome::Expired { index },
            Some(known) if known.serial == stamp.serial => return known.outcome,
            Some(known) if known.serial > stamp.serial => return Outcome::Superseded,
            Some(_) => {}
            None if stamp.opened < self.floor || stamp.opened >= index => return Outcome::Expired { index },
            None => self.make_place(),
        }
        let outcome = self.operate(index, &command.operation);
        self.sessions.insert(stamp.session, Session { opened: stamp.opened, serial: stamp.serial, last: index, outcome });
        outcome
    }

    /// What became of a session's write, as far as remembered.
    pub fn outcome_of(&self, session: u64, serial: u64) -> Option<Outcome> {
        self.sessions.get(&session).filter(|known| known.serial == serial).map(|known| known.outcome)
    }

    /// A client was told what its write led to. A session forgotten since proves nothing.
    pub fn told(&self, session: u64, serial: u64, outcome: Outcome) -> Verdict {
        let known = self.outcome_of(session, serial);
        Property::ExactlyOnce.holds(known.is_none_or(|known| known == outcome), || {
            format!("write {serial} of session {session:x} was answered with {outcome:?}, but led to {known:?}")
        })
    }

    /// What a member's outcome must be.
    pub fn agrees(index: u64, expected: Option<Outcome>, found: Option<Outcome>) -> Verdict {
        Property::ExactlyOnce.holds(expected == found, || format!("entry {index} led to {found:?} instead of {expected:?}"))
    }

    /// Everything a member's state lists when `index` was the last applied.
    pub fn lists(&self, index: u64, listed: &[(Vec<u8>, Meta)]) -> Verdict {
        let same = listed.iter().map(|(key, meta)| (key, *meta)).eq(self.keys_at(index));
        Property::ExactlyOnce.holds(same, || format!("the state at {index} is {listed:?}"))
    }

    fn make_place(&mut self) {
        if self.sessions.len() < self.sessions_max {
            return;
        }
        let mut by_age: Vec<(u64, u64)> = self.sessions.iter().map(|(id, session)| (session.last, *id)).collect();
        by_age.sort_unstable();
        for (last, id) in by_age.into_iter().take((self.sessions_max / 10).max(1)) {
            self.floor = self.floor.max(last);
            self.sessions.remove(&id);
        }
    }

    /// The record of a key when `index` was the last applied.
    pub fn at(&self, key: &[u8], index: u64) -> Option<&Record> {
        let changes = self.history.get(key)?;
        let before = changes.partition_point(|(at, _)| *at <= index);
        changes[..before].last().and_then(|(_, record)| record.as_ref())
    }

    /// Every key when `index` was the last applied, in byte order.
    pub fn keys_at(&self, index: u64) -> impl Iterator<Item = (&Vec<u8>, Meta)> {
        self.history.keys().filter_map(move |key| self.at(key, index).map(|record| (key, meta(record))))
    }

    /// Blobs that keys refer to now, each with a key.
    pub fn live_blobs(&self) -> BTreeMap<[u8; 32], String> {
        let blob_of = |(key, record): (&Vec<u8>, &Record)| match record.value {
            Value::Blob { hash, .. } => Some((hash, String::from_utf8_lossy(key).into_owned())),
            Value::Inline(_) => None,
        };
        self.now.iter().filter_map(blob_of).collect()
    }

    fn operate(&mut self, index: u64, operation: &Operation) -> Outcome {
        let (key, condition) = match operation {
            Operation::Put { key, condition, .. } | Operation::Delete { key, condition } => (key.as_bytes().to_vec(), *condition),
            Operation::Collect => return Outcome::Housekeeping,
            Operation::Trust(change) => return Outcome::Trust(self.tokens.change(change)),
        };
        let old = self.now.get(&key).cloned();
        let refused = match condition {
            Condition::Always => false,
            Condition::Absent => old.is_some(),
            Condition::Revision(wanted) => old.as_ref().map(|record| record.modified) != Some(wanted),
        };
        if refused {
            return Outcome::ConditionFalse(old.as_ref().map(meta));
        }
        let new = match operation {
            Operation::Put { value, expires, .. } => {
                let created = old.as_ref().map_or(index, |record| record.created);
                Some(Record { created, modified: index, expires: *expires, value: value.clone() })
            }
            _ => None,
        };
        if new.is_none() && old.is_none() {
            return Outcome::Absent;
        }
        match &new {
            Some(record) => self.now.insert(key.clone(), record.clone()),
            None => self.now.remove(&key),
        };
        let outcome = Outcome::Done(new.as_ref().map(meta));
        self.history.entry(key).or_default().push((index, new));
        outcome
    }
}

fn meta(record: &Record) -> Meta {
    let (size, blob) = match &record.value {
        Value::Inline(bytes) => (bytes.len() as u64, None),
        Value::Blob { hash, size } => (*size, Some(*hash)),
    };
    Meta { created: record.created, modified: record.modified, size, blob }
}
