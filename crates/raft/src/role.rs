//! What a member is at the moment, with all that it needs to know as such and nothing it does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Index, LogId, NodeId, Seq, StateHash,
    progress::Progress,
    reads::{Forwarded, Rounds},
};

#[derive(Clone, Debug)]
pub enum Role {
    Follower(Follower),
    /// Asks whether an election could be won, without disturbing anybody (PreVote).
    PreCandidate {
        granted: BTreeSet<NodeId>,
    },
    /// `granted` holds the own id only once the own vote is durable.
    Candidate {
        granted: BTreeSet<NodeId>,
    },
    Leader(Leader),
}

#[derive(Clone, Debug, Default)]
pub struct Follower {
    pub leader: Option<NodeId>,
    /// Last index matched by appends accepted in this term.
    pub matched: Index,
    /// Latest read round seen from this leader.
    pub round: u64,
    pub reads: Forwarded,
}

#[derive(Clone, Debug)]
pub struct Leader {
    pub peers: BTreeMap<NodeId, Progress>,
    /// Index of the no-op that opened the term.
    pub noop: Index,
    pub rounds: Rounds,
    pub heartbeat_due: u64,
    /// Bytes of entries behind the commit index.
    pub uncommitted_bytes: usize,
    /// Own persists under way: number, tick of starting, first index in it.
    pub syncs: VecDeque<(Seq, u64, Index)>,
    /// Leadership is being handed over; no proposal is taken meanwhile.
    pub transfer: Option<Transfer>,
    /// An heir with room is not looked for before this tick.
    pub seeks_heir_at: u64,
    /// A checkpoint of the state at this position can be fetched here.
    pub offer: Option<LogId>,
    pub agreed: Option<StateHash>,
    /// The commit index at two moments an election timeout apart: who has reached the older one has caught up.
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub to: NodeId,
    /// Given up at this tick.
    pub until: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub older: Index,
    pub newer: Index,
    /// When `newer` was taken.
    pub at: u64,
}

/// A role without its data, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

impl Role {
    pub fn name(&self) -> RoleName {
        match self {
            Role::Follower(_) => RoleName::Follower,
            Role::PreCandidate { .. } => RoleName::PreCandidate,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }
}
