//! The generations of a state in RocksDB, one directory each.
//!
//! | name | what |
//! |---|---|
//! | `state.<g>/` | generation `g` |
//! | `state.<g>.checkpoint.<n>/` | a frozen copy of it: tables are hard links, so it costs little until the original moves on |
//!
//! A database that is being closed on another thread still holds its files. So a generation counts as open until that is over, and
//! who wants it meanwhile waits.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use raft::LogId;

use super::{RocksState, RocksTuning};
use crate::{Error, Pair, Scan, StateHome, StateStore, Write, durable, state_home};

/// What every directory of a state begins with.
pub(crate) const STATE_PREFIX: &str = "state.";
const CHECKPOINT_INFIX: &str = ".checkpoint.";

/// See [`StateHome`]. Clones are one home.
#[derive(Clone)]
pub struct RocksHome(Arc<Home>);

struct Home {
    dir: PathBuf,
    tuning: RocksTuning,
    open: Mutex<BTreeMap<u64, Weak<Open>>>,
    closed: Condvar,
    next_checkpoint: AtomicU64,
}

/// A generation that somebody has open.
struct Open {
    home: Arc<Home>,
    generation: u64,
    staged: bool,
    /// Absent only while it is dropped.
    state: Option<RocksState>,
}

/// A checkpoint that somebody reads.
struct Checkpoint {
    path: PathBuf,
    /// Absent only while it is dropped.
    state: Option<RocksState>,
}

/// Where generation `g` lives.
pub(crate) fn state_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{STATE_PREFIX}{generation}"))
}

impl RocksHome {
    /// The states in `dir`, which a node's directory is. Touches nothing yet.
    pub fn new(dir: &Path, tuning: RocksTuning) -> RocksHome {
        let (open, closed, next_checkpoint) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
        RocksHome(Arc::new(Home { dir: dir.into(), tuning, open, closed, next_checkpoint }))
    }

    fn open_state(&self, generation: u64) -> Result<Arc<Open>, Error> {
        let home = &self.0;
        let mut open = home.open();
        while let Some(given) = open.get(&generation) {
            match given.upgrade() {
                Some(given) => return Ok(given),
                None => open = home.closed.wait(open).unwrap_or_else(PoisonError::into_inner),
            }
        }
        let path = state_path(&home.dir, generation);
        if generation > 0 && !is_there(&path) {
            return Err(state_home::missing(&home.dir, generation));
        }
        self.give(&mut open, generation, false)
    }

    fn give(&self, open: &mut BTreeMap<u64, Weak<Open>>, generation: u64, staged: bool) -> Result<Arc<Open>, Error> {
        let home = &self.0;
        let state = Some(RocksState::open(&state_path(&home.dir, generation), &home.tuning)?);
        let given = Arc::new(Open { home: home.clone(), generation, staged, state });
        open.insert(generation, Arc::downgrade(&given));
        Ok(given)
    }
}

impl Home {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a generation that was given back is closed.
    fn until_closed(&self, generation: u64) -> MutexGuard<'_, BTreeMap<u64, Weak<Open>>> {
        let mut open = self.open();
        while let Some(given) = open.get(&generation) {
            assert_eq!(given.strong_count(), 0, "generation {generation} goes while somebody has it open");
            open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        open
    }
}

impl StateHome for RocksHome {
    fn open(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        Ok(self.open_state(generation)?)
    }

    fn checkpoint(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        let home = &self.0;
        let number = home.next_checkpoint.fetch_add(1, Ordering::Relaxed);
        let path = home.dir.join(format!("{STATE_PREFIX}{generation}{CHECKPOINT_INFIX}{number}"));
        remove_dir(&path)?;
        let state = self.open_state(generation)?.state().checkpoint(&path, &home.tuning);
        match state {
            Ok(state) => Ok(Arc::new(Checkpoint { path, state: Some(state) })),
            Err(error) => {
                let _ = remove_dir(&path);
                Err(error)
            }
        }
    }

    fn stage(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        let mut open = self.0.until_closed(generation);
        remove_dir(&state_path(&self.0.dir, generation))?;
        Ok(self.give(&mut open, generation, true)?)
    }

    fn remove(&self, generation: u64) -> Result<(), Error> {
        let _open = self.0.until_closed(generation);
        remove_dir(&state_path(&self.0.dir, generation))?;
        durable::sync_dir(&self.0.dir)
    }

    fn keep_only(&self, generation: u64) -> Result<(), Error> {
        let dir = &self.0.dir;
        let kept = state_path(dir, generation);
        // The others are the last trace of a state that is gone.
        if generation > 0 && !is_there(&kept) {
            return Err(state_home::missing(dir, generation));
        }
        let mut removed = 0;
        for item in fs::read_dir(dir).map_err(Error::io("cannot read", dir))? {
            let path = item.map_err(Error::io("cannot read", dir))?.path();
            let is_state = path.file_name().is_some_and(is_state);
            if is_state && path != kept {
                remove_dir(&path)?;
                removed += 1;
            }
        }
        match removed {
            0 => Ok(()),
            _ => durable::sync_dir(dir),
        }
    }
}

/// Whether a name in a node's directory is of a state, a checkpoint or a leftover of one.
pub(crate) fn is_state(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(STATE_PREFIX)
}

/// Whether there is a database, which opening would otherwise make anew in an empty directory.
fn is_there(path: &Path) -> bool {
    path.join("CURRENT").is_file()
}

/// Not durable: what comes back after a power cut is removed again.
fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("cannot remove", path)),
    }
}

impl Open {
    fn state(&self) -> &RocksState {
        self.state.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Closed first, then told, so that nobody finds its files in use.
        self.state = None;
        self.home.open().remove(&self.generation);
        self.home.closed.notify_all();
    }
}

impl StateStore for Open {
    fn applied(&self) -> Result<LogId, Error> {
        self.state().applied()
    }

    fn applied_durable(&self) -> Result<LogId, Error> {
        self.state().applied_durable()
    }

    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.state().show(key, look)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Pair>, Error> {
        self.state().scan(scan)
    }

    fn write(&self, writes: Vec<Write>, applied: LogId) -> Result<(), Error> {
        self.state().write(writes, applied)
    }

    fn flush(&self) -> Result<(), Error> {
        match self.staged {
            true => self.state().flush_with_names(),
            false => self.state().flush(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.state().check()
    }
}

impl Checkpoint {
    fn state(&self) -> &RocksState {
        self.state.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.state = None;
        if let Err(error) = remove_dir(&self.path) {
            // It costs space until the next start removes it.
            log::warn!(error:%; "a checkpoint stays behind");
        }
    }
}

impl StateStore for Checkpoint {
    fn applied(&self) -> Result<LogId, Error> {
        self.state().applied()
    }

    fn applied_durable(&self) -> Result<LogId, Error> {
        self.state().applied_durable()
    }

    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.state().show(key, look)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Pair>, Error> {
        self.state().scan(scan)
    }

    fn write(&self, _writes: Vec<Write>, _applied: LogId) -> Result<(), Error> {
        panic!("a checkpoint is written to");
    }

    fn flush(&self) -> Result<(), Error> {
        panic!("a checkpoint is flushed");
    }

    fn check(&self) -> Result<(), Error> {
        self.state().check()
    }
}
