//! The key-value state: its layout in the state store, applying entries to it, reading it.
//!
//! Layout (first byte names the kind):
//! - `k` key                  -> record: version byte, create and modify revision, expiry, value or manifest;
//! - `r` blob hash, key       -> nothing: who refers to a blob;
//! - `m` "hash"               -> state hash at the applied index.
//!
//! Invariants:
//! - applying is a function of the entry and the state before it: no clock, no randomness, no configuration;
//! - the state hash chains the writes of each entry: H(previous, index, writes), however entries were batched;
//! - data, hash and applied position are one atomic batch.

use std::collections::BTreeMap;

use raft::{Entry, LogId, Payload};
use serde::{Deserialize, Serialize};
use storage::{Scan, StateStore, Write};

use crate::{Command, Condition, Error, Key, Malformed, Operation, Value};

const KEYS: u8 = b'k';
const REFERENCES: u8 = b'r';
const HASH_KEY: &[u8] = b"mhash";
const RECORD_FORMAT: u8 = 1;

/// A key's value as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Log index of the write that created the key.
    pub created: u64,
    /// Log index of the last write.
    pub modified: u64,
    /// Not evaluated by this version.
    pub expires: Option<u64>,
    pub value: Value,
}

/// What a record says without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub created: u64,
    pub modified: u64,
    pub size: u64,
    pub blob: Option<[u8; 32]>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written; the key as it is now, or `None` after a delete.
    Done(Option<Meta>),
    /// The condition did not hold; the key as it is.
    ConditionFalse(Option<Meta>),
    /// A delete of a key that does not exist.
    Absent,
}

/// What applying a run of entries led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub through: LogId,
    pub hash: [u8; 32],
    /// One for each entry, in order; `None` for those that are not commands.
    pub outcomes: Vec<(LogId, Option<Outcome>)>,
    /// Blobs that these entries refer to.
    pub blobs: Vec<BlobRef>,
}

/// A blob that the state refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobRef {
    pub hash: [u8; 32],
    pub size: u64,
}

/// Applies entries, which must continue the applied position, as one atomic batch.
pub fn apply(store: &dyn StateStore, entries: &[Entry]) -> Result<Applied, Error> {
    let before = store.applied()?;
    let mut view = View { store, written: BTreeMap::new() };
    let mut hash = state_hash(store)?;
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut blobs = Vec::new();
    let mut through = before;
    for entry in entries {
        assert_eq!(entry.id.index, through.index + 1, "entries are applied in order, each once");
        let mut writes = Vec::new();
        let outcome = match &entry.payload {
            Payload::Noop | Payload::Membership(_) => None,
            Payload::Command(bytes) => {
                let command = Command::decode(bytes)?;
                if let Operation::Put { value: Value::Blob { hash, size }, .. } = &command.operation {
                    blobs.push(BlobRef { hash: *hash, size: *size });
                }
                Some(execute(&view, entry.id, command, &mut writes)?)
            }
        };
        hash = chain(&hash, entry.id, &writes);
        view.written.extend(writes);
        outcomes.push((entry.id, outcome));
        through = entry.id;
    }
    let mut writes: Vec<Write> =
        view.written.into_iter().map(|(key, value)| value.map_or(Write::Delete(key.clone()), |value| Write::Put(key, value))).collect();
    writes.push(Write::Put(HASH_KEY.to_vec(), hash.to_vec()));
    store.write(writes, through)?;
    Ok(Applied { through, hash, outcomes, blobs })
}

/// The state hash at the applied position.
pub fn state_hash(store: &dyn StateStore) -> Result<[u8; 32], Error> {
    match store.get(HASH_KEY)? {
        None => Ok([0; 32]),
        Some(bytes) => Ok(bytes.try_into().map_err(|_| Malformed("state hash"))?),
    }
}

/// The record of a key.
pub fn get(store: &dyn StateStore, key: &Key) -> Result<Option<Record>, Error> {
    store.get(&record_key(key))?.map(|bytes| Record::decode(&bytes)).transpose()
}

/// Keys with `prefix` behind `after`, in byte order, up to a page.
pub fn list(
    store: &dyn StateStore,
    prefix: &[u8],
    after: &[u8],
    max_items: usize,
    max_bytes: usize,
) -> Result<Vec<(Vec<u8>, Meta)>, Error> {
    let first = [&[KEYS], prefix].concat();
    let behind = [&[KEYS], after, &[0]].concat();
    let start = if after.is_empty() { first.clone() } else { first.clone().max(behind) };
    let page = store.scan(&Scan { start, end: end_of_prefix(&first), max_items, max_bytes })?;
    page.into_iter().map(|(key, record)| Ok((key[1..].to_vec(), Record::decode(&record)?.meta()))).collect()
}

