//! What the log holds and what a node must never forget.

use std::sync::Arc;

use crate::{Index, LogId, Membership, NodeId, Term};

/// One log entry. Cheap to clone: the payload is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: LogId,
    pub payload: Payload,
}

/// What an entry asks of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Opens a leader's term (the paper's section 8): commits what earlier terms left behind.
    Noop,
    /// Opaque to Raft.
    Command(Arc<[u8]>),
    /// In force from the moment it is in the log.
    Membership(Membership),
}

/// Term and vote (the paper's figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    pub vote: Option<NodeId>,
}

/// What one persist makes durable, all or nothing, in this order: hard state, installation, truncation, entries, cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub hard: Option<HardState>,
    /// A snapshot takes the place of the log up to its mark.
    pub install: Option<Install>,
    /// Forget this index and all behind it.
    pub truncate: Option<Index>,
    /// Without gaps; the first continues what the truncation left.
    pub entries: Vec<Entry>,
    /// Forget this entry and all before it: the flushed state holds what they did.
    pub cut: Option<LogId>,
}

/// A staged snapshot, as the log comes to know it. Entries up to the mark go; those behind it stay only if the log holds the
/// very entry at the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Install {
    pub mark: LogId,
    /// The state of this generation is in force from now on.
    pub generation: u64,
}

/// Bytes an entry costs in memory and on the wire beyond its payload, rounded up.
const ENTRY_OVERHEAD_BYTES: usize = 48;

impl Entry {
    /// Approximate cost of keeping or sending this entry, in bytes.
    pub fn size_bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES
            + match &self.payload {
                Payload::Noop => 0,
                Payload::Command(bytes) => bytes.len(),
                Payload::Membership(membership) => 16 * membership.members().count(),
            }
    }
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.hard.is_none() && self.install.is_none() && self.truncate.is_none() && self.entries.is_empty() && self.cut.is_none()
    }
}
