//! What a member is at the moment, with all that it needs to know as such and nothing it does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Index, NodeId, Seq,
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
    /// Tick of the election: peers never heard count from here.
    pub elected: u64,
    pub heartbeat_due: u64,
    /// Bytes of entries behind the commit index.
    pub uncommitted_bytes: usize,
    /// Own persists under way: number, tick of starting, first index in it.
    pub syncs: VecDeque<(Seq, u64, Index)>,
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
