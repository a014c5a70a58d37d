//! RocksDB under the contract, and what only a database on a disk can suffer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use raft::{Batch, Index};

use super::{RocksLog, RocksState, RocksTuning};
use crate::{
    Error, LogStore as _,
    contract::{LogDisk, StateDisk, formation, large},
    scratch::{Scratch, copy_as_killed},
};

/// RocksDB in a directory. A crash copies the files while the database is open and never closes it properly: flushing on
/// close would hide what a kill loses.
pub(crate) struct RocksLogDisk(Killable<RocksLog>);

pub(crate) struct RocksStateDisk(Killable<RocksState>);

struct Killable<T> {
    scratch: Scratch,
    lives: u32,
    engine: T,
    open: fn(&Path) -> T,
}

impl<T> Killable<T> {
    fn new(create: fn(&Path) -> T, open: fn(&Path) -> T) -> Killable<T> {
        let scratch = Scratch::new();
        Killable { engine: create(&scratch.join("0")), scratch, lives: 0, open }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.join(self.lives.to_string())
    }

    fn crash(&mut self) {
        let before = self.dir();
        self.lives += 1;
        copy_as_killed(&before, &self.dir());
        self.engine = (self.open)(&self.dir());
    }

    /// Open files stay writable, but no new one can be made.
    fn break_disk(&mut self) {
        fs::remove_dir_all(self.dir()).unwrap();
    }
}

/// With small buffers, so that a few writes need a new file.
fn tuning() -> RocksTuning {
    RocksTuning { write_buffer_bytes: 256 << 10, ..RocksTuning::default() }
}

impl LogDisk for RocksLogDisk {
    type Log = RocksLog;

    fn create() -> Self {
        RocksLogDisk(Killable::new(
            |dir| RocksLog::create(dir, &formation(), &tuning()).unwrap(),
            |dir| RocksLog::open(dir, &tuning()).unwrap(),
        ))
    }

    fn log(&self) -> &RocksLog {
        &self.0.engine
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn break_disk(&mut self) {
        self.0.break_disk();
    }

    fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>)) {
        self.0.engine.tamper(index, change);
    }

    fn lose(&self, index: Index) {
        self.0.engine.lose(index);
    }
}

impl StateDisk for RocksStateDisk {
    type State = RocksState;

    fn create() -> Self {
        let open = |dir: &Path| RocksState::open(dir, &tuning()).unwrap();
        RocksStateDisk(Killable::new(open, open))
    }

    fn state(&self) -> &RocksState {
        &self.0.engine
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn break_disk(&mut self) {
        self.0.break_disk();
    }
}

#[test]
fn a_damaged_database_is_an_error_and_not_a_panic() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    drop(RocksLog::create(&dir, &formation(), &tuning()).unwrap());
    for item in fs::read_dir(&dir).unwrap() {
        let path = item.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST") {
            fs::write(path, [0xa5; 500]).unwrap();
        }
    }
    let error = RocksLog::open(&dir, &tuning()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. } | Error::Engine { .. }), "{error}");
}

#[test]
fn a_log_that_is_not_there_is_not_made_up() {
    let scratch = Scratch::new();
    assert!(RocksLog::open(&scratch.join("raft"), &tuning()).is_err());
    assert!(!scratch.join("raft").join("CURRENT").exists());
}

#[test]
fn a_torn_last_write_is_dropped_and_the_rest_kept() {
    let scratch = Scratch::new();
    let (live, killed) = (scratch.join("live"), scratch.join("killed"));
    let log = RocksLog::create(&live, &formation(), &tuning()).unwrap();
    for index in 1..=3 {
        log.persist(&[Batch { entries: vec![large(index)], ..Batch::default() }]).unwrap();
    }
    copy_as_killed(&live, &killed);
    let wals = fs::read_dir(&killed).unwrap().map(|item| item.unwrap().path());
    let wal = wals.filter(|path| path.extension().is_some_and(|ext| ext == "log")).max().unwrap();
    let len = wal.metadata().unwrap().len();
    fs::File::options().write(true).open(wal).unwrap().set_len(len - 100).unwrap();
    let log = RocksLog::open(&killed, &tuning()).unwrap();
    assert_eq!(log.load(usize::MAX).unwrap().tail, [large(1), large(2)]);
    log.persist(&[Batch { entries: vec![large(3)], ..Batch::default() }]).unwrap();
}

/// The text of the options that the database itself wrote down: what it really runs with.
#[test]
fn the_options_that_safety_rests_on_reach_the_database() {
    let scratch = Scratch::new();
    drop(RocksLog::create(&scratch.join("raft"), &formation(), &RocksTuning::default()).unwrap());
    let files = fs::read_dir(scratch.join("raft")).unwrap().map(|item| item.unwrap().path());
    let newest = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS")).max().unwrap();
    let text = fs::read_to_string(newest).unwrap();
    for option in [
        "max_bgerror_resume_count=0",
        "avoid_flush_during_recovery=false",
        "track_and_verify_wals_in_manifest=true",
        "recycle_log_file_num=0",
        "manual_wal_flush=false",
        "wal_bytes_per_sync=0",
        "wal_recovery_mode=kTolerateCorruptedTailRecords",
        "stats_dump_period_sec=0",
        "stats_persist_period_sec=0",
    ] {
        assert!(text.lines().any(|line| line.trim() == option), "{option} is not in\n{text}");
    }
}
