//! The key-value state: its layout in the state store, applying entries to it, reading it.
//!
//! Layout (first byte names the kind):
//! - `k` key                  -> record: version byte, create and modify revision, expiry, value or manifest;
//! - `r` blob hash, key       -> nothing: who refers to a blob;
//! - `s` session id           -> what its last write was and led to;
//! - `t` "cluster"            -> authorities with their private keys, voters wanted, cluster time;
//! - `t` "token", token id    -> what it grants, until when, how often;
//! - `x` node id              -> the change that removed it;
//! - `m` "membership"         -> the newest configuration applied;
//! - `m` "tally"              -> state hash and counters at the applied index.
//!
//! Invariants:
//! - applying is a function of the entry and the state before it: no clock, no randomness, no configuration;
//! - the state hash chains the writes of each entry: H(previous, index, writes), however entries were batched; at every
//!   [`HASH_PERIOD`]th index members compare it;
//! - data, hash and applied position are one atomic batch;
//! - what clients read, list and write is under `k` alone, whatever bytes their keys are: nothing they ask for shows or touches another kind.

mod members;
mod sessions;
mod trust;

use std::collections::HashMap;

use raft::{Entry, Index, LogId, Membership, Payload, StateHash};
use serde::{Deserialize, Serialize};
use storage::{Scan, StateStore, Write};
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_128};

pub use members::{is_removed, membership};
use sessions::{Session, Verdict};
use trust::Ledger;
pub use trust::{
    AUTHORITIES_MAX, AUTHORITY_MAX_BYTES, AuthorityRecord, TOKENS_MAX, TokenGrant, TokenId, TokenRecord, Trust, TrustChange, TrustOutcome,
    token, tokens, trust,
};

use crate::{Command, Condition, Error, Key, Malformed, Operation, Value};

const KEYS: u8 = b'k';
const REFERENCES: u8 = b'r';
const TALLY_KEY: &[u8] = b"mtally";
const RECORD_FORMAT: u8 = 1;
const TALLY_FORMAT: u8 = 1;

/// Members compare their state hashes at the multiples of this.
pub const HASH_PERIOD: Index = 1_024;
/// Sessions remembered; beyond it the least recently used are forgotten.
pub const SESSIONS_MAX: usize = 10_000;

/// What must be the same on all members, as it decides what applying an entry does. Simulations use smaller numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub hash_period: Index,
    pub sessions_max: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { hash_period: HASH_PERIOD, sessions_max: SESSIONS_MAX }
    }
}

/// A key's value as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "B: AsRef<[u8]>", deserialize = "B: Deserialize<'de> + AsRef<[u8]>"))]
pub struct Record<B = Vec<u8>> {
    /// Log index of the write that created the key.
    pub created: u64,
    /// Log index of the last write.
    pub modified: u64,
    /// Not evaluated by this version.
    pub expires: Option<u64>,
    pub value: Value<B>,
}

/// What a record says without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub created: u64,
    pub modified: u64,
    pub size: u64,
    pub blob: Option<[u8; 32]>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Written; the key as it is now, or `None` after a delete.
    Done(Option<Meta>),
    /// The condition did not hold; the key as it is.
    ConditionFalse(Option<Meta>),
    /// A delete of a key that does not exist.
    Absent,
    /// Not executed: the session is not known (any more). A new one can be opened at this index.
    Expired { index: Index },
    /// A later write of the session came first: what became of this one is not known here any more.
    Superseded,
    /// What members do among themselves.
    Housekeeping,
    /// Of a change of whom the cluster trusts.
    Trust(TrustOutcome),
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
    /// Some of these entries took a reference to a blob away.
    pub dereferenced: bool,
    /// Hashes to be compared between members.
    pub hashes: Vec<StateHash>,
    /// Size of the entries.
    pub bytes: usize,
    /// The newest `collect` entry applied so far, 0 if none.
    pub collect: Index,
}

/// Where a state stands: all that a member needs to know of it to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub applied: LogId,
    pub hash: [u8; 32],
    pub collect: Index,
    pub membership: Option<(Index, Membership)>,
}

/// Counters that go with the state, as one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    hash: [u8; 32],
    /// No session opened before this is taken for a new one.
    floor: Index,
    sessions: u64,
    collect: Index,
}

/// A blob that the state refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobRef {
    pub hash: [u8; 32],
    pub size: u64,
}

/// Applies entries, which must continue the applied position, as one atomic batch.
pub fn apply(store: &dyn StateStore, entries: &[Entry]) -> Result<Applied, Error> {
    apply_by(&Rules::default(), store, entries)
}

