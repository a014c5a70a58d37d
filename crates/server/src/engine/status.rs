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
    /// A change of the membership is under way.
    pub changing: bool,
    /// The newest `collect` entry in the log; none on a leader too new to know.
    pub collect: Option<Index>,
    /// The entry before the first one in the log.
    pub mark: LogId,
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub id: NodeId,
    /// Unknown until it has answered in this term.
    pub durable: Option<Index>,
    pub entries_sent: u64,
    /// Applied index up to which it lacks no blob.
    pub whole: Option<Index>,
    pub needs_snapshot: bool,
    /// Its disk has lost what it had acknowledged.
    pub forgot: bool,
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
            changing: node.is_changing(),
            collect: replica.collect_index(),
            mark: node.mark(),
            peers: status
                .peers
                .into_iter()
                .map(|peer| PeerStatus {
                    id: peer.id,
                    durable: peer.heard.map(|_| peer.durable),
                    entries_sent: peer.entries_sent,
                    whole: peer.report.map(|report| report.whole),
                    needs_snapshot: peer.needs_snapshot,
                    forgot: peer.forgot,
                })
                .collect(),
        }
    }

    /// Whether what redirects and health checks depend on has changed since.
    pub fn is_stale(&self, node: &Node) -> bool {
        self.term != node.term() || self.leader != node.leader() || self.settled_leader != node.is_settled_leader()
    }
}
