//! Any quorum of a configuration shares a member with any quorum of the one before it; changes come one at a time; everybody goes by the
//! newest in the own log; and who becomes a voter has caught up.

use std::collections::BTreeSet;

use raft::{Index, LogId, Membership, NodeId};

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

/// A member's idea of the configuration is what its log says.
pub fn in_force(id: NodeId, by_log: Option<&(Index, Membership)>, found: &Membership) -> Verdict {
    let same = by_log.is_none_or(|(_, membership)| membership == found);
    Property::QuorumOverlap.holds(same, || format!("{id:?} goes by {found:?}, its log says {by_log:?}"))
}

/// A learner becomes a voter: it has what its leader began with.
pub fn caught_up(id: NodeId, since: LogId, has: bool) -> Verdict {
    Property::QuorumOverlap.holds(has, || format!("{id:?} becomes a voter without {since} on its disk"))
}

fn is_quorum(membership: &Membership, of: &[(usize, &NodeId)]) -> bool {
    let majority = |half: &BTreeSet<NodeId>| of.iter().filter(|(_, id)| half.contains(id)).count() * 2 > half.len();
    majority(&membership.voters) && (membership.outgoing.is_empty() || majority(&membership.outgoing))
}
