//! Raft as a pure function: inputs in, one output out.

mod entry;
mod id;
mod membership;

pub use entry::{Batch, Entry, HardState, Payload};
pub use id::{Index, LogId, NodeId, ReadId, Seq, Term};
pub use membership::Membership;
