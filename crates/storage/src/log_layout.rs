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
    terms::Terms,
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

/// The writes that persist `batches`, in order, on a log as `meta` and `terms` tell it; both are moved along.
///
/// An entry that an earlier batch of the group wrote is deleted and written again like any other.
pub(crate) fn writes_of(batches: &[Batch], meta: &mut LogMeta, terms: &mut Terms) -> Vec<Write> {
    let mut writes = Vec::new();
    let delete = |writes: &mut Vec<Write>, from: Index, to: Index| {
        writes.extend((from..=to).map(|index| Write::Delete(entry_key(index).to_vec())));
    };
    for batch in batches {
        if let Some(hard) = &batch.hard {
            writes.push(Write::Put(HARD_KEY.to_vec(), codec::seal(hard)));
        }
        if let Some(install) = batch.install {
            assert!(install.generation > meta.generation, "a snapshot of generation {} over {}", install.generation, meta.generation);
            meta.generation = install.generation;
            let (first, last) = (terms.mark().index + 1, terms.last());
            let stays = terms.install(install.mark);
            delete(&mut writes, first, if stays { install.mark.index } else { last });
        }
        if let Some(from) = batch.truncate {
            let last = terms.last();
            terms.truncate(from);
            delete(&mut writes, from, last);
        }
        for entry in &batch.entries {
            terms.push(entry.id);
            writes.push(Write::Put(entry_key(entry.id.index).to_vec(), codec::encode_entry(entry)));
        }
        if let Some(cut) = batch.cut {
            let first = terms.mark().index + 1;
            terms.cut(cut);
            delete(&mut writes, first, cut.index);
        }
        meta.mark = terms.mark();
    }
    writes.push(Write::Put(META_KEY.to_vec(), codec::seal(meta)));
    writes
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
