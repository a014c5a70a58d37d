//! What is committed is on the disks of a quorum, counted on the disks and not by what nodes say.

use raft::{Index, LogId, Membership, NodeId};

use super::{Ledger, Property, Verdict};

#[derive(Debug, Default)]
pub struct DurableOnAQuorum;

impl DurableOnAQuorum {
    /// The holders, if they are enough.
    pub fn committed(entry: LogId, membership: &Membership, on_disk: impl Fn(NodeId) -> bool) -> Result<Vec<NodeId>, super::Broken> {
        let holders: Vec<NodeId> = membership.members().filter(|id| on_disk(*id)).collect();
        let is_majority =
            |half: &std::collections::BTreeSet<NodeId>| holders.iter().filter(|id| half.contains(id)).count() * 2 > half.len();
        let enough = is_majority(&membership.voters) && (membership.outgoing.is_empty() || is_majority(&membership.outgoing));
        match enough {
            true => Ok(holders),
            false => {
                Err(Property::DurableOnAQuorum
                    .broken(format!("{entry} is committed, but only on the disks of {holders:?} of {membership:?}")))
            }
        }
    }

    /// All over again: every holder still has what it had.
    pub fn recount(ledger: &Ledger, from: Index, still_holds: impl Fn(NodeId, LogId) -> bool) -> Verdict {
        for committed in ledger.all().iter().skip(from as usize) {
            let lost = committed.holders.iter().find(|id| !still_holds(**id, committed.id));
            Property::DurableOnAQuorum.holds(lost.is_none(), || format!("{lost:?} no longer holds {}", committed.id))?;
        }
        Ok(())
    }
}
