//! The log in RocksDB: a synced WAL write for each persist.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use raft::{Batch, Entry, HardState, Index};
use rocksdb::{DBRecoveryMode, ReadOptions, WriteOptions};

use super::{Database, RocksTuning, next_pair};
use crate::{
    Error, Formation, LogImage, LogStore, Write,
    codec::{self, LogMeta, Sealed},
    durable,
    log_layout::{self, ENTRIES_END, FORMATION_KEY, HARD_KEY, ImageReader, META_KEY, Span, entry_key},
};

/// `raft/`: see [`LogStore`].
///
/// Opens with *tolerate corrupted tail records*: a write that a power cut tore was never acknowledged. The same mode also opens
/// silently shorter when a synced tail got lost, which no mode can tell apart; that is what the anchor file is for.
pub struct RocksLog {
    database: Database,
    meta: LogMeta,
    /// The last entry's index. Locked for the whole of a persist: batches keep their order.
    last: Mutex<Index>,
}

impl RocksLog {
    /// A new database, holding this formation and nothing else. `dir` must not exist or be empty.
    pub fn create(dir: &Path, formation: &Formation, tuning: &RocksTuning) -> Result<RocksLog, Error> {
        durable::create_dirs(dir)?;
        let mut options = tuning.options()?;
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        Database::open(&options, dir)?.write(&log_layout::birth(formation), &synced())?;
        RocksLog::open(dir, tuning)
    }

    /// The database in `dir`. Nothing there is an error: it would be a node that forgot.
    pub fn open(dir: &Path, tuning: &RocksTuning) -> Result<RocksLog, Error> {
        let mut options = tuning.options()?;
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        let database = Database::open(&options, dir)?;
        let meta: LogMeta = record(&database, META_KEY)?.ok_or_else(|| codec::corrupt(dir, LogMeta::NAME, "it is missing"))?;
        let last = last_index(&database)?.unwrap_or(meta.mark.index);
        Ok(RocksLog { database, meta, last: Mutex::new(last) })
    }

    /// The number of the state database that belongs to this log.
    pub fn generation(&self) -> u64 {
        self.meta.generation
    }

    pub fn formation(&self) -> Result<Formation, Error> {
        record(&self.database, FORMATION_KEY)?.ok_or_else(|| codec::corrupt(self.database.db.path(), Formation::NAME, "it is missing"))
    }

    pub fn hard_state(&self) -> Result<HardState, Error> {
        Ok(record(&self.database, HARD_KEY)?.unwrap_or_default())
    }

    /// The index of the last entry, or of the mark if there is none.
    pub fn last_index(&self) -> Index {
        *self.last()
    }

    /// Starts over under another identity: the formation is replaced, term and vote are forgotten with it.
    pub(crate) fn reset_identity(&self, formation: &Formation) -> Result<(), Error> {
        let writes = [Write::Put(FORMATION_KEY.to_vec(), codec::seal(formation)), Write::Delete(HARD_KEY.to_vec())];
        self.database.write(&writes, &synced())
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Index> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogStore for RocksLog {
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error> {
        let path = self.database.db.path();
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(ENTRIES_END);
        let mut entries = self.database.db.raw_iterator_opt(options);
        entries.seek(entry_key(0));
        ImageReader::new(path, tail_bytes, self.hard_state()?, self.meta.mark, self.formation()?).read(|| next_pair(&mut entries, path))
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), Error> {
        let mut last = self.last();
        let (writes, span) = Span { mark: self.meta.mark.index, last: *last }.extend(batches);
        self.database.write(&writes, &synced())?;
        *last = span.last;
        Ok(())
    }

    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        let path = self.database.db.path();
        let mut options = ReadOptions::default();
        // A lagging peer reads the log once, front to back; that must not push the state out of the cache.
        options.fill_cache(false);
        options.set_iterate_upper_bound(ENTRIES_END);
        let mut pairs = self.database.db.raw_iterator_opt(options);
        pairs.seek(entry_key(first));
        log_layout::read_entries(path, self.meta.mark, (first, last), max_bytes, || next_pair(&mut pairs, path))
    }

    fn save_formation(&self, formation: &Formation) -> Result<(), Error> {
        self.database.write(&[Write::Put(FORMATION_KEY.to_vec(), codec::seal(formation))], &synced())
    }

    fn check(&self) -> Result<(), Error> {
        self.database.check()
    }
}

/// RocksDB's default write is NOT synced.
fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn record<R: Sealed>(database: &Database, key: &[u8]) -> Result<Option<R>, Error> {
    let bytes = database.get(key, &ReadOptions::default())?;
    bytes.map(|bytes| codec::unseal(database.db.path(), &bytes)).transpose()
}

fn last_index(database: &Database) -> Result<Option<Index>, Error> {
    let mut entries = database.db.raw_iterator();
    entries.seek_for_prev(entry_key(Index::MAX));
    Ok(next_pair(&mut entries, database.db.path())?.and_then(|(key, _)| log_layout::index_of(&key)))
}

#[cfg(test)]
impl RocksLog {
    /// Rewrites the stored bytes of an entry behind our back.
    pub(crate) fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>)) {
        let mut value = self.database.db.get(entry_key(index)).unwrap().unwrap();
        change(&mut value);
        self.database.db.put_opt(entry_key(index), value, &synced()).unwrap();
    }

    /// Loses an entry behind our back.
    pub(crate) fn lose(&self, index: Index) {
        self.database.db.delete_opt(entry_key(index), &synced()).unwrap();
    }
}
