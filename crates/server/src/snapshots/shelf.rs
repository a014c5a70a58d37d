//! The frozen copy that this node offers.

use std::sync::{Arc, Mutex, PoisonError};

use raft::LogId;
use storage::{Error, StateStore};

/// Holds one copy: a newer one takes its place, and it goes when nobody needs it any more.
#[derive(Default)]
pub struct Shelf(Mutex<Option<(LogId, Arc<dyn StateStore>)>>);

impl Shelf {
    /// The position of the copy, from inside it.
    pub fn put(&self, copy: Arc<dyn StateStore>) -> Result<LogId, Error> {
        let mark = copy.applied()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((mark, copy));
        Ok(mark)
    }

    /// The copy at this very position.
    pub fn get(&self, mark: LogId) -> Option<Arc<dyn StateStore>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|(at, _)| *at == mark).map(|(_, copy)| copy.clone())
    }

    /// Lets the copy go; whoever reads it still can.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
