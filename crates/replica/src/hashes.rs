//! Members compare their states: each tells the hash it had at the newest multiple of the period, the leader compares.
//!
//! Invariants:
//! - what a majority of all voters has is right; who has another hash at the same index has gone wrong and becomes suspect;
//! - without such a majority nobody is blamed: there is an alarm, and people decide.

use std::collections::{BTreeMap, VecDeque};

use raft::{Index, Membership, NodeId, StateHash};

/// Own hashes remembered, to be compared with what the leader says a majority has.
const OWN_MAX: usize = 16;
/// Indices at which reports are gathered at a time.
const GATHERED_MAX: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Hashes {
    own: VecDeque<StateHash>,
    gathered: BTreeMap<Index, BTreeMap<NodeId, u64>>,
}

/// What a comparison led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Agreed(StateHash),
    /// All voters have spoken, and no majority agrees.
    Discord(Index),
}

impl Hashes {
    pub fn made(&mut self, hash: StateHash) {
        self.own.push_back(hash);
        if self.own.len() > OWN_MAX {
            self.own.pop_front();
        }
    }

    pub fn newest(&self) -> Option<StateHash> {
        self.own.back().copied()
    }

    /// Whether what a majority has differs from what this member had.
    pub fn contradicts(&self, agreed: StateHash) -> bool {
        self.own.iter().any(|own| own.index == agreed.index && own.digest != agreed.digest)
    }

    /// As leader: what a member reports.
    pub fn report(&mut self, from: NodeId, hash: StateHash) {
        self.gathered.entry(hash.index).or_default().insert(from, hash.digest);
        if self.gathered.len() > GATHERED_MAX {
            self.gathered.pop_first();
        }
    }

    /// The newest index at which enough has been reported to say something.
    pub fn compare(&self, membership: &Membership) -> Option<Comparison> {
        self.gathered.iter().rev().find_map(|(index, reports)| {
            let agree = |digest: u64| membership.has_quorum(|id| reports.get(&id) == Some(&digest));
            if let Some(digest) = reports.values().copied().find(|digest| agree(*digest)) {
                return Some(Comparison::Agreed(StateHash { index: *index, digest }));
            }
            let all = membership.voters.iter().chain(&membership.outgoing).all(|id| reports.contains_key(id));
            all.then_some(Comparison::Discord(*index))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(index: Index, digest: u64) -> StateHash {
        StateHash { index, digest }
    }

    #[test]
    fn a_majority_of_all_voters_is_right_and_fewer_are_an_alarm() {
        let three = Membership::of_voters([1, 2, 3].map(NodeId));
        let mut hashes = Hashes::default();
        hashes.report(NodeId(1), hash(8, 5));
        hashes.report(NodeId(2), hash(8, 6));
        assert_eq!(hashes.compare(&three), None, "one is still to speak");
        hashes.report(NodeId(3), hash(8, 6));
        assert_eq!(hashes.compare(&three), Some(Comparison::Agreed(hash(8, 6))));
        hashes.report(NodeId(3), hash(8, 7));
        assert_eq!(hashes.compare(&three), Some(Comparison::Discord(8)));
    }

    #[test]
    fn who_differs_from_the_majority_knows_it() {
        let mut hashes = Hashes::default();
        hashes.made(hash(8, 5));
        assert!(!hashes.contradicts(hash(8, 5)) && !hashes.contradicts(hash(16, 1)) && hashes.contradicts(hash(8, 6)));
    }
}
