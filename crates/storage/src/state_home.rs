//! The generations of one member's state.
//!
//! A snapshot that is installed becomes a state of its own beside the one in force; only a batch in the log makes it the one in force.
//! So a crash at any moment leaves one whole state: the old one, or the new one.
//!
//! | step | who |
//! |---|---|
//! | [`stage`](StateHome::stage): an empty state of the next generation, filled, flushed | whoever fetches the snapshot |
//! | a batch in the log names the generation (`Install`) | the log |
//! | [`open`](StateHome::open) gives it out, [`remove`](StateHome::remove) forgets the old one | the member |
//! | [`keep_only`](StateHome::keep_only) removes what no log names | the next start |

use std::sync::Arc;

use crate::{Error, StateStore};

/// Where the states of one member live.
///
/// Invariants every engine keeps:
/// - a generation is open once: whoever opens it again gets the same state;
/// - generation 0 is made where it is missing, as every node begins with it. A later one is made by [`stage`](StateHome::stage) only: where it
///   is missing the disk has forgotten it, and that is an error;
/// - a checkpoint never changes, whatever is written to the state it was made of.
pub trait StateHome: Send + Sync + 'static {
    fn open(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error>;

    /// A frozen copy of the state as it is now, gone with its last reader. Writing to it is our bug. An earlier one stays with those
    /// who read it.
    fn checkpoint(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error>;

    /// An empty state in place of anything left of that generation. It counts from its first flush on, which makes it wholly durable,
    /// files and names.
    fn stage(&self, generation: u64) -> Result<Arc<dyn StateStore>, Error>;

    /// Forgets a generation that nobody has open any more. None there is fine.
    fn remove(&self, generation: u64) -> Result<(), Error>;

    /// Forgets all others, with checkpoints and leftovers. For the start, before any is open.
    fn keep_only(&self, generation: u64) -> Result<(), Error>;
}

/// What a log refers to and the disk no longer has.
pub(crate) fn missing(path: &std::path::Path, generation: u64) -> Error {
    let detail = format!("the log refers to generation {generation} of the state, and it is missing");
    crate::codec::corrupt(path, "state", &detail)
}
