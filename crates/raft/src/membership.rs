//! Who is counted.
//!
//! While a change is under way both halves must agree (joint consensus, the paper's section 6); `outgoing` is
//! empty otherwise. Learners receive the log and are never counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;

/// A configuration of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub voters: BTreeSet<NodeId>,
    /// The voters before the change under way; empty outside a joint phase.
    pub outgoing: BTreeSet<NodeId>,
    pub learners: BTreeMap<NodeId, Intent>,
}

/// What becomes of a learner once it has caught up and lacks no blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Stay,
    Promote,
    /// It takes this voter's place, in one change.
    Replace(NodeId),
}

/// A step from one configuration to the next, as somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    AddLearner(NodeId, Intent),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A learner becomes a voter, a voter leaves.
    Replace {
        old: NodeId,
        new: NodeId,
    },
    /// A member leaves, whatever it is.
    Remove(NodeId),
}

impl Membership {
    /// A configuration with these voters and nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Membership {
        Membership { voters: voters.into_iter().collect(), ..Membership::default() }
    }

    /// Everybody who receives the log, in order of id.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        let all: BTreeSet<NodeId> = self.voters.iter().chain(&self.outgoing).chain(self.learners.keys()).copied().collect();
        all.into_iter()
    }

    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains_key(&id)
    }

    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether those for whom `agrees` holds are a quorum of every half.
    pub fn has_quorum(&self, mut agrees: impl FnMut(NodeId) -> bool) -> bool {
        let mut majority = |half: &BTreeSet<NodeId>| half.iter().filter(|id| agrees(**id)).count() > half.len() / 2;
        let incoming = majority(&self.voters);
        incoming && (self.outgoing.is_empty() || majority(&self.outgoing))
    }

    /// The highest value that a quorum of every half has reached, given each voter's value.
    pub fn quorum_value(&self, mut value_of: impl FnMut(NodeId) -> u64) -> u64 {
        let mut of_half = |half: &BTreeSet<NodeId>| {
            let mut values: Vec<u64> = half.iter().map(|id| value_of(*id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            values.get(half.len() / 2).copied()
        };
        let incoming = of_half(&self.voters).unwrap_or(0);
        match of_half(&self.outgoing) {
            Some(outgoing) => incoming.min(outgoing),
            None => incoming,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn a_quorum_is_more_than_half_of_each_half() {
        let four = Membership::of_voters(ids(&[1, 2, 3, 4]));
        assert!(!four.has_quorum(|id| id.0 <= 2));
        assert!(four.has_quorum(|id| id.0 <= 3));
        let joint = Membership { voters: ids(&[1, 2, 3]), outgoing: ids(&[3, 4, 5]), learners: [(NodeId(6), Intent::Stay)].into() };
        assert!(!joint.has_quorum(|id| id.0 <= 2), "the outgoing half has no say left out");
        assert!(joint.has_quorum(|id| (2..=4).contains(&id.0)));
    }

    #[test]
    fn the_quorum_value_is_what_a_majority_of_each_half_reached() {
        let three = Membership::of_voters(ids(&[1, 2, 3]));
        assert_eq!(three.quorum_value(|id| [9, 5, 7][id.0 as usize - 1]), 7);
        let two = Membership::of_voters(ids(&[1, 2]));
        assert_eq!(two.quorum_value(|id| [9, 5][id.0 as usize - 1]), 5);
        let joint = Membership { voters: ids(&[1, 2, 3]), outgoing: ids(&[4]), ..Membership::default() };
        assert_eq!(joint.quorum_value(|id| if id.0 == 4 { 3 } else { 8 }), 3);
        assert_eq!(Membership::default().quorum_value(|_| 1), 0);
    }
}
