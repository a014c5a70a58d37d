//! The state that reads look at: replaced as a whole when a snapshot takes its place.

use std::sync::{Arc, PoisonError, RwLock};

use storage::StateStore;

/// Cheap to clone; clones are one.
#[derive(Clone)]
pub struct StateInForce(Arc<RwLock<Arc<dyn StateStore>>>);

impl StateInForce {
    pub fn new(state: Arc<dyn StateStore>) -> StateInForce {
        StateInForce(Arc::new(RwLock::new(state)))
    }

    /// The state now. Keep it for one look only: as long as somebody holds an old one, its files stay.
    pub fn get(&self) -> Arc<dyn StateStore> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a newer state in force; the answer is the one before.
    pub fn replace(&self, state: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), state)
    }
}
