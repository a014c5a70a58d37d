//! The state of this node as it sees itself; works without a quorum and before a cluster exists.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use proto::v1 as wire;
use raft::{Intent, Membership, NodeId, RoleName};

use crate::{
    config::Listen,
    engine::EngineStatus,
    node::{Node, VERSION},
    peers::{Address, Identity},
};

/// Nodes that answered within this time are shown as waiting to enter.
const PENDING_FRESH_MS: u64 = 10_000;
/// A voter not heard for this long may be the one that a new node's board ran before.
const SILENT_MS: u64 = 5_000;

/// What this node says of itself.
pub fn of(node: &Node) -> wire::StatusResponse {
    let room = *node.room.borrow();
    let secured = node.guard.current();
    let credentials = secured.as_ref().map(|secured| &secured.papers.credentials);
    let mut response = wire::StatusResponse {
        node_id: node.id.0,
        name: node.config.node_name.to_string(),
        version: VERSION.into(),
        cluster_name: node.config.cluster_name.to_string(),
        role: wire::Role::Follower.into(),
        free_bytes: room.free_bytes,
        low_mark_bytes: room.low_mark_bytes,
        room_low: room.state != storage::RoomState::Enough,
        insecure: secured.is_none() && node.config.network.listen == Listen::Any,
        pending: pending(node),
        waits_for: node.waits_for(),
        blobs_missing: node.missing(),
        port: node.config.port.into(),
        closed: secured.is_some(),
        certificate_left_s: credentials
            .and_then(|credentials| credentials.expires().ok())
            .map(|ends| ends.0.saturating_sub(node.guard.time().0)),
        refused: node.guard.refused_count(),
        authorities: credentials
            .map(|credentials| credentials.authorities.iter().map(|authority| trust::hash_of(authority).to_vec().into()).collect())
            .unwrap_or_default(),
        shown_authority: secured.as_ref().map(|secured| secured.signer.to_vec()).unwrap_or_default().into(),
        cluster_time_s: node.guard.time().0,
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
        response.members = status.membership.members().map(|id| one(node, id, &status)).collect();
        response.mark_index = status.mark.index;
        response.membership_change = change_under_way(&status.membership, status.changing);
        response.alarm = node.alarm();
        if status.leader.is_none() {
            response.waits_for = "a leader: an election is running, or fewer than a quorum of nodes are up".into();
        }
    }
    response
}

/// Notes which of those outside were members once: they come back only under another id.
pub fn note_removed(pending: &mut [wire::Pending], is_removed: impl Fn(NodeId) -> bool) {
    for node in pending.iter_mut().filter(|node| is_removed(NodeId(node.node_id))) {
        node.removed = true;
        node.why = "was removed; wipe its board, it then has a new id".into();
    }
}

/// A node seen lately that belongs to no cluster.
pub fn is_pending(node: &Node, id: NodeId) -> bool {
    outside(node).contains_key(&id)
}

fn change_under_way(membership: &Membership, changing: bool) -> String {
    match (membership.is_joint(), changing) {
        (true, _) => {
            "voters are being changed: both the old and the new ones must agree to every write until the new ones have everything".into()
        }
        (false, true) => "a change waits for its commit".into(),
        (false, false) => String::new(),
    }
}

fn one(node: &Node, id: NodeId, status: &EngineStatus) -> wire::Member {
    let me = id == node.id;
    let known = status.peers.iter().find(|peer| peer.id == id);
    let since = node.book.since_contact(id).map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let membership = &status.membership;
    let (intent, replaces) = match membership.learners.get(&id) {
        None => (wire::LearnerIntent::Unspecified, 0),
        Some(Intent::Stay) => (wire::LearnerIntent::Stay, 0),
        Some(Intent::Promote) => (wire::LearnerIntent::Promote, 0),
        Some(Intent::Replace(old)) => (wire::LearnerIntent::Replace, old.0),
    };
    let kind = match (membership.voters.contains(&id), membership.outgoing.contains(&id)) {
        (true, _) => wire::MemberKind::Voter,
        (false, true) => wire::MemberKind::Outgoing,
        (false, false) => wire::MemberKind::Learner,
    };
    let durable = if me { Some(status.durable) } else { known.and_then(|peer| peer.durable) };
    wire::Member {
        node_id: id.0,
        name: if me { node.config.node_name.to_string() } else { node.book.name_of(id).unwrap_or_default() },
        addresses: node.book.addresses_of(id).iter().map(ToString::to_string).collect(),
        voter: membership.is_voter(id),
        last_contact_ms: if me { Some(0) } else { since },
        durable_index: durable,
        entries_sent: known.map(|peer| peer.entries_sent),
        kind: kind.into(),
        intent: intent.into(),
        replaces,
        outgoing_voter: membership.outgoing.contains(&id),
        whole_index: if me { Some(node.whole()) } else { known.and_then(|peer| peer.whole) },
        lag: durable.filter(|_| status.role == RoleName::Leader).map(|durable| status.last.index.saturating_sub(durable)),
        snapshot_under_way: known.is_some_and(|peer| peer.needs_snapshot),
    }
}

