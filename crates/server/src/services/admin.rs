//! The state of this node as it sees itself; works without a quorum and before a cluster exists.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use proto::v1::{self as wire, admin_server};
use raft::{NodeId, RoleName};
use tonic::{Request, Response, Status};

use crate::{
    config::Listen,
    engine::EngineStatus,
    node::{Node, VERSION},
    services::failure::not_executed,
};

/// Nodes that answered within this time are shown as waiting to enter.
const PENDING_FRESH_MS: u64 = 10_000;

#[derive(Clone)]
pub struct AdminService {
    node: Arc<Node>,
}

impl AdminService {
    pub fn new(node: Arc<Node>) -> AdminService {
        AdminService { node }
    }
}

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    async fn status(&self, _: Request<wire::StatusRequest>) -> Result<Response<wire::StatusResponse>, Status> {
        let node = &self.node;
        let room = *node.room.borrow();
        let mut response = wire::StatusResponse {
            node_id: node.id.0,
            name: node.config.node_name.to_string(),
            version: VERSION.into(),
            cluster_name: node.config.cluster_name.to_string(),
            role: wire::Role::Follower.into(),
            free_bytes: room.free_bytes,
            low_mark_bytes: room.low_mark_bytes,
            room_low: room.state != storage::RoomState::Enough,
            insecure: node.config.network.listen == Listen::Any,
            pending: pending(node),
            waits_for: node.waits_for(),
            blobs_missing: node.missing(),
            port: node.config.port.into(),
            leader_changes: node.leader_changes.load(Ordering::Relaxed),
            ..wire::StatusResponse::default()
        };
        if let Some(member) = node.member() {
            let status = member.engine.status();
            response.cluster_id = member.cluster_id.to_vec().into();
            response.role = role(status.role).into();
            response.term = status.term.0;
            response.leader_id = status.leader.map_or(0, |id| id.0);
            response.last_index = status.last.index;
            response.durable_index = status.durable;
            response.commit_index = status.commit;
            response.applied_index = status.applied;
            response.state_hash = status.state_hash.to_vec().into();
            response.entries_sent = status.peers.iter().map(|peer| peer.entries_sent).sum();
            response.members = status.membership.members().map(|id| self.member(id, &status)).collect();
            if status.leader.is_none() {
                response.waits_for = "a leader: an election is running, or fewer than a quorum of nodes are up".into();
            }
        }
        Ok(Response::new(response))
    }

    async fn change_member(&self, _: Request<wire::ChangeMemberRequest>) -> Result<Response<wire::ChangeMemberResponse>, Status> {
        Err(not_built())
    }

    async fn transfer_leader(&self, _: Request<wire::TransferLeaderRequest>) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        Err(not_built())
    }

    async fn compact(&self, _: Request<wire::CompactRequest>) -> Result<Response<wire::CompactResponse>, Status> {
        Err(not_built())
    }

    async fn can_stop(&self, _: Request<wire::CanStopRequest>) -> Result<Response<wire::CanStopResponse>, Status> {
        Err(not_built())
    }
}

fn not_built() -> Status {
    not_executed(wire::Reason::Unspecified, "not built yet")
}

impl AdminService {
    fn member(&self, id: NodeId, status: &EngineStatus) -> wire::Member {
        let node = &self.node;
        let me = id == node.id;
        let known = status.peers.iter().find(|peer| peer.id == id);
        let since = node.book.since_contact(id).map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        wire::Member {
            node_id: id.0,
            name: if me { node.config.node_name.to_string() } else { node.book.name_of(id).unwrap_or_default() },
            addresses: node.book.addresses_of(id).iter().map(ToString::to_string).collect(),
            voter: status.membership.is_voter(id),
            last_contact_ms: if me { Some(0) } else { since },
            durable_index: if me { Some(status.durable) } else { known.and_then(|peer| peer.durable) },
            entries_sent: known.map(|peer| peer.entries_sent),
            ..wire::Member::default()
        }
    }
}

fn pending(node: &Node) -> Vec<wire::Pending> {
    let fresh = Duration::from_millis(PENDING_FRESH_MS);
    let everybody = node.book.callers(fresh).into_iter().chain(node.book.seen(fresh, false));
    let outside = everybody.filter(|(_, other)| other.cluster_id.is_none() && other.cluster_name == node.config.cluster_name.as_str());
    let mut pending = BTreeMap::new();
    for (address, other) in outside {
        let why = if other.promised.is_some() { "is forming a cluster" } else { "belongs to no cluster" };
        let shown = wire::Pending { node_id: other.id.0, name: other.name, address: address.to_string(), why: why.into() };
        pending.insert(other.id, shown);
    }
    pending.into_values().collect()
}

fn role(role: RoleName) -> wire::Role {
    match role {
        RoleName::Follower => wire::Role::Follower,
        RoleName::PreCandidate | RoleName::Candidate => wire::Role::Candidate,
        RoleName::Leader => wire::Role::Leader,
    }
}
