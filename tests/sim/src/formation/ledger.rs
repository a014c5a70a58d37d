//! What was ever durable, on any board, also on those wiped since; and what must hold of it.
//!
//! Invariants it checks at each write:
//! - a node promises once;
//! - a node starts only what it has promised; the members are exactly that list, and each of them has promised it durably;
//! - of two clusters under one name no list shares a node;
//! - what a node tells of itself is on its disk.

use std::collections::{BTreeMap, BTreeSet};

use raft::{Membership, NodeId};
use replica::Sighting;
use storage::Formation as Record;

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Of each node: the name and the list.
    promises: BTreeMap<NodeId, (String, Vec<NodeId>)>,
    clusters: BTreeMap<[u8; 16], (String, Vec<NodeId>)>,
    started: BTreeMap<NodeId, [u8; 16]>,
}

impl Ledger {
    /// Clusters that at least one node has started under a name.
    pub fn clusters(&self, name: &str) -> usize {
        self.clusters.values().filter(|(of, _)| of == name).count()
    }

    pub fn has_promised(&self, id: NodeId, list: &[NodeId]) -> bool {
        self.promises.get(&id).is_some_and(|(_, promised)| promised == list)
    }

    pub fn has_started(&self, id: NodeId) -> bool {
        self.started.contains_key(&id)
    }

    /// A node's record reached its disk.
    pub fn stored(&mut self, record: &Record) -> Result<(), String> {
        let (id, name) = (record.node, &record.cluster_name);
        let Some(list) = &record.promised else { return Err(format!("{id:?} wrote a record without a promise")) };
        let before = self.promises.entry(id).or_insert_with(|| (name.clone(), list.clone()));
        if *before != (name.clone(), list.clone()) {
            return Err(format!("{id:?} has promised {before:?} and now {list:?}"));
        }
        let Some(started) = &record.started else {
            return match self.started.get(&id) {
                Some(_) => Err(format!("{id:?} has forgotten that it started")),
                None => Ok(()),
            };
        };
        if started.membership != Membership::of_voters(list.iter().copied()) {
            return Err(format!("{id:?} started with {:?}, having promised {list:?}", started.membership));
        }
        if let Some(missing) = list.iter().find(|member| self.promises.get(member) != Some(&(name.clone(), list.clone()))) {
            return Err(format!("{id:?} started {list:?} without the promise of {missing:?}"));
        }
        if self.started.insert(id, started.cluster_id).is_some_and(|before| before != started.cluster_id) {
            return Err(format!("{id:?} started twice"));
        }
        let cluster = (name.clone(), list.clone());
        if *self.clusters.entry(started.cluster_id).or_insert_with(|| cluster.clone()) != cluster {
            return Err(format!("two lists share one cluster id: {list:?}"));
        }
        self.check_disjoint(name)
    }

    /// A node answered who it is; `disk` is what a power cut would leave of it.
    pub fn told(&self, sighting: &Sighting, disk: &Record) -> Result<(), String> {
        let durable = (&disk.promised, disk.started.as_ref().map(|started| started.cluster_id));
        match (&sighting.promised, sighting.cluster_id) == durable {
            true => Ok(()),
            false => Err(format!("{:?} told what is not on its disk: {sighting:?}", sighting.id)),
        }
    }

    fn check_disjoint(&self, name: &str) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for (_, list) in self.clusters.values().filter(|(of, _)| of == name) {
            if let Some(shared) = list.iter().find(|id| !taken.insert(**id)) {
                return Err(format!("two clusters of the name \"{name}\" share {shared:?}: {:?}", self.clusters));
            }
        }
        Ok(())
    }
}