/// Nodes of this cluster's name that belong to none, as they spoke of themselves lately.
pub fn pending_nodes(node: &Node) -> Vec<Identity> {
    let all = outside(node).into_values().map(|(_, other)| other);
    all.filter(|other| other.promised.is_none() && other.cluster_id.is_none()).collect()
}

/// Who is in sight and no member, each once, however it was met.
fn outside(node: &Node) -> BTreeMap<NodeId, (Address, Identity)> {
    let fresh = Duration::from_millis(PENDING_FRESH_MS);
    let everybody = node.book.callers(fresh).into_iter().chain(node.book.seen(fresh, false));
    let status = node.member().map(|member| (member.cluster_id, member.engine.status()));
    // What a member said of itself before it was one may be known still.
    let is_member = |other: &Identity| status.as_ref().is_some_and(|(_, status)| status.membership.contains(other.id));
    // One that was greeted as a member by an entry that was lost then belongs to this cluster, and nobody but people can let it in again.
    let stranded = |other: &Identity| status.as_ref().is_some_and(|(cluster, _)| other.cluster_id == Some(*cluster));
    let of_this_name = |other: &Identity| other.cluster_name == node.config.cluster_name.as_str();
    let outside =
        everybody.filter(|(_, other)| of_this_name(other) && !is_member(other) && (other.cluster_id.is_none() || stranded(other)));
    outside.map(|(address, other)| (other.id, (address, other))).collect()
}

fn pending(node: &Node) -> Vec<wire::Pending> {
    let status = node.member().map(|member| member.engine.status());
    let shown = |(address, other): (Address, Identity)| {
        let why = match (other.cluster_id.is_some(), other.promised.is_some()) {
            (true, _) => "belongs to this cluster and is not, or no longer, a member",
            (false, true) => "is forming a cluster",
            (false, false) => "belongs to no cluster",
        };
        let earlier_id = status.as_ref().and_then(|status| earlier_self(node, status, &other)).map_or(0, |id| id.0);
        wire::Pending { node_id: other.id.0, name: other.name, address: address.to_string(), why: why.into(), removed: false, earlier_id }
    };
    outside(node).into_values().map(shown).collect()
}

/// The one voter that ran on the same board and is silent; none while any other member that is not silent shows that board.
fn earlier_self(node: &Node, status: &EngineStatus, other: &Identity) -> Option<NodeId> {
    let board = other.board?;
    let board_of = |id: NodeId| if id == node.id { node.board } else { node.book.board_of(id) };
    let silent = |id: NodeId| id != node.id && node.book.since_contact(id).is_none_or(|since| since > Duration::from_millis(SILENT_MS));
    let mut same = status.membership.members().filter(|id| board_of(*id) == Some(board));
    match (same.next(), same.next()) {
        (Some(old), None) if silent(old) && status.membership.voters.contains(&old) => Some(old),
        _ => None,
    }
}

fn role(role: RoleName) -> wire::Role {
    match role {
        RoleName::Follower => wire::Role::Follower,
        RoleName::PreCandidate | RoleName::Candidate => wire::Role::Candidate,
        RoleName::Leader => wire::Role::Leader,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_removed_is_told_to_be_wiped_and_nobody_else() {
        let told = |node_id| wire::Pending { node_id, why: "belongs to no cluster".into(), ..wire::Pending::default() };
        let mut pending = [told(1), told(2)];
        note_removed(&mut pending, |id| id == NodeId(2));
        assert_eq!(pending[0], told(1));
        assert!(pending[1].removed && pending[1].why.contains("wipe its board"), "{:?}", pending[1]);
    }
}
