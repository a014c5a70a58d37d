//! What the core asks of its driver.

use crate::{Batch, Entry, Envelope, Index, LogId, Membership, NodeId, Seq, StateHash, Term};

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
    /// A peer lacks entries that the log no longer has: make a checkpoint of the state, then call `Node::snapshot_ready`.
    pub need_snapshot: bool,
    /// Fetch this snapshot, stage it, then call `Node::install`. Repeated as long as it is wanted.
    pub fetch: Option<Fetch>,
    /// What a majority's state is at an index, as the leader says.
    pub agreed: Option<StateHash>,
    /// The leader has proof that this disk forgot acknowledged entries: stop for good.
    pub forgot: Option<Index>,
    /// A leader sends this entry in the place of another that is committed here: the others have lost what was acknowledged. Stop, and
    /// keep what is here.
    pub contradicted: Option<LogId>,
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

/// A snapshot to be fetched from a leader: at exactly this position, not a later one that it may have by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub from: NodeId,
    pub mark: LogId,
}

/// A fetched snapshot, verified and durable under its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub mark: LogId,
    pub generation: u64,
    /// The configuration in it and the index of its entry; none if it never saw a change.
    pub membership: Option<(Index, Membership)>,
}

/// Why a proposal or a read was not taken. Nothing of it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node leads, if one is known.
    NotLeader(Option<NodeId>),
    /// Too many bytes wait for their commit.
    Overloaded,
    /// A change of the membership is under way, or the leader is too new to begin one.
    Busy,
    /// What was asked makes no sense with the present membership.
    Invalid(&'static str),
}
