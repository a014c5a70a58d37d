//! The node: sockets, threads, files, signals around a replica.
//!
//! - [`args`], [`config`], [`logging`]: the edge to the operator;
//! - [`run`]: the life of a node; `forming`, `membership`: how it comes to be a member;
//! - `engine`: the thread that owns the replica, and the threads that touch the disk for it;
//! - `peers`: address book, streams to the others; `lan`: mDNS;
//! - `guard`: the closed cluster, who is let in; `caller`: what a connection has proven;
//! - `services`: gRPC; `convert`: the edge to the wire; `blobs`: large values;
//! - `describe`: a stopped node's directory, for programs;
//! - `planted`: faults for tests to find, in control builds only.

pub mod args;
pub mod config;
pub mod logging;
pub mod run;

mod blobs;
mod board;
mod caller;
mod convert;
mod describe;
mod descriptors;
mod engine;
mod fatal;
mod forming;
mod guard;
mod lan;
mod listening;
mod membership;
mod node;
mod peers;
#[cfg(feature = "planted")]
mod planted;
mod replacing;
mod services;
mod serving;
mod snapshots;
mod state_in_force;
mod watchers;
