//! Makes bytes durable, atomically.
//!
//! Two stores with different promises, after one rule: what Raft needs to stay safe is synced before anybody hears of
//! it, what can be rebuilt from the log is not synced at all.
//!
//! - [`LogStore`] (`raft/`): log, hard state, formation. Every write is one atomic, synced batch.
//! - [`StateStore`] (`state.<g>/`): everything that applying an entry writes. Batches are atomic, durable only after
//!   [`StateStore::flush`] or when the engine gets round to it; a crash falls back to an earlier batch, never to half of one.
//! - [`Blobs`]: content-addressed files for large values.
//! - [`Anchor`]: a small file beside the databases that remembers how far they once were.
//! - [`Room`]: how much space is left, and the marks that say when to refuse.
//!
//! Left out: what the bytes mean (`replica`), and threads: every call here may block for seconds, the caller brings the thread.

mod error;
mod log_store;
mod state_store;

pub use error::Error;
pub use log_store::{Formation, LogImage, LogStore, Started};
pub use state_store::{Scan, StateStore, Write};
