//! Whatever is committed is in the log of every leader of a later term.

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

    pub fn resigned(&mut self, id: NodeId) {
        self.leaders.remove(&id);
    }

    /// An entry is committed while others lead later terms.
    pub fn committed<'a>(&self, entry: LogId, by: Term, log_of: impl Fn(NodeId) -> Option<&'a LogModel>) -> Verdict {
        for (id, term) in &self.leaders {
            let holds = *term <= by || log_of(*id).is_none_or(|log| log.covers(entry));
            Property::LeaderCompleteness.holds(holds, || format!("{entry} is committed in {by:?}, but {id:?} leads {term:?} without it"))?;
        }
        Ok(())
    }
}
