//! Every member that applies an index applies the same entry there, and comes to the same outcome and the same state.

use std::collections::BTreeMap;

use raft::{Entry, Index, NodeId};
use replica::state::Applied;

use super::{ExactlyOnce, Ledger, Property, Verdict, digest};

#[derive(Debug, Default)]
pub struct StateMachineSafety {
    hashes: BTreeMap<Index, [u8; 32]>,
}

impl StateMachineSafety {
    pub fn applied(&mut self, id: NodeId, entries: &[Entry], applied: &Applied, ledger: &Ledger) -> Verdict {
        let property = Property::StateMachineSafety;
        property.holds(applied.outcomes.len() == entries.len(), || format!("{id:?} leaves out outcomes"))?;
        for (entry, (at, outcome)) in entries.iter().zip(&applied.outcomes) {
            let known = ledger.at(entry.id.index);
            let Some(known) = known else {
                return Err(property.broken(format!("{id:?} applies {}, which nobody has committed", entry.id)));
            };
            let same = known.id == entry.id && *at == entry.id && known.digest == digest(entry);
            property.holds(same, || format!("{id:?} applies {}, but {} is committed", entry.id, known.id))?;
            ExactlyOnce::agrees(entry.id.index, known.outcome, *outcome)?;
        }
        self.hash(id, applied.through.index, applied.hash)
    }

    /// What is handed out to be applied is on the own disk.
    pub fn begins(id: NodeId, last: Index, on_disk: Index) -> Verdict {
        Property::StateMachineSafety.holds(last <= on_disk, || format!("{id:?} applies {last}, its disk ends at {on_disk}"))
    }

    pub fn hash(&mut self, id: NodeId, index: Index, hash: [u8; 32]) -> Verdict {
        let first = *self.hashes.entry(index).or_insert(hash);
        Property::StateMachineSafety.holds(first == hash, || format!("{id:?} has another state at {index}"))
    }
}
