//! Deterministic worlds in which the shipped code runs: one seed, one history, the same each time.
//!
//! The code under test has no clock, threads, disk or randomness of its own, so a world brings them: simulated ticks, a network that
//! loses, delays, doubles and reorders, disks that finish late, members that crash between asking for a write and having it.
//! While a world runs, a ledger that no crash reaches checks each step against what must hold.
//!
//! - [`formation`]: blank boards that are to become one cluster;
//! - [`cluster`]: a started cluster and its clients;
//! - [`seeds`]: runs a property over many seeds and says how to replay the one that failed.
//!
//! Left out: real sockets, real disks, real time. Properties are in `tests/`, one a file.

pub mod cluster;
pub mod formation;
mod rng;
pub mod seeds;

pub use rng::Rng;
