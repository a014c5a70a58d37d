//! Whatever is committed is in the log of every leader of a later term. Two rules make it so and are looked at by themselves: who commits
//! by counting counts an entry of its own term, and leadership is handed only to one who has everything.

use std::collections::BTreeMap;

use raft::{LogId, NodeId, Term};

use super::{Ledger, Property, Verdict};
use crate::run::LogModel;

#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    /// Leaders at present.
    leaders: BTreeMap<NodeId, Term>,
}

impl LeaderCompleteness {
    pub fn elected(&mut self, id: NodeId, term: Term, log: &LogModel, ledger: &Ledger) -> Verdict {
        self.leaders.insert(id, term);
        // By log matching the last one stands for all before it.
        let newest = ledger.all().iter().rev().find(|committed| committed.by < term);
        let holds = newest.is_none_or(|committed| log.covers(committed.id));
        Property::LeaderCompleteness.holds(holds, || format!("{id:?} leads {term:?} without {:?}", newest.map(|committed| committed.id)))
    }

    /// A leader commits by counting: only what ends with an entry of its own term.
    pub fn counts(id: NodeId, term: Term, newest: LogId) -> Verdict {
        Property::LeaderCompleteness.holds(newest.term == term, || format!("{id:?} in {term:?} commits up to {newest} by counting"))
    }

    /// Leadership is handed to one who has everything.
    pub fn hands_over(to: NodeId, everything: LogId, has: bool) -> Verdict {
        Property::LeaderCompleteness.holds(has, || format!("{to:?} is to lead without {everything} on its disk"))
    }

    pub fn resigned(&mut self, id: NodeId) {
        self.leaders.remove(&id);
    }

    /// An entry is committed while others lead later terms.
    pub fn committed<'a>(&self, entry: LogId, by: Term, log_of: impl Fn(NodeId) -> Option<&'a LogModel>) -> Verdict {
        for (id, term) in &self.leaders {
            let holds = *term <= by || log_of(*id).is_none_or(|log| log.covers(entry));
            Property::LeaderCompleteness
                .holds(holds, || format!("{entry} is committed in {by:?}, but {id:?} leads {term:?} without it"))?;
        }
        Ok(())
    }
}
