//! A log in an ordered map: which keys it uses, what a persist changes, how it is read back. The keys, in their order:
//!
//! | key | value |
//! |---|---|
//! | `e` + index, big-endian | the entry |
//! | `f` | formation |
//! | `h` | hard state |
//! | `m` | meta: mark and state generation |

use std::path::Path;

use raft::{Batch, Entry, Index, LogId};

use crate::{
    Error, Formation, Pair, Write,
    codec::{self, LogMeta},
};

pub(crate) const FORMATION_KEY: &[u8] = b"f";
pub(crate) const HARD_KEY: &[u8] = b"h";
pub(crate) const META_KEY: &[u8] = b"m";
/// Above every entry's key and below all others.
pub(crate) const ENTRIES_END: &[u8] = b"f";

pub(crate) fn entry_key(index: Index) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn index_of(key: &[u8]) -> Option<Index> {
    let (prefix, index) = key.split_first()?;
    (*prefix == b'e').then(|| index.try_into().ok().map(Index::from_be_bytes))?
}

/// What a new database starts with.
pub(crate) fn birth(formation: &Formation) -> Vec<Write> {
    let meta = LogMeta { generation: 0, mark: LogId::ZERO };
    vec![Write::Put(META_KEY.to_vec(), codec::seal(&meta)), Write::Put(FORMATION_KEY.to_vec(), codec::seal(formation))]
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The index before the first entry.
    pub mark: Index,
    pub last: Index,
}

impl Span {
    /// The writes that persist `batches`, in order, and the span they leave.
    ///
    /// An entry that an earlier batch of the group wrote is deleted and written again like any other.
    pub fn extend(mut self, batches: &[Batch]) -> (Vec<Write>, Span) {
        let mut writes = Vec::new();
        for batch in batches {
            if let Some(hard) = &batch.hard {
                writes.push(Write::Put(HARD_KEY.to_vec(), codec::seal(hard)));
            }
            if let Some(from) = batch.truncate {
                assert!(from > self.mark, "truncation at {from} reaches behind the log's mark {}", self.mark);
                writes.extend((from..=self.last).map(|index| Write::Delete(entry_key(index).to_vec())));
                self.last = self.last.min(from - 1);
            }
            for entry in &batch.entries {
                assert_eq!(entry.id.index, self.last + 1, "an entry that leaves a gap in the log");
                writes.push(Write::Put(entry_key(entry.id.index).to_vec(), codec::encode_entry(entry)));
                self.last += 1;
            }
        }
        (writes, self)
    }
}

/// Entries `first..=last` from a map, fed in the order of their keys from `first` on; fewer if they exceed `max_bytes`, but at
/// least one.
pub(crate) fn read_entries(
    path: &Path,
    mark: LogId,
    (first, last): (Index, Index),
    max_bytes: usize,
    mut next: impl FnMut() -> Result<Option<Pair>, Error>,
) -> Result<Vec<Entry>, Error> {
    assert!(first <= last, "entries {first}..={last} asked for");
    if first <= mark.index {
        return Err(Error::NotInLog { index: first });
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for expected in first..=last {
        let Some((key, value)) = next()? else { return Err(Error::NotInLog { index: expected }) };
        if key != entry_key(expected) {
            return Err(codec::corrupt(path, "log", &format!("entry {expected} is missing")));
        }
        let entry = codec::decode_entry(path, expected, &value)?;
        bytes += entry.size_bytes();
        if bytes > max_bytes && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}
