//! At most one leader a term.

use std::collections::BTreeMap;

use raft::{NodeId, Term};

use super::{Property, Verdict};

#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    pub fn leads(&mut self, term: Term, id: NodeId) -> Verdict {
        let first = *self.leaders.entry(term).or_insert(id);
        Property::ElectionSafety.holds(first == id, || format!("{first:?} and {id:?} both lead {term:?}"))
    }
}
