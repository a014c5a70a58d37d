//! What can go wrong at a replica's edge to its disk.

/// Bytes that are not what they should be; they came from a disk or a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// Why a replica cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),

    /// In a committed entry or a stored record: written by a newer version, or damaged unseen by its checksum.
    #[error("{0}; was it written by a newer rusty-kv?")]
    Malformed(#[from] Malformed),

    #[error(
        "the state has applied entry {applied}, but the log ends at {last}: the disk has forgotten part of the log. This node must not vote \
         again under its id; move the data directory aside and start it as a new node"
    )]
    LogTooShort { applied: raft::LogId, last: raft::LogId },

    #[error(
        "the log begins behind entry {mark}, but the state has applied only {applied}: the state's directory was lost or replaced. Move the \
         data directory aside and start this board as a new node"
    )]
    StateTooOld { applied: raft::LogId, mark: raft::LogId },

    #[error(
        "the state has applied entry {applied}, but the log holds another entry there, of term {held}: the disk has forgotten part of the \
         log, or state and log are of different days. This node must not vote again under its id; move the data directory aside and start \
         it as a new node"
    )]
    LogDiffers { applied: raft::LogId, held: raft::Term },

    #[error(
        "the log holds entries of term {last}, but the recorded term is {term}: the disk has forgotten a vote. Move the data directory aside \
         and start this board as a new node"
    )]
    TermTooOld { term: raft::Term, last: raft::Term },
}
