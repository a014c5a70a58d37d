//! RocksDB under the contract, and what only a database on a disk can suffer.

use std::{fs, path::Path};

use super::{RocksHome, RocksState, RocksTuning};
use crate::{
    Error, StateHome as _,
    contract::{HomeDisk, StateDisk},
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

/// Generations in a directory.
pub(crate) struct RocksHomeDisk(Killable<RocksHome>);

impl HomeDisk for RocksHomeDisk {
    type Home = RocksHome;

    fn create() -> Self {
        let open = |dir: &Path| RocksHome::new(dir, tuning());
        let create = |dir: &Path| {
            fs::create_dir(dir).unwrap();
            RocksHome::new(dir, tuning())
        };
        RocksHomeDisk(Killable::new(create, open))
    }

    fn home(&self) -> &RocksHome {
        &self.0.engine
    }

    fn crash(&mut self) {
        self.0.crash();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_checkpoint_takes_its_directory_along_when_nobody_reads_it() {
    let scratch = Scratch::new();
    let home = RocksHome::new(&scratch, tuning());
    let state = home.open(0).unwrap();
    state.write(vec![], raft::LogId::new(raft::Term(1), 1)).unwrap();
    let (one, other) = (home.checkpoint(0).unwrap(), home.checkpoint(0).unwrap());
    assert_eq!(names(&scratch), ["state.0", "state.0.checkpoint.0", "state.0.checkpoint.1"]);
    drop(one);
    assert_eq!(names(&scratch), ["state.0", "state.0.checkpoint.1"]);
    drop(other);
    assert_eq!(names(&scratch), ["state.0"]);
}

#[test]
fn what_a_killed_process_left_of_checkpoints_and_stages_goes_at_the_start() {
    let scratch = Scratch::new();
    for leftover in ["state.0.checkpoint.0", "state.1", "state.0.checkpoint.0.tmp", "state.7.checkpoint.3"] {
        fs::create_dir(scratch.join(leftover)).unwrap();
        fs::write(scratch.join(leftover).join("CURRENT"), "rot").unwrap();
    }
    fs::create_dir(scratch.join("blobs")).unwrap();
    let home = RocksHome::new(&scratch, tuning());
    drop(home.open(0).unwrap());
    assert_eq!(home.checkpoint(0).unwrap().applied().unwrap(), raft::LogId::ZERO, "a leftover is in nobody's way");
    home.keep_only(0).unwrap();
    assert_eq!(names(&scratch), ["blobs", "state.0"]);
}

#[test]
fn a_generation_that_lost_its_files_is_not_begun_anew() {
    let scratch = Scratch::new();
    let home = RocksHome::new(&scratch, tuning());
    home.stage(1).unwrap().flush().unwrap();
    for item in fs::read_dir(scratch.join("state.1")).unwrap() {
        fs::remove_file(item.unwrap().path()).unwrap();
    }
    for lost in [home.open(1).map(|_| ()), home.keep_only(1)] {
        assert!(matches!(lost, Err(Error::Corrupt { .. })), "{lost:?}");
    }
}

#[test]
fn a_generation_can_be_opened_again_while_another_thread_still_closes_it() {
    let scratch = Scratch::new();
    let home = RocksHome::new(&scratch, tuning());
    for index in 1..=20 {
        let state = home.open(0).unwrap();
        state.write(vec![], raft::LogId::new(raft::Term(1), index)).unwrap();
        let closing = std::thread::spawn(move || drop(state));
        assert_eq!(home.open(0).unwrap().applied().unwrap().index, index);
        closing.join().unwrap();
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
