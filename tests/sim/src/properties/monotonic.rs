//! A member's term never goes back, not even over a crash; nor do its commit and applied positions within a run of its process.

use std::collections::BTreeMap;

use raft::{Index, NodeId, Term};

use super::{Property, Verdict};

#[derive(Debug, Default)]
pub struct Monotonic {
    members: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// That was told to somebody.
    told: Term,
    boot: u64,
    term: Term,
    commit: Index,
    applied: Index,
}

impl Monotonic {
    pub fn stands(&mut self, id: NodeId, boot: u64, term: Term, commit: Index, applied: Index) -> Verdict {
        let seen = self.members.entry(id).or_default();
        let before = *seen;
        let told = before.told;
        *seen = Seen { told, boot, term, commit, applied };
        let same_run = before.boot == boot;
        let forward = !same_run || (term >= before.term && commit >= before.commit && applied >= before.applied);
        Property::Monotonic.holds(forward && term >= told && applied <= commit, || {
            format!("{id:?} goes from {before:?} to {term:?}, commit {commit}, applied {applied}")
        })
    }

    /// Somebody was told of the term.
    pub fn told(&mut self, id: NodeId, term: Term) -> Verdict {
        let seen = self.members.entry(id).or_default();
        let forward = term >= seen.told;
        seen.told = term;
        Property::Monotonic.holds(forward, || format!("{id:?} speaks in {term:?} after a later term"))
    }
}
