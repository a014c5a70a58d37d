//! Real processes: clusters of the release binaries on loopback, killed, stopped, filled and cut off.
//!
//! Promises:
//! - What a test started ends with it, whether it passes or panics.
//! - Logs and data of a failed test are kept, and their place is printed; those of a passed one are removed.
//! - Traffic stays on loopback, or in networks that a test makes for itself. Ports are drawn from below the range that the system uses for
//!   outgoing connections, so that a node that was killed finds its port free when it comes back.
//! - Nothing of the user's settings or directories is read or written.
//!
//! The tests here are left out of an ordinary `cargo test`; stages build the binaries and run them, one at a time. A test that
//! cannot run on a machine says so with [`skip`], which a stage counts.

pub mod attack;
pub mod bench;
pub mod calls;
pub mod frames;
pub mod power;

mod binaries;
mod card;
mod cluster;
mod command_line;
mod council;
mod deadline;
mod kv;
mod lan;
mod load;
mod memory;
mod node;
mod noise;
mod pass;
mod ports;
mod raw;
mod scratch;
mod shim;
mod small_disk;

pub use binaries::{binary, control_server};
pub use card::Card;
pub use cluster::{Cluster, Way};
pub use command_line::{client, client_ok, token_in};
pub use council::{Council, Taken, is_changing};
pub use deadline::{eventually, within};
pub use kv::{Failure, Kv, detail};
pub use lan::{Avahi, Board, Lan, Namespace, on_lan};
pub use load::{Load, Plan};
pub use memory::Memory;
pub use node::{Node, Stop};
pub use noise::Noise;
pub use pass::Pass;
pub use ports::free_ports;
pub use raw::call_raw;
pub use scratch::Scratch;
pub use shim::SlowSync;
pub use small_disk::SmallDisk;

/// Says that this test cannot run on this machine, and why. The caller returns.
pub fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
}
