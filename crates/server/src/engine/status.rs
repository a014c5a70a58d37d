//! A look at a running member, for people, redirects and health checks.

use raft::{Index, LogId, Membership, Node, NodeId, RoleName, Term};
use replica::Replica;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    pub id: NodeId,
    pub role: RoleName,
    pub term: Term,
    pub leader: Option<NodeId>,
    /// Leads, and has committed an entry of its own term.
    pub settled_leader: bool,
    pub refusing: bool,
    pub last: LogId,
    pub durable: Index,
    pub commit: Index,
    pub applied: Index,
    /// Of the state at `applied`.
    pub state_hash: [u8; 32],
    pub membership: Membership,
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub id: NodeId,
    /// Unknown until it has answered in this term.
    pub durable: Option<Index>,
    pub entries_sent: u64,
}

impl EngineStatus {
    pub fn of(replica: &Replica) -> EngineStatus {
        let node = replica.node();
        let status = replica.status();
        EngineStatus {
            id: node.id(),
            role: status.role,
            term: status.term,
            leader: status.leader,
            settled_leader: node.is_settled_leader(),
            refusing: status.refusing,
            last: status.last,
            durable: status.durable,
            commit: status.commit,
            applied: replica.applied(),
            state_hash: replica.state_hash(),
            membership: node.membership().clone(),
            peers: status
                .peers
                .into_iter()
                .map(|(id, durable, entries_sent, heard)| PeerStatus { id, durable: heard.map(|_| durable), entries_sent })
                .collect(),
        }
    }

    /// Whether what redirects and health checks depend on has changed since.
    pub fn is_stale(&self, node: &Node) -> bool {
        self.term != node.term() || self.leader != node.leader() || self.settled_leader != node.is_settled_leader()
    }
}
