//! RocksDB under the contract, and what only a database on a disk can suffer.

use std::{fs, path::Path};

use super::{RocksState, RocksTuning};
use crate::{
    Error,
    contract::StateDisk,
    scratch::{Killable, Scratch},
};

/// RocksDB in a directory.
pub(crate) struct RocksStateDisk(Killable<RocksState>);

/// With small buffers, so that a few writes need a new file.
fn tuning() -> RocksTuning {
    RocksTuning { write_buffer_bytes: 256 << 10, ..RocksTuning::default() }
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
    let dir = scratch.join("state");
    drop(RocksState::open(&dir, &tuning()).unwrap());
    for item in fs::read_dir(&dir).unwrap() {
        let path = item.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST") {
            fs::write(path, [0xa5; 500]).unwrap();
        }
    }
    let error = RocksState::open(&dir, &tuning()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. } | Error::Engine { .. }), "{error}");
}

/// The text of the options that the database itself wrote down: what it really runs with.
#[test]
fn the_options_that_safety_rests_on_reach_the_database() {
    let scratch = Scratch::new();
    drop(RocksState::open(&scratch.join("state"), &RocksTuning::default()).unwrap());
    let files = fs::read_dir(scratch.join("state")).unwrap().map(|item| item.unwrap().path());
    let newest = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS")).max().unwrap();
    let text = fs::read_to_string(newest).unwrap();
    for option in
        ["max_bgerror_resume_count=0", "avoid_flush_during_recovery=false", "stats_dump_period_sec=0", "stats_persist_period_sec=0"]
    {
        assert!(text.lines().any(|line| line.trim() == option), "{option} is not in\n{text}");
    }
}
