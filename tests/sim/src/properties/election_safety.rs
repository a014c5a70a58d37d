//! At most one leader a term, elected by votes that are given once and for good.

use std::collections::BTreeMap;

use raft::{HardState, NodeId, Term};

use super::{Property, Verdict};

#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    /// `disk`: what a power cut would leave of its term and vote.
    pub fn leads(&mut self, term: Term, id: NodeId, disk: HardState) -> Verdict {
        let voted = disk == HardState { term, vote: Some(id) };
        Property::ElectionSafety.holds(voted, || format!("{id:?} leads {term:?} while its disk says {disk:?}"))?;
        let first = *self.leaders.entry(term).or_insert(id);
        Property::ElectionSafety.holds(first == id, || format!("{first:?} and {id:?} both lead {term:?}"))
    }

    /// A member writes another term or vote.
    pub fn votes(id: NodeId, before: HardState, next: HardState) -> Verdict {
        let kept = next.term > before.term || next.term == before.term && before.vote.is_none_or(|vote| next.vote == Some(vote));
        Property::ElectionSafety.holds(kept, || format!("{id:?} goes from {before:?} to {next:?}"))
    }
}
