//! The state in RocksDB, without a WAL: a crash falls back to the last flush, and the log fills in the rest.
//!
//! Everything sits in ONE column family, so that a flush is atomic: the applied position can never be newer or older than the
//! data beside it. Callers' keys get the prefix `d`, ours live beside them:
//!
//! | key | value |
//! |---|---|
//! | `a` | applied position |
//! | `d` + key | the caller's value |

use std::path::Path;

use raft::LogId;
use rocksdb::{ReadOptions, ReadTier, WriteBatch, WriteOptions};

use super::{Database, RocksTuning, next_pair};
use crate::{Error, Pair, Scan, StateStore, Write, codec, durable};

const APPLIED_KEY: &[u8] = b"a";
const DATA_PREFIX: u8 = b'd';
/// Above every data key.
const DATA_END: &[u8] = b"e";

/// `state.<g>/`: see [`StateStore`].
pub struct RocksState {
    database: Database,
}

impl RocksState {
    /// The database in `dir`, made if missing: without one the log is applied from its beginning.
    pub fn open(dir: &Path, tuning: &RocksTuning) -> Result<RocksState, Error> {
        durable::create_dirs(dir)?;
        let mut options = tuning.options()?;
        options.create_if_missing(true);
        Ok(RocksState { database: Database::open(&options, dir)? })
    }

    /// A frozen copy in `path`, open for reading.
    pub(super) fn checkpoint(&self, path: &Path, tuning: &RocksTuning) -> Result<RocksState, Error> {
        self.database.checkpoint(path)?;
        Ok(RocksState { database: Database::open_to_read(&tuning.options()?, path)? })
    }

    /// A flush after which also the names of its files and of its directory are durable.
    pub(super) fn flush_with_names(&self) -> Result<(), Error> {
        self.database.flush_with_names()
    }

    fn applied_from(&self, tier: ReadTier) -> Result<LogId, Error> {
        let mut options = ReadOptions::default();
        options.set_read_tier(tier);
        let bytes = self.database.get(APPLIED_KEY, &options)?;
        bytes.map_or(Ok(LogId::ZERO), |bytes| codec::unseal(self.database.db.path(), &bytes))
    }
}

impl StateStore for RocksState {
    fn applied(&self) -> Result<LogId, Error> {
        self.applied_from(ReadTier::All)
    }

    fn applied_durable(&self) -> Result<LogId, Error> {
        self.applied_from(ReadTier::Persisted)
    }

    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if let Some(value) = self.database.get(&data_key(key), &ReadOptions::default())? {
            look(&value);
        }
        Ok(())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Pair>, Error> {
        let path = self.database.db.path();
        let start = data_key(&scan.start);
        let end = scan.end.as_ref().map_or(DATA_END.to_vec(), |end| data_key(end));
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let mut pairs = self.database.db.raw_iterator_opt(options);
        pairs.seek(start);
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < scan.max_items && bytes <= scan.max_bytes {
            let Some((mut key, value)) = next_pair(&mut pairs, path)? else { break };
            key.remove(0);
            bytes += key.len() + value.len();
            found.push((key, value));
        }
        Ok(found)
    }

    fn write(&self, writes: Vec<Write>, applied: LogId) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        let mut prefixed = vec![DATA_PREFIX];
        for write in &writes {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            prefixed.truncate(1);
            prefixed.extend_from_slice(key);
            match write {
                Write::Put(_, value) => batch.put(&prefixed, value),
                Write::Delete(_) => batch.delete(&prefixed),
            }
        }
        batch.put(APPLIED_KEY, codec::seal(&applied));
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.database.write(batch, &options)
    }

    fn flush(&self) -> Result<(), Error> {
        self.database.flush()
    }

    fn check(&self) -> Result<(), Error> {
        self.database.check()
    }
}

fn data_key(key: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(1 + key.len());
    prefixed.push(DATA_PREFIX);
    prefixed.extend(key);
    prefixed
}
