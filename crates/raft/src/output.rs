//! What the core asks of its driver.

use crate::{Batch, Entry, Envelope, Index, NodeId, Seq, Term};

/// Everything that the inputs since the last output led to.
///
/// The driver starts `persist` first, may send `send` at once (nothing in it tells of anything that is not durable
/// yet), and applies entries up to `apply_through`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// One atomic, synced batch; report its number with `Node::persisted` once it is on the disk.
    pub persist: Option<(Seq, Batch)>,
    pub send: Vec<Envelope>,
    /// Committed and durable here.
    pub apply_through: Index,
    pub reads: Vec<ReadDone>,
    pub need_entries: Vec<NeedEntries>,
}

/// The fate of a read given to `Node::read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadDone {
    pub token: u64,
    pub result: Result<Index, Refusal>,
}

/// Entries for a peer that lags behind what the core keeps in memory; answered by `Node::entries_read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedEntries {
    pub peer: NodeId,
    /// The answer is worth nothing in another term.
    pub term: Term,
    pub first: Index,
    pub last: Index,
    pub max_bytes: usize,
}

/// The answer to [`NeedEntries`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntriesRead {
    pub peer: NodeId,
    pub term: Term,
    pub entries: Vec<Entry>,
}

/// Why a proposal or a read was not taken. Nothing of it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node leads, if one is known.
    NotLeader(Option<NodeId>),
    /// Too many bytes wait for their commit.
    Overloaded,
}
