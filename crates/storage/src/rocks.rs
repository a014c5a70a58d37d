//! RocksDB under the state.
//!
//! What it is set up for:
//!
//! - *The first failure is final.* RocksDB resumes by itself after a full disk and takes writes again after a failed flush; that
//!   is switched off (`max_bgerror_resume_count=0`, reachable through the options string only). A failed write is latched here;
//!   failures of its background threads are polled, because this binding offers no listener.
//! - *Nothing found at the start counts as durable until this process has synced it.* After a SIGKILL a table may exist in
//!   the page cache only: every file and the directory are synced before `open` returns.
//! - *Little memory*, for boards with 512 MB: small write buffers, a small cache, a bounded number of open files.
//! - *Idle writes nothing*: no statistics, an info log of warnings only.

mod home;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBPinnableSlice, DBRawIterator, ErrorKind, LogLevel, Options, ReadOptions, WriteBatch,
    checkpoint::Checkpoint,
};

pub use home::RocksHome;
pub(crate) use home::{is_state, state_path};
pub use state::RocksState;

use crate::{Error, Pair, codec, durable, latch::Latch};

/// What the database may use.
#[derive(Clone)]
pub struct RocksTuning {
    /// Bytes collected in memory before a table is written; there are at most two such buffers.
    pub write_buffer_bytes: usize,
    /// Data read recently.
    pub block_cache: Cache,
    /// File descriptors.
    pub open_files_max: i32,
}

const WRITE_BUFFER_BYTES: usize = 16 << 20;
const BLOCK_CACHE_BYTES: usize = 16 << 20;
const OPEN_FILES_MAX: i32 = 128;
/// One flush and one compaction at a time, on threads that all databases of the process share.
const BACKGROUND_JOBS: i32 = 2;
const BLOCK_BYTES: usize = 16 << 10;
/// Tables are pushed to the disk in steps of this, so that a compaction's writeback does not pile up before a sync of the log.
const TABLE_SYNC_STEP_BYTES: u64 = 1 << 20;
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// Of a write buffer, spent on telling quickly that it lacks a key.
const MEMTABLE_FILTER_RATIO: f64 = 0.02;
/// Tables that lie side by side before they are merged. Many, because each merge writes all of them again, and cards wear out by
/// that; a reader asks the filter of each.
const YOUNG_TABLES: i32 = 16;
const INFO_LOG_BYTES: usize = 1 << 20;
const INFO_LOG_FILES: usize = 2;

/// What the binding has no setter for.
const OPTIONS_BY_NAME: &str = "max_bgerror_resume_count=0;avoid_flush_during_recovery=false;reuse_manifest_on_open=false;\
     manifest_preallocation_size=65536;max_manifest_file_size=4194304";

impl Default for RocksTuning {
    fn default() -> RocksTuning {
        RocksTuning {
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            block_cache: Cache::new_lru_cache(BLOCK_CACHE_BYTES),
            open_files_max: OPEN_FILES_MAX,
        }
    }
}

impl RocksTuning {
    /// With these sizes instead of the default ones.
    pub fn new(write_buffer_bytes: usize, block_cache_bytes: usize) -> RocksTuning {
        RocksTuning { write_buffer_bytes, block_cache: Cache::new_lru_cache(block_cache_bytes), ..RocksTuning::default() }
    }

    fn options(&self) -> Result<Options, Error> {
        // First, because it returns fresh options.
        let mut options = Options::default()
            .get_options_from_string(OPTIONS_BY_NAME)
            .map_err(|error| Error::Engine { what: "RocksDB knows an option no more", message: error.into_string() })?;
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.block_cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_block_size(BLOCK_BYTES);
        // Every write asks first whether its key exists, and mostly it does not.
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_block_based_table_factory(&table);
        options.set_paranoid_checks(true);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(2);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
        options.set_level_zero_file_num_compaction_trigger(YOUNG_TABLES);
        options.set_level_zero_slowdown_writes_trigger(2 * YOUNG_TABLES);
        options.set_level_zero_stop_writes_trigger(3 * YOUNG_TABLES);
        options.set_max_bytes_for_level_base(self.write_buffer_bytes as u64 * YOUNG_TABLES as u64);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(BACKGROUND_JOBS);
        options.set_bytes_per_sync(TABLE_SYNC_STEP_BYTES);
        // The card's bandwidth and wear cost more than the processor's time; RocksDB stores a block that does not shrink as it is.
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(INFO_LOG_BYTES);
        options.set_keep_log_file_num(INFO_LOG_FILES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        Ok(options)
    }
}

/// One RocksDB database with one column family, and its latch.
struct Database {
    db: DB,
    latch: Latch,
}

impl Database {
    /// Opens the database in `dir` and makes durable what it finds there.
    fn open(options: &Options, dir: &Path) -> Result<Database, Error> {
        let db = DB::open(options, dir).map_err(engine_error("cannot open", dir))?;
        sync_contents(dir)?;
        Ok(Database { db, latch: Latch::default() })
    }