/// Like [`apply`], with other numbers.
pub fn apply_by(rules: &Rules, store: &dyn StateStore, entries: &[Entry]) -> Result<Applied, Error> {
    let mut run = Run::on(store, entries.len())?;
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut hashes = Vec::new();
    let mut through = store.applied()?;
    for entry in entries {
        assert_eq!(entry.id.index, through.index + 1, "entries are applied in order, each once");
        let first = run.writes.len();
        let outcome = run.take(entry, rules)?;
        run.tally.hash = chain(&run.tally.hash, entry.id, &run.writes[first..]);
        if entry.id.index.is_multiple_of(rules.hash_period) {
            hashes.push(StateHash { index: entry.id.index, digest: digest(&run.tally.hash) });
        }
        outcomes.push((entry.id, outcome));
        through = entry.id;
    }
    let Run { mut writes, blobs, dereferenced, tally, .. } = run;
    writes.push(Write::Put(TALLY_KEY.to_vec(), tally.encode()));
    store.write(writes, through)?;
    let bytes = entries.iter().map(Entry::size_bytes).sum();
    Ok(Applied { through, hash: tally.hash, outcomes, blobs, dereferenced, hashes, bytes, collect: tally.collect })
}

/// The state hash at the applied position.
pub fn state_hash(store: &dyn StateStore) -> Result<[u8; 32], Error> {
    Ok(Tally::of(store)?.hash)
}

pub fn position(store: &dyn StateStore) -> Result<Position, Error> {
    let tally = Tally::of(store)?;
    Ok(Position { applied: store.applied()?, hash: tally.hash, collect: tally.collect, membership: membership(store)? })
}

/// The newest `collect` entry applied, 0 if none.
pub fn collect(store: &dyn StateStore) -> Result<Index, Error> {
    Ok(Tally::of(store)?.collect)
}

/// Whether any key refers to this blob.
pub fn refers_to(store: &dyn StateStore, hash: &[u8; 32]) -> Result<bool, Error> {
    let start = reference_key(hash, &[]);
    let end = end_of_prefix(&start);
    Ok(!store.scan(&Scan { start, end, max_items: 1, max_bytes: usize::MAX })?.is_empty())
}

/// Keys that refer to this blob, in byte order.
pub fn keys_of_blob(store: &dyn StateStore, hash: &[u8; 32], max_items: usize) -> Result<Vec<Vec<u8>>, Error> {
    let start = reference_key(hash, &[]);
    let end = end_of_prefix(&start);
    let found = store.scan(&Scan { start, end, max_items, max_bytes: usize::MAX })?;
    Ok(found.into_iter().map(|(key, _)| key[33..].to_vec()).collect())
}

