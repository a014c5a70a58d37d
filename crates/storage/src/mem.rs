//! Engines in memory, for simulations: entries and records in the bytes they have on a disk, and crashes at will.
//!
//! Clones share one "disk", so a test keeps a handle to what a member owns: it can crash it, break it, and open the same bytes
//! again under a new member.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use raft::{Batch, Entry, HardState, Index, LogId};

use crate::{
    Error, Formation, LogImage, LogStore, Pair, Scan, StateStore, Write,
    codec::{self, LogMeta, Sealed},
    latch::Latch,
    log_image::ImageReader,
    log_layout::{self, ENTRIES_END, FORMATION_KEY, HARD_KEY, META_KEY, entry_key},
    terms::Terms,
};

/// A log that survives [`MemLog::crash`] as a synced disk would.
#[derive(Clone, Debug)]
pub struct MemLog(Arc<Mutex<LogDisk>>);

/// A state that falls back to its last flush at [`MemState::crash`].
#[derive(Clone, Debug, Default)]
pub struct MemState(Arc<Mutex<StateDisk>>);

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
struct LogDisk {
    pairs: Pairs,
    terms: Terms,
    fault: Fault,
}

#[derive(Debug, Default)]
struct StateDisk {
    pairs: Pairs,
    applied: LogId,
    flushed: LogId,
    /// What each key written since the last flush held before, oldest first: a crash goes back this way.
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    was_flushed: bool,
    /// A checkpoint, never written.
    frozen: bool,
    fault: Fault,
}

/// A disk that can be told to fail.
#[derive(Debug, Default)]
struct Fault {
    broken: bool,
    latch: Latch,
}

impl Fault {
    fn strike(&self) -> Result<(), Error> {
        self.latch.guard(|| match self.broken {
            true => Err(Error::Engine { what: "cannot write", message: "this disk in memory was told to fail".into() }),
            false => Ok(()),
        })
    }
}

impl MemLog {
    /// A new log, holding this formation and nothing else.
    pub fn create(formation: &Formation) -> MemLog {
        let mut disk = LogDisk { pairs: Pairs::new(), terms: Terms::new(LogId::ZERO, 0), fault: Fault::default() };
        apply(&mut disk.pairs, log_layout::birth(formation));
        MemLog(Arc::new(Mutex::new(disk)))
    }

    /// Power off and on: what was persisted is there again, also if the disk was broken before.
    pub fn crash(&self) {
        self.disk().fault = Fault::default();
    }

    /// From now on every write fails, until a crash.
    pub fn break_disk(&self) {
        self.disk().fault.broken = true;
    }

    fn disk(&self) -> MutexGuard<'_, LogDisk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogDisk {
    fn record<R: Sealed>(&self, key: &[u8]) -> Result<Option<R>, Error> {
        self.pairs.get(key).map(|bytes| codec::unseal(no_path(), bytes)).transpose()
    }

    fn meta(&self) -> Result<LogMeta, Error> {
        self.record(META_KEY)?.ok_or_else(|| codec::corrupt(no_path(), LogMeta::NAME, "it is missing"))
    }

