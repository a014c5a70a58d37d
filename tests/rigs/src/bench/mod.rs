//! Measurements of a real cluster on this machine: ratios are worth more than figures, which are worth more than adjectives.
//!
//! - Clients are closed loops: each sends its next request when the last was answered. They share a fixed number of connections, or have one
//!   each; the same for every store measured.
//! - Servers and clients share the machine, so what a client costs counts against its store. The part of the loops that is the same for every
//!   store is kept small: bytes are drawn before, a request costs a key and a slice.
//! - Keys and values are random bytes. Every write brings a new key until [`KEYS`] are there, and every read asks for one that was written,
//!   so neither compression, overwriting nor absence makes anybody fast.
//! - Bytes written are the kernel's count per process, taken when it has stood still: a database goes on writing after its clients have gone.
//!   What it keeps in memory then, at most a few MiB of the 200 written, is not counted.

mod caller;
mod closed_loop;
mod corpus;
mod disk;
mod etcd;
mod failover;
mod handshakes;
mod idle;
mod process;
mod report;
mod store;
mod upload;

pub use caller::Caller;
pub use closed_loop::{Figures, Kind, Until, closed_loop};
pub use corpus::{Corpus, KEY_BYTES, KEYS, PAYLOAD_BYTES, VALUE_BYTES};
pub use disk::{written_bytes, written_bytes_at_rest};
pub use etcd::Etcd;
pub use failover::failovers;
pub use handshakes::{Handshakes, handshakes};
pub use idle::idle;
pub use process::{Usage, rss_bytes};
pub use report::{Line, Table, row};
pub use store::{Connections, RustyKv, Store, Way};
pub use upload::{IMAGE_BYTES, Uploads, uploads};
