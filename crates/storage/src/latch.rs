//! The first failure is the last word.
//!
//! After a failed write or sync nobody knows what is on the disk: the kernel may have dropped the dirty pages and report success
//! the next time. So a store that failed once refuses every later write until the process has ended and recovered.

use std::sync::OnceLock;

use crate::Error;

#[derive(Debug, Default)]
pub(crate) struct Latch(OnceLock<String>);

impl Latch {
    /// Refuses once anything failed.
    pub fn check(&self) -> Result<(), Error> {
        match self.0.get() {
            None => Ok(()),
            Some(first) => Err(Error::Engine { what: "refused after an earlier failure", message: first.clone() }),
        }
    }

    /// Runs a write unless an earlier one failed, and remembers its failure.
    pub fn guard<T>(&self, write: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        write().inspect_err(|error| {
            let _ = self.0.set(error.to_string());
        })
    }
}
