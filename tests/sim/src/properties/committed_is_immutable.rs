//! What is committed is never another entry, and no log that holds it gives it up.

use raft::{Index, LogId, NodeId};

use super::{Ledger, Property, Verdict};
use crate::run::LogModel;

#[derive(Debug, Default)]
pub struct CommittedIsImmutable;

impl CommittedIsImmutable {
    pub fn truncates(id: NodeId, from: Index, log: &LogModel, ledger: &Ledger) -> Verdict {
        let gone = ledger.at(from).filter(|committed| log.holds(committed.id));
        Property::CommittedIsImmutable.holds(gone.is_none(), || format!("{id:?} removes {from} and all behind it, which is committed"))
    }

    /// Somebody else calls an entry committed that is so already.
    pub fn again(id: NodeId, entry: LogId, digest: Option<u64>, ledger: &Ledger) -> Verdict {
        let known = ledger.at(entry.index).expect("asked only of what is committed");
        let same = known.id == entry && digest.is_none_or(|digest| digest == known.digest);
        Property::CommittedIsImmutable.holds(same, || format!("{id:?} commits {entry}, but {} is committed", known.id))
    }
}