/// Blobs that the state refers to, in order of hash, behind `after`, each once.
pub fn blobs(store: &dyn StateStore, after: Option<[u8; 32]>, max_items: usize) -> Result<Vec<BlobRef>, Error> {
    let mut found = Vec::new();
    let mut start = match after {
        None => vec![REFERENCES],
        Some(hash) => end_of_prefix(&[&[REFERENCES], &hash[..]].concat()).unwrap_or(vec![REFERENCES + 1]),
    };
    while found.len() < max_items {
        let one = Scan { start, end: Some(vec![REFERENCES + 1]), max_items: 1, max_bytes: usize::MAX };
        let Some((key, size)) = store.scan(&one)?.pop() else { break };
        let hash: [u8; 32] = key.get(1..33).and_then(|hash| hash.try_into().ok()).ok_or(Malformed("blob reference"))?;
        let size = u64::from_be_bytes(size.try_into().map_err(|_| Malformed("blob reference"))?);
        found.push(BlobRef { hash, size });
        start = end_of_prefix(&key[..33]).unwrap_or(vec![REFERENCES + 1]);
    }
    Ok(found)
}

impl Record {
    pub fn meta(&self) -> Meta {
        let (size, blob) = match &self.value {
            Value::Inline(bytes) => (bytes.len() as u64, None),
            Value::Blob { hash, size } => (*size, Some(*hash)),
        };
        Meta { created: self.created, modified: self.modified, size, blob }
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![RECORD_FORMAT]).expect("a record always has a form")
    }

    fn decode(bytes: &[u8]) -> Result<Record, Error> {
        match bytes.split_first() {
            Some((&RECORD_FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((record, [])) => Ok(record),
                _ => Err(Malformed("record").into()),
            },
            _ => Err(Malformed("record of an unknown format").into()),
        }
    }
}

type Change = (Vec<u8>, Option<Vec<u8>>);

/// The state with the writes of this batch on top.
struct View<'a> {
    store: &'a dyn StateStore,
    written: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl View<'_> {
    fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        let key = record_key(key);
        let bytes = match self.written.get(&key) {
            Some(written) => written.clone(),
            None => self.store.get(&key)?,
        };
        bytes.map(|bytes| Record::decode(&bytes)).transpose()
    }
}

fn execute(view: &View<'_>, id: LogId, command: Command, writes: &mut Vec<Change>) -> Result<Outcome, Error> {
    let (key, condition) = match &command.operation {
        Operation::Put { key, condition, .. } | Operation::Delete { key, condition } => (key.clone(), *condition),
    };
    let old = view.record(&key)?;
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => old.is_none(),
        Condition::Revision(revision) => old.as_ref().is_some_and(|record| record.modified == revision),
    };
    if !holds {
        return Ok(Outcome::ConditionFalse(old.map(|record| record.meta())));
    }
    if let Some(Value::Blob { hash, .. }) = old.as_ref().map(|record| &record.value) {
        writes.push((reference_key(hash, &key), None));
    }
    match command.operation {
        Operation::Put { value, expires, .. } => {
            if let Value::Blob { hash, size } = &value {
                writes.push((reference_key(hash, &key), Some(size.to_be_bytes().to_vec())));
            }
            let created = old.map_or(id.index, |record| record.created);
            let record = Record { created, modified: id.index, expires, value };
            writes.push((record_key(&key), Some(record.encode())));
            Ok(Outcome::Done(Some(record.meta())))
        }
        Operation::Delete { .. } if old.is_none() => Ok(Outcome::Absent),
        Operation::Delete { .. } => {
            writes.push((record_key(&key), None));
            Ok(Outcome::Done(None))
        }
    }
}

fn chain(previous: &[u8; 32], id: LogId, writes: &[Change]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous);
    hasher.update(&id.index.to_be_bytes());
    for (key, value) in writes {
        hasher.update(&(key.len() as u64).to_be_bytes());
        hasher.update(key);
        match value {
            None => hasher.update(&[0]),
            Some(value) => hasher.update(&[1]).update(&(value.len() as u64).to_be_bytes()).update(value),
        };
    }
    hasher.finalize().into()
}

fn record_key(key: &Key) -> Vec<u8> {
    [&[KEYS], key.as_bytes()].concat()
}

fn reference_key(hash: &[u8; 32], key: &Key) -> Vec<u8> {
    [&[REFERENCES], &hash[..], key.as_bytes()].concat()
}

/// The first key that no longer starts with `prefix`.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
