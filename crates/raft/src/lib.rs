//! Raft as a pure function: inputs in, one output out.
//!
//! [`Node`] is one member's core. Its driver gives it ticks, messages, proposals, reads and completions of persists, in
//! any order, as often as it likes, and then takes one [`Output`]. There is no clock, no thread, no disk and no randomness here
//! but what comes in as an argument, so a simulator runs exactly the code that ships.
//!
//! After Ongaro's dissertation "Consensus: Bridging Theory and Practice" (2014): elections (chapter 3) with PreVote and
//! CheckQuorum (section 9.6, 6.2), replication with conflict back-off (5.3), ReadIndex (6.4), leadership transfer (3.10), joint
//! consensus with learners (4.3, 4.2.1), snapshots and a log that is cut (chapter 5).
//!
//! What it promises, beyond the paper:
//! - nothing that tells of a term, a vote or an entry leaves before it is durable here ([`Output::send`] holds only what may go
//!   at once; the rest waits inside until [`Node::persisted`]); a leader's appends may run ahead of its own disk;
//! - a leader counts itself at its own durable index, a candidate its own vote once durable;
//! - its clock never waits for a disk: no call blocks, and slow completions only slow down what depends on them.
//!
//! What it leaves out: the bytes of snapshots, when to cut the log, what a command means: all the driver's.
//!
//! Faults of the world (lost, late, doubled, stale messages; refused proposals) are normal results. Asserts stay on in release:
//! they guard what can only be broken by a bug here or in the driver.

mod config;
mod durable;
mod election;
mod entry;
mod follower;
mod id;
mod leader;
mod log;
mod members;
mod membership;
mod message;
mod node;
mod output;
pub mod planted;
mod progress;
mod reads;
mod rng;
mod role;
mod snapshots;
mod transfer;

pub use config::Config;
pub use entry::{Batch, Entry, HardState, Install, Payload};
pub use id::{Index, LogId, NodeId, ReadId, Seq, Term};
pub use membership::{Change, Intent, Membership};
pub use message::{Append, Envelope, Message, Report, Room, StateHash};
pub use node::{Node, PeerStatus, Recovered, Status};
pub use output::{EntriesRead, Fetch, NeedEntries, Output, ReadDone, Refusal, Snapshot};
pub use progress::BOOTS_ASKED_MAX;
pub use reads::{QUESTIONS_MAX, QUESTIONS_OF_ALL_MAX};
pub use role::RoleName;
