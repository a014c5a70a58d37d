//! One member of the cluster without sockets or threads: persist, then acknowledge, then apply, then reply.
//!
//! [`Replica`] puts a key-value state machine around the Raft core. Inputs come in (ticks, messages, client requests, completions of
//! work that threads did), [`Effects`] go out (what to persist, send, apply, read from the log, and which clients to answer). It
//! calls no disk itself, so its clock never waits for one.
//!
//! - [`Command`], [`Key`]: what clients ask for, in the form that the log keeps;
//! - [`state`]: the layout of the state, applying entries to it, reading it;
//! - [`TrustChange`], [`Trust`]: whom the cluster lets in, kept in the same state;
//! - [`Formation`]: how blank nodes become a cluster.
//!
//! Left out: threads, sockets, files, wire types, blob bytes (only a quorum's word for having them counts here).

mod command;
mod error;
mod formation;
mod hashes;
mod key;
mod member;
mod retention;
pub mod state;

pub use command::{Command, Condition, INLINE_VALUE_MAX_BYTES, Operation, Stamp, Value};
pub use error::{Error, Malformed};
pub use formation::{Formation, Plan, Sighting, Step};
pub use key::{KEY_MAX_BYTES, Key, KeySize};
pub use member::{ApplyJob, Contradiction, Effects, Failure, Haves, Input, Limits, Replica, Reply, Suspect, Ticket};
pub use retention::Keep;
pub use state::{AuthorityRecord, TokenGrant, TokenId, TokenRecord, Trust, TrustChange, TrustOutcome};
