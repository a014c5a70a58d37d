//! One set of boards never becomes two clusters, and nobody hears anybody of another.

use raft::NodeId;
use replica::Sighting;
use storage::Formation;

use super::{Property, Verdict};
use crate::formation::Ledger;

#[derive(Debug, Default)]
pub struct OneCluster {
    ledger: Ledger,
    id: Option<[u8; 16]>,
}

impl OneCluster {
    /// A formation record reached a disk.
    pub fn stored(&mut self, record: &Formation) -> Verdict {
        self.ledger.stored(record).map_err(|what| Property::OneCluster.broken(what))?;
        record.started.as_ref().map_or(Ok(()), |started| self.belongs(record.node, started.cluster_id))
    }

    /// A node said who it is.
    pub fn told(&self, sighting: &Sighting, disk: &Formation) -> Verdict {
        self.ledger.told(sighting, disk).map_err(|what| Property::OneCluster.broken(what))
    }

    /// A node counts itself to a cluster.
    pub fn belongs(&mut self, node: NodeId, cluster: [u8; 16]) -> Verdict {
        let first = *self.id.get_or_insert(cluster);
        Property::OneCluster.holds(first == cluster, || format!("{node:?} belongs to {cluster:?}, others to {first:?}"))
    }
}
