//! Deterministic worlds in which the shipped code runs: one seed, one history, the same each time.
//!
//! The code under test has no clock, threads, disk or randomness of its own, so a world brings them: simulated time, a network that
//! loses, delays, doubles and reorders, disks that finish late or forget, members that crash between asking for a write and having it.
//! While a world runs, properties that no crash reaches check each step against what must hold.
//!
//! - [`formation`]: blank boards that are to become one cluster, in every constellation;
//! - [`run`]: a cluster from its formation on, its clients and operators;
//! - [`properties`]: what must hold;
//! - [`seeds`]: runs a property over many seeds and says how to replay the one that failed.
//!
//! Left out: real sockets, real disks, real time.

pub mod formation;
#[cfg(feature = "planted")]
pub mod mutants;
pub mod properties;
mod rng;
pub mod run;
pub mod runner;
pub mod seeds;
pub mod shrink;
pub mod summary;

pub use rng::Rng;
