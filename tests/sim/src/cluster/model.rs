//! What commands do to a plain map: the state machine's meaning in a few lines, written apart from it.

use std::collections::BTreeMap;

use replica::{
    Command, Condition, Operation, Value,
    state::{Meta, Outcome, Record},
};

/// The map at every index it ever had.
#[derive(Clone, Debug, Default)]
pub struct Model {
    now: BTreeMap<Vec<u8>, Record>,
    /// Of each key: the index of each change, ascending, and what the key was from then on.
    history: BTreeMap<Vec<u8>, Vec<(u64, Option<Record>)>>,
}

impl Model {
    pub fn execute(&mut self, index: u64, command: &Command) -> Outcome {
        let (key, condition) = match &command.operation {
            Operation::Put { key, condition, .. } | Operation::Delete { key, condition } => (key.as_bytes().to_vec(), *condition),
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
        let new = match &command.operation {
            Operation::Put { value, expires, .. } => {
                let created = old.as_ref().map_or(index, |record| record.created);
                Some(Record { created, modified: index, expires: *expires, value: value.clone() })
            }
            Operation::Delete { .. } => None,
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
}

fn meta(record: &Record) -> Meta {
    let (size, blob) = match &record.value {
        Value::Inline(bytes) => (bytes.len() as u64, None),
        Value::Blob { hash, size } => (*size, Some(*hash)),
    };
    Meta { created: record.created, modified: record.modified, size, blob }
}