    fn entries_from(&self, first: Index) -> impl FnMut() -> Result<Option<Pair>, Error> {
        let mut pairs = self.pairs.range(entry_key(first).to_vec()..ENTRIES_END.to_vec());
        move || Ok(pairs.next().map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl LogStore for MemLog {
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error> {
        let disk = self.disk();
        let hard: HardState = disk.record(HARD_KEY)?.unwrap_or_default();
        let formation = disk.record(FORMATION_KEY)?;
        let formation = formation.ok_or_else(|| codec::corrupt(no_path(), Formation::NAME, "it is missing"))?;
        let mut image = ImageReader::new(no_path(), tail_bytes, hard, disk.meta()?, formation);
        let mut pairs = disk.entries_from(0);
        while let Some((key, value)) = pairs()? {
            let index = log_layout::index_of(&key).expect("keys below the entries' end are entries'");
            image.push(codec::decode_entry(no_path(), index, &value)?)?;
        }
        Ok(image.finish())
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), Error> {
        let mut disk = self.disk();
        let (mut meta, mut terms) = (disk.meta()?, disk.terms.clone());
        let writes = log_layout::writes_of(batches, &mut meta, &mut terms);
        disk.fault.strike()?;
        apply(&mut disk.pairs, writes);
        disk.terms = terms;
        Ok(())
    }

    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        let disk = self.disk();
        log_layout::read_entries(no_path(), disk.meta()?.mark, (first, last), max_bytes, disk.entries_from(first))
    }

    fn save_formation(&self, formation: &Formation) -> Result<(), Error> {
        let mut disk = self.disk();
        disk.fault.strike()?;
        apply(&mut disk.pairs, vec![Write::Put(FORMATION_KEY.to_vec(), codec::seal(formation))]);
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.disk().fault.latch.check()
    }
}

impl MemState {
    /// An empty state, applied up to nothing.
    pub fn new() -> MemState {
        MemState::default()
    }

    /// Power off and on: what was not flushed is gone. A broken disk works again.
    pub fn crash(&self) {
        let disk = &mut *self.disk();
        for (key, before) in disk.undo.drain(..).rev() {
            match before {
                Some(value) => drop(disk.pairs.insert(key, value)),
                None => drop(disk.pairs.remove(&key)),
            }
        }
        disk.applied = disk.flushed;
        disk.fault = Fault::default();
    }

    /// A copy as it is now, which nobody may write.
    pub(crate) fn frozen(&self) -> MemState {
        let disk = self.disk();
        let (pairs, applied) = (disk.pairs.clone(), disk.applied);
        MemState(Arc::new(Mutex::new(StateDisk { pairs, applied, flushed: applied, frozen: true, ..StateDisk::default() })))
    }

    /// Whether it ever was flushed.
    pub(crate) fn was_flushed(&self) -> bool {
        self.disk().was_flushed
    }

    /// From now on every write and flush fails, until a crash.
    pub fn break_disk(&self) {
        self.disk().fault.broken = true;
    }

    fn disk(&self) -> MutexGuard<'_, StateDisk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemState {
    fn applied(&self) -> Result<LogId, Error> {
        Ok(self.disk().applied)
    }

    fn applied_durable(&self) -> Result<LogId, Error> {
        Ok(self.disk().flushed)
    }

    fn show(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if let Some(value) = self.disk().pairs.get(key) {
            look(value);
        }
        Ok(())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Pair>, Error> {
        let disk = self.disk();
        let mut found = Vec::new();
        let mut bytes = 0;
        for (key, value) in disk.pairs.range(scan.start.clone()..) {
            let beyond = scan.end.as_ref().is_some_and(|end| key >= end);
            if beyond || found.len() >= scan.max_items || bytes > scan.max_bytes {
                break;
            }
            bytes += key.len() + value.len();
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }

    fn write(&self, writes: Vec<Write>, applied: LogId) -> Result<(), Error> {
        let disk = &mut *self.disk();
        assert!(!disk.frozen, "a checkpoint is written to");
        disk.fault.strike()?;
        disk.undo.extend(apply(&mut disk.pairs, writes));
        disk.applied = applied;
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        let mut disk = self.disk();
        assert!(!disk.frozen, "a checkpoint is flushed");
        disk.fault.strike()?;
        disk.undo.clear();
        disk.flushed = disk.applied;
        disk.was_flushed = true;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.disk().fault.latch.check()
    }
}

/// Applies the writes in order and returns what each key held before.
fn apply(pairs: &mut Pairs, writes: Vec<Write>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let apply_one = |write| match write {
        Write::Put(key, value) => (key.clone(), pairs.insert(key, value)),
        Write::Delete(key) => {
            let before = pairs.remove(&key);
            (key, before)
        }
    };
    writes.into_iter().map(apply_one).collect()
}

/// Stands in errors for the directory that is not there.
fn no_path() -> &'static Path {
    Path::new("memory")
}

#[cfg(test)]
impl MemLog {
    /// Rewrites the stored bytes of an entry behind our back.
    pub(crate) fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.disk().pairs.get_mut(&entry_key(index)[..]).unwrap());
    }

    /// Loses an entry behind our back.
    pub(crate) fn lose(&self, index: Index) {
        self.disk().pairs.remove(&entry_key(index)[..]).unwrap();
    }
}
