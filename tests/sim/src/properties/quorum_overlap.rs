//! Any quorum of a configuration shares a member with any quorum of the one before it, and changes come one at a time.

use std::collections::BTreeSet;

use raft::{Index, Membership, NodeId};

use super::{Property, Verdict};

/// A leader's log goes from one configuration to the next while it has committed up to `commit`.
pub fn quorum_overlap(before: &(Index, Membership), next: &Membership, commit: Index) -> Verdict {
    let (at, before) = before;
    Property::QuorumOverlap.holds(*at <= commit, || format!("{next:?} is begun while {before:?} at {at} is in doubt"))?;
    let all: Vec<NodeId> = before.members().chain(next.members()).collect::<BTreeSet<_>>().into_iter().collect();
    let all: Vec<NodeId> = all.into_iter().filter(|id| before.is_voter(*id) || next.is_voter(*id)).collect();
    for chosen in 0_u32..1 << all.len() {
        let (with, without): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(place, _)| chosen & 1 << place != 0);
        let apart = is_quorum(before, &with) && is_quorum(next, &without);
        Property::QuorumOverlap.holds(!apart, || format!("{before:?} and {next:?} can decide apart: {with:?}"))?;
    }
    let nobody = next.voters.is_empty();
    Property::QuorumOverlap.holds(!nobody, || format!("{next:?} has no voter"))
}

fn is_quorum(membership: &Membership, of: &[(usize, &NodeId)]) -> bool {
    let majority = |half: &BTreeSet<NodeId>| of.iter().filter(|(_, id)| half.contains(id)).count() * 2 > half.len();
    majority(&membership.voters) && (membership.outgoing.is_empty() || majority(&membership.outgoing))
}
