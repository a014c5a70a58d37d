//! The generations of a state in memory, for simulations.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{Error, MemState, StateHome, StateStore, state_home};

/// States that fall back to their last flush at [`MemHome::crash`]. Clones share one disk.
#[derive(Clone, Debug, Default)]
pub struct MemHome(Arc<Mutex<BTreeMap<u64, Generation>>>);

#[derive(Debug)]
struct Generation {
    state: MemState,
    staged: bool,
    /// What was given out, and is shared while anybody has it.
    given: Weak<MemState>,
}

impl Generation {
    fn new(staged: bool) -> Generation {
        Generation { state: MemState::new(), staged, given: Weak::new() }
    }

    fn give(&mut self) -> Arc<dyn StateStore> {
        self.given.upgrade().unwrap_or_else(|| {
            let given = Arc::new(self.state.clone());
            self.given = Arc::downgrade(&given);
            given
        })
    }

    fn assert_closed(&self, generation: u64) {
        assert_eq!(self.given.strong_count(), 0, "generation {generation} goes while somebody has it open");
    }
}

impl MemHome {
    /// No state yet.
    pub fn new() -> MemHome {
        MemHome::default()
    }

    /// Power off and on: each state falls back to its last flush, and one that was staged and never flushed is gone.
    pub fn crash(&self) {
        let mut generations = self.generations();
        generations.retain(|_, generation| !generation.staged || generation.state.was_flushed());
        for generation in generations.values_mut() {
            generation.state.crash();
            generation.given = Weak::new();
        }
    }

    /// A handle to the state itself, for who breaks it or looks into it.
    pub fn state(&self, generation: u64) -> Option<MemState> {
        self.generations().get(&generation).map(|generation| generation.state.clone())
    }

    fn generations(&self) -> MutexGuard<'_, BTreeMap<u64, Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateHome for MemHome {
    fn open(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        let mut generations = self.generations();
        if generation == 0 {
            generations.entry(0).or_insert_with(|| Generation::new(false));
        }
        generations.get_mut(&generation).map(Generation::give).ok_or_else(|| missing(generation))
    }

    fn checkpoint(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        let generations = self.generations();
        let original = generations.get(&generation).ok_or_else(|| missing(generation))?;
        Ok(Arc::new(original.state.frozen()))
    }

    fn stage(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error> {
        let mut generations = self.generations();
        if let Some(leftover) = generations.get(&generation) {
            leftover.assert_closed(generation);
        }
        let mut staged = Generation::new(true);
        let given = staged.give();
        generations.insert(generation, staged);
        Ok(given)
    }

    fn remove(&self, generation: u64) -> Result<(), Error> {
        let mut generations = self.generations();
        if let Some(removed) = generations.get(&generation) {
            removed.assert_closed(generation);
            generations.remove(&generation);
        }
        Ok(())
    }

    fn keep_only(&self, generation: u64) -> Result<(), Error> {
        let mut generations = self.generations();
        // The others are the last trace of a state that is gone.
        if generation > 0 && !generations.contains_key(&generation) {
            return Err(missing(generation));
        }
        generations.retain(|number, _| *number == generation);
        Ok(())
    }
}

fn missing(generation: u64) -> Error {
    state_home::missing(Path::new("memory"), generation)
}