    /// Opens what is whole and never written again.
    fn open_to_read(options: &Options, dir: &Path) -> Result<Database, Error> {
        let db = DB::open_for_read_only(options, dir, false).map_err(engine_error("cannot open", dir))?;
        Ok(Database { db, latch: Latch::default() })
    }

    /// Puts a copy of what is visible now into `dir`, which must not exist. What is in memory is flushed for it.
    fn checkpoint(&self, dir: &Path) -> Result<(), Error> {
        self.latch.guard(|| {
            let checkpoint = Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir));
            checkpoint.map_err(engine_error("cannot copy", self.db.path()))?;
            self.check_background()
        })
    }

    fn get(&self, key: &[u8], options: &ReadOptions) -> Result<Option<DBPinnableSlice<'_>>, Error> {
        self.db.get_pinned_opt(key, options).map_err(engine_error("cannot read", self.db.path()))
    }

    /// Fails if the background threads failed, and from then on.
    fn check(&self) -> Result<(), Error> {
        self.latch.guard(|| self.check_background())
    }

    fn write(&self, batch: WriteBatch, options: &rocksdb::WriteOptions) -> Result<(), Error> {
        self.latch.guard(|| {
            self.db.write_opt(batch, options).map_err(engine_error("cannot write", self.db.path()))?;
            self.check_background()
        })
    }

    fn flush(&self) -> Result<(), Error> {
        self.latch.guard(|| {
            self.db.flush().map_err(engine_error("cannot flush", self.db.path()))?;
            self.check_background()
        })
    }

    fn flush_with_names(&self) -> Result<(), Error> {
        self.flush()?;
        self.latch.guard(|| {
            let dir = self.db.path();
            sync_contents(dir)?;
            durable::sync_dir(dir.parent().unwrap_or(dir))
        })
    }

    fn check_background(&self) -> Result<(), Error> {
        let errors = self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        match errors.map_err(engine_error("cannot ask", self.db.path()))? {
            None | Some(0) => Ok(()),
            Some(count) => {
                let message = format!("{count} failed flushes or compactions in {}; its LOG file says why", self.db.path().display());
                Err(Error::Engine { what: "the database failed in the background", message })
            }
        }
    }
}

/// Syncs every file in `dir`, then `dir`: what a killed process left in the page cache is on the disk afterwards.
fn sync_contents(dir: &Path) -> Result<(), Error> {
    for item in fs::read_dir(dir).map_err(Error::io("cannot read", dir))? {
        let path = item.map_err(Error::io("cannot read", dir))?.path();
        match File::open(&path).and_then(|file| file.sync_data()) {
            // The engine may delete its obsolete files at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            synced => synced.map_err(Error::io("cannot sync", &path))?,
        }
    }
    durable::sync_dir(dir)
}

/// The pair under `iterator`, if there is one, after which it moves on.
fn next_pair(iterator: &mut DBRawIterator<'_>, path: &Path) -> Result<Option<Pair>, Error> {
    let pair = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
    match pair {
        Some(_) => iterator.next(),
        // The end, or a block that cannot be read: only the status tells.
        None => iterator.status().map_err(engine_error("cannot read", path))?,
    }
    Ok(pair)
}

fn engine_error(what: &'static str, path: &Path) -> impl FnOnce(rocksdb::Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::Corruption => codec::corrupt(path, "database", error.as_ref()),
        ErrorKind::IOError if error.as_ref().contains("No space left on device") => {
            Error::NoSpace { what: "the database", path: path.into() }
        }
        _ => Error::Engine { what, message: format!("{}: {error}", path.display()) },
    }
}
