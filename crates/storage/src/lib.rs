//! Makes bytes durable, atomically.
//!
//! Two stores with different promises, after one rule: what Raft needs to stay safe is synced before anybody hears of
//! it, what can be rebuilt from the log is not synced at all.
//!
//! - [`LogStore`] (`raft/`): log, hard state, formation. Every write is one atomic, synced batch.
//! - [`StateStore`] (`state.<g>/`): everything that applying an entry writes. Batches are atomic, durable only after
//!   [`StateStore::flush`] or when the engine gets round to it; a crash falls back to an earlier batch, never to half of one.
//! - [`StateHome`]: the generations of a state: the one in force, a staged one that will take its place, frozen copies for others.
//! - [`Blobs`]: content-addressed files for large values.
//! - [`Anchor`]: a small file beside the log that remembers how far it once was.
//! - [`suspicion`]: what that proves about a disk that has forgotten something.
//! - [`Room`] and [`Reserve`]: how much space is left, the marks that say when to refuse, and what is set aside for that day.
//! - [`DataDir`]: one node's directory, in which all of these lie: born whole, locked, and refused when parts are missing.
//!
//! Left out: what the bytes mean (`replica`), and threads: every call here may block for seconds, the caller brings the thread.

mod anchor;
mod blobs;
mod codec;
#[cfg(test)]
mod contract;
#[cfg(feature = "rocksdb")]
mod data_dir;
mod durable;
mod error;
mod latch;
mod log_image;
mod log_layout;
mod log_store;
mod mem;
mod mem_home;
mod reserve;
#[cfg(feature = "rocksdb")]
mod rocks;
mod room;
#[cfg(test)]
mod scratch;
mod segment_log;
mod state_home;
mod state_store;
mod suspicion;
mod terms;

pub use anchor::{Anchor, AnchorRecord};
pub use blobs::{BlobHash, BlobReader, BlobWriter, Blobs, NotAHash, SYNC_STEP_BYTES};
pub use codec::{MembershipRecord, entry_crc};
#[cfg(feature = "rocksdb")]
pub use data_dir::{DataDir, Opened};
pub use error::Error;
pub use log_store::{Formation, LogImage, LogStore, Started};
pub use mem::{MemLog, MemState};
pub use mem_home::MemHome;
pub use reserve::Reserve;
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksHome, RocksState, RocksTuning};
pub use room::{Room, RoomReport, RoomState};
pub use segment_log::SegmentLog;
pub use state_home::StateHome;
pub use state_store::{Pair, Scan, StateStore, Write};
pub use suspicion::{Suspicion, suspicion};