/// The record of a key.
pub fn get(store: &dyn StateStore, key: &Key) -> Result<Option<Record>, Error> {
    let found = store.peek(&record_key(key.as_bytes()), |bytes| Record::decode(bytes).map(|record| record.owned()))?;
    Ok(found.transpose()?)
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

impl<B: AsRef<[u8]>> Record<B> {
    pub fn meta(&self) -> Meta {
        let (size, blob) = match &self.value {
            Value::Inline(bytes) => (bytes.as_ref().len() as u64, None),
            Value::Blob { hash, size } => (*size, Some(*hash)),
        };
        Meta { created: self.created, modified: self.modified, size, blob }
    }

    fn encode(&self) -> Vec<u8> {
        const ALL_BUT_VALUE_BYTES: usize = 64;
        let value_bytes = if let Value::Inline(bytes) = &self.value { bytes.as_ref().len() } else { 0 };
        let mut bytes = Vec::with_capacity(ALL_BUT_VALUE_BYTES + value_bytes);
        bytes.push(RECORD_FORMAT);
        postcard::to_extend(self, bytes).expect("a record always has a form")
    }
}

impl<'a> Record<&'a [u8]> {
    fn decode(bytes: &'a [u8]) -> Result<Record<&'a [u8]>, Malformed> {
        match bytes.split_first() {
            Some((&RECORD_FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((record, [])) => Ok(record),
                _ => Err(Malformed("record")),
            },
            _ => Err(Malformed("record of an unknown format")),
        }
    }

    fn owned(&self) -> Record {
        Record { created: self.created, modified: self.modified, expires: self.expires, value: self.value.owned() }
    }
}

/// Entries being applied on top of the state.
struct Run<'a> {
    store: &'a dyn StateStore,
    /// Keys that this run has written, as they are now.
    keys: HashMap<&'a [u8], Option<Meta>, Xxh3DefaultBuilder>,
    /// Sessions that this run has touched; `None` if evicted.
    sessions: HashMap<u64, Option<Session>, Xxh3DefaultBuilder>,
    /// The configuration as this run left it, once it has read or changed it.
    membership: Option<Option<Membership>>,
    /// Once this run has read or changed it.
    trust: Option<Ledger>,
    tally: Tally,
    writes: Vec<Write>,
    blobs: Vec<BlobRef>,
    dereferenced: bool,
}

impl Tally {
    fn of(store: &dyn StateStore) -> Result<Tally, Error> {
        Ok(store.peek(TALLY_KEY, Tally::decode)?.transpose()?.unwrap_or_default())
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![TALLY_FORMAT]).expect("a tally always has a form")
    }

    fn decode(bytes: &[u8]) -> Result<Tally, Malformed> {
        let body = bytes.strip_prefix(&[TALLY_FORMAT]).ok_or(Malformed("tally of an unknown format"))?;
        postcard::from_bytes(body).map_err(|_| Malformed("tally"))
    }
}

impl<'a> Run<'a> {
    fn on(store: &'a dyn StateStore, entries: usize) -> Result<Run<'a>, Error> {
        Ok(Run {
            store,
            keys: HashMap::default(),
            sessions: HashMap::default(),
            membership: None,
            trust: None,
            tally: Tally::of(store)?,
            writes: Vec::with_capacity(2 * entries + 1),
            blobs: Vec::new(),
            dereferenced: false,
        })
    }

    fn take(&mut self, entry: &'a Entry, rules: &Rules) -> Result<Option<Outcome>, Error> {
        match &entry.payload {
            Payload::Noop => Ok(None),
            Payload::Membership(membership) => {
                let before = match self.membership.take() {
                    Some(before) => before,
                    None => members::membership(self.store)?.map(|(_, membership)| membership),
                };
                self.writes.extend(members::writes(before.as_ref(), entry.id.index, membership));
                self.membership = Some(Some(membership.clone()));
                Ok(None)
            }
            Payload::Command(bytes) => self.obey(entry.id, Command::decode(bytes)?, rules).map(Some),
        }
    }

    fn obey(&mut self, id: LogId, command: Command<&'a [u8]>, rules: &Rules) -> Result<Outcome, Error> {
        let Some(stamp) = command.session else { return self.execute(id, command.operation) };
        match self.judge(&stamp, id.index)? {
            Verdict::Answer(outcome) => Ok(outcome),
            Verdict::Execute { opens } => {
                let outcome = self.execute(id, command.operation)?;
                self.remember(&stamp, opens, id.index, outcome, rules)?;
                Ok(outcome)
            }
        }
    }

    /// The key as it is now. Its bytes stay where they are: most writes only want to know whether and since when it exists.
    fn meta(&self, key: &[u8]) -> Result<Option<Meta>, Error> {
        match self.keys.get(key) {
            Some(written) => Ok(*written),
            None => Ok(self.store.peek(&record_key(key), |bytes| Record::decode(bytes).map(|record| record.meta()))?.transpose()?),
        }
    }

    fn execute(&mut self, id: LogId, operation: Operation<&'a [u8]>) -> Result<Outcome, Error> {
        let (key, condition, write) = match operation {
            Operation::Put { key, value, condition, expires } => (key.borrowed(), condition, Some((value, expires))),
            Operation::Delete { key, condition } => (key.borrowed(), condition, None),
            Operation::Collect => {
                self.tally.collect = id.index;
                return Ok(Outcome::Housekeeping);
            }
            Operation::Trust(change) => return self.entrust(change).map(Outcome::Trust),
        };
        let old = self.meta(key)?;
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => old.is_none(),
            Condition::Revision(revision) => old.is_some_and(|meta| meta.modified == revision),
        };
        if !holds {
            return Ok(Outcome::ConditionFalse(old));
        }
        if let Some(hash) = old.and_then(|meta| meta.blob) {
            self.writes.push(Write::Delete(reference_key(&hash, key)));
            self.dereferenced = true;
        }
        match write {
            Some((value, expires)) => {
                if let Value::Blob { hash, size } = value {
                    self.writes.push(Write::Put(reference_key(&hash, key), size.to_be_bytes().to_vec()));
                    self.blobs.push(BlobRef { hash, size });
                }
                let created = old.map_or(id.index, |meta| meta.created);
                let record = Record { created, modified: id.index, expires, value };
                self.writes.push(Write::Put(record_key(key), record.encode()));
                self.keys.insert(key, Some(record.meta()));
                Ok(Outcome::Done(Some(record.meta())))
            }
            None if old.is_none() => Ok(Outcome::Absent),
            None => {
                self.writes.push(Write::Delete(record_key(key)));
                self.keys.insert(key, None);
                Ok(Outcome::Done(None))
            }
        }
    }
}

/// Keys and values go in as fast digests: the chain must tell states apart that should be equal, not withstand whoever makes up
/// values, as every member applies the same ones.
fn chain(previous: &[u8; 32], id: LogId, writes: &[Write]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous);
    hasher.update(&id.index.to_be_bytes());
    for write in writes {
        let (Write::Put(key, _) | Write::Delete(key)) = write;
        hasher.update(&xxh3_128(key).to_be_bytes());
        match write {
            Write::Delete(_) => hasher.update(&[0]),
            Write::Put(_, value) => hasher.update(&[1]).update(&xxh3_128(value).to_be_bytes()),
        };
    }
    hasher.finalize().into()
}

/// What members exchange of a state hash.
fn digest(hash: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

fn record_key(key: &[u8]) -> Vec<u8> {
    [&[KEYS], key].concat()
}

fn reference_key(hash: &[u8; 32], key: &[u8]) -> Vec<u8> {
    [&[REFERENCES], &hash[..], key].concat()
}

/// The first key that no longer starts with `prefix`.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
