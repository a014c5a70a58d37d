//! The log, the hard state and the formation: what must be on the disk before anybody hears of it.

use raft::{Batch, Entry, HardState, Index, LogId, Membership, NodeId, Term};

use crate::Error;

/// Durable home of one member's Raft state.
///
/// Invariants every engine keeps (held by one contract suite for all of them):
/// - a `persist` that returned is on the disk; one that did not return left all of its batches or none;
/// - batches of one `persist` may mix anything; it is told by their net effect, which is one write;
/// - what was cut or given up for a snapshot never comes back, and what is kept is not written again;
/// - the log has no gaps, and each entry comes back with the bytes and the CRC it was given;
/// - after the first `Err` of a write the engine refuses every later write (a failed sync is never retried).
pub trait LogStore: Send + Sync + 'static {
    /// Everything needed to start again. Reads and verifies the whole log (CRC, gaps); keeps only the newest
    /// `tail_bytes` of entries, at least one if there is any.
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error>;

    /// Writes the batches in order, as ONE atomic batch with ONE sync.
    fn persist(&self, batches: &[Batch]) -> Result<(), Error>;

    /// Entries `first..=last`, fewer if they exceed `max_bytes`, but at least one.
    /// An index outside the log is an error.
    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error>;

    /// Replaces the formation record, atomic and synced.
    fn save_formation(&self, formation: &Formation) -> Result<(), Error>;

    /// Fails once the engine has failed in the background. Cheap; polled each second.
    fn check(&self) -> Result<(), Error>;
}

/// What `load` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogImage {
    pub hard: HardState,
    /// The entry before the first one kept: `LogId::ZERO` until the log has been cut.
    pub mark: LogId,
    /// The state that belongs to this log is the one of this generation.
    pub generation: u64,
    /// The last entry, or `mark` when there is none.
    pub last: LogId,
    /// Where each run of one term starts, ascending; covers `mark.index + 1 ..= last.index`.
    pub terms: Vec<(Index, Term)>,
    /// The newest entries, without gaps, ending at `last`.
    pub tail: Vec<Entry>,
    /// Every configuration entry behind the mark, ascending.
    pub memberships: Vec<(LogId, Membership)>,
    pub formation: Formation,
}

/// This member's one promise and what came of it. Written with the data directory, then at most twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formation {
    pub node: NodeId,
    pub cluster_name: String,
    /// The sorted node ids this node has promised to form a cluster with.
    pub promised: Option<Vec<NodeId>>,
    pub started: Option<Started>,
}

/// The cluster this member belongs to, once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub cluster_id: [u8; 16],
    /// In force at index 0.
    pub membership: Membership,
}
