//! What members say to each other.

use crate::{Entry, Index, LogId, NodeId, ReadId, Term};

/// A message with its sender's term: the first thing a receiver looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub from: NodeId,
    pub to: NodeId,
    pub term: Term,
    pub message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// "Would you vote for me in the term after this one?" Changes nothing at the receiver but a lower term.
    PreVote {
        last: LogId,
    },
    PreVoteReply {
        granted: bool,
        asked: Term,
    },
    Vote {
        last: LogId,
    },
    VoteReply {
        granted: bool,
    },
    Append(Append),
    /// `durable` is what counts; `matched` tells the leader where to go on sending.
    Accepted {
        matched: Index,
        durable: Index,
        round: u64,
        report: Report,
    },
    /// The entry at `prev` is missing or another; `hint` is the last one that may agree.
    Rejected {
        prev: Index,
        hint: LogId,
        round: u64,
        report: Report,
    },
    /// From a leader that hands over: stand for election at once (the dissertation's section 3.10).
    Campaign,
    /// From a leader: an earlier boot of yours acknowledged entries up to `durable` in this term, and now you lack some of them. Your
    /// disk has forgotten what it had synced; you are suspect.
    Forgot {
        durable: Index,
    },
    ReadIndex {
        id: ReadId,
    },
    ReadIndexReply {
        id: ReadId,
        index: Option<Index>,
    },
}

/// AppendEntries (the paper's figure 2); without entries it is a heartbeat and a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub prev: LogId,
    /// Continue `prev` without gaps.
    pub entries: Vec<Entry>,
    pub commit: Index,
    /// Number of the leader's latest read round; the answer repeats it.
    pub round: u64,
    /// The leader takes no new data for want of room.
    pub refusing: bool,
    /// The leader no longer has the entries that the receiver lacks; a snapshot at this position can be fetched from it.
    pub offer: Option<LogId>,
    /// The state hash that a majority of the voters has at an index.
    pub agreed: Option<StateHash>,
}

/// What a member says of itself with every answer to an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Drawn at each start of the process.
    pub boot: u64,
    /// How far the log on the disk reaches, whoever agrees with it.
    pub end: Index,
    pub room: Room,
    /// Applied index up to which no blob that the state refers to is missing.
    pub whole: Index,
    /// The newest of those hashes that are compared.
    pub hash: Option<StateHash>,
    /// It holds blobs that nothing refers to.
    pub garbage: bool,
}

/// A digest of the state at an index; equal on all members, or one of them has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    pub index: Index,
    pub digest: u64,
}

/// How much space a member has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Nothing reported yet: counted as none.
    #[default]
    Unknown,
    /// Below the floor: takes entries only from a leader that refuses new data.
    Floor,
    /// Below the low mark.
    Low,
    Enough,
}
