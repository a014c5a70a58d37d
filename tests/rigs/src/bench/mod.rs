//! Measurements of a real cluster on this machine: ratios are worth more than figures, which are worth more than adjectives.
//!
//! Clients are closed loops: each sends its next request when the last was answered. They share a fixed number of connections, the same for
//! every store measured.

mod closed_loop;
mod disk;
mod etcd;
mod failover;
mod report;
mod store;

pub use closed_loop::{Figures, PAYLOAD_BYTES, closed_loop};
pub use disk::written_bytes;
pub use etcd::Etcd;
pub use failover::failovers;
pub use report::{ratio, row};
pub use store::{Store, StoreClient, rusty_kv};
