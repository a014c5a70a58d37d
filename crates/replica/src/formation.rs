//! How boards become one cluster, and never two.
//!
//! P is the sorted list of exactly N node ids, and the cluster's id is a hash of P and the cluster's name. A node promises P
//! only if P is exactly what it sees itself, promises once in its life, and starts P when every node of P has promised P, or when
//! a node of P has started it already. Promise and start are on the disk before anybody hears of them.
//!
//! Invariants:
//! - a node promises at most one P; so of two overlapping lists at most one can collect all its promises;
//! - there is no refusal and no second promise: a formation that cannot finish waits, and says for whom;
//! - a node that belongs to a cluster never forms another;
//! - a promise that cannot be of use is not made: not beside a node that has promised another list.
//!
//! Limit: 2N boards in disjoint views under one name can form two clusters; so each cluster has a name of its own.
//!
//! Pure: who is seen comes in, what to write comes out. A sighting is what a node itself answered just now, never what mDNS said
//! of it: a wiped board is another node, and its old answer must be forgotten by the caller.

use raft::{
    Membership, NodeId,
    planted::{Bug, is_planted},
};
use storage::{Formation as Record, Started};

/// How this node was told to find its cluster. Read only while it belongs to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Waits to be taken in by a cluster.
    Wait,
    /// The nodes behind a fixed list of this many addresses, and this one.
    Peers { addresses: usize },
    /// This many nodes, itself included, found on the LAN.
    Expect { nodes: usize },
}

/// What another node said of itself when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub id: NodeId,
    pub cluster_name: String,
    pub cluster_id: Option<[u8; 16]>,
    pub promised: Option<Vec<NodeId>>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the promise, synced, then call [`Formation::written`].
    Promise(Vec<NodeId>),
    /// Write the start and the membership at index 0, as one synced batch, then call [`Formation::written`].
    Start(Started),
    /// Nothing to do but to tell people why.
    Wait(String),
    /// This node belongs to a cluster.
    Formed,
}

/// One node's part in forming a cluster.
#[derive(Clone, Debug)]
pub struct Formation {
    record: Record,
    plan: Plan,
}

impl Formation {
    /// Goes on from what is on the disk.
    pub fn new(record: Record, plan: Plan) -> Formation {
        Formation { record, plan }
    }

    /// What is on the disk.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The next step, given everybody who answers at the moment, without this node itself.
    pub fn step(&self, seen: &[Sighting]) -> Step {
        if self.record.started.is_some() {
            return Step::Formed;
        }
        match &self.record.promised {
            Some(_) if is_planted(Bug::SecondPromise) && matches!(self.consider_promise(seen), Step::Promise(_)) => {
                self.consider_promise(seen)
            }
            Some(promised) => self.collect_promises(promised, seen),
            None => self.consider_promise(seen),
        }
    }

    /// A node of a started cluster speaks to us by our id. If we promised that very cluster, it is proof that all of its nodes did. If we
    /// promised nothing, its members have taken us in: nobody else would know our id and speak Raft to us. What the membership is we
    /// learn from the log.
    pub fn heard_started(&self, from: NodeId, cluster_id: [u8; 16], cluster_name: &str) -> Step {
        match (&self.record.started, &self.record.promised) {
            (Some(_), _) => Step::Formed,
            (None, None) if cluster_name == self.record.cluster_name => {
                Step::Start(Started { cluster_id, membership: Membership::default() })
            }
            (None, Some(promised)) if promised.contains(&from) && cluster_id == self.id_of(promised) => self.start(promised),
            _ => Step::Wait("a cluster that this node has promised nothing to speaks to it".into()),
        }
    }

    /// The record with the promise in it, to be written.
    pub fn with_promise(&self, promised: Vec<NodeId>) -> Record {
        let free = self.record.promised.is_none() || is_planted(Bug::SecondPromise);
        assert!(free && self.record.started.is_none(), "one promise in a node's life");
        assert!(promised.contains(&self.record.node) && promised.is_sorted(), "a promise names this node, sorted");
        Record { promised: Some(promised), ..self.record.clone() }
    }

    /// The record with the start in it, to be written.
    pub fn with_start(&self, started: Started) -> Record {
        assert!(self.record.started.is_none(), "a node belongs to one cluster, once");
        Record { started: Some(started), ..self.record.clone() }
    }

    /// The record is on the disk.
    pub fn written(&mut self, record: Record) {
        self.record = record;
    }

    fn consider_promise(&self, seen: &[Sighting]) -> Step {
        let wanted = match self.plan {
            Plan::Wait => return Step::Wait(self.advice_without_plan(seen)),
            Plan::Peers { addresses } => addresses + 1,
            Plan::Expect { nodes } => nodes,
        };
        let by_list = matches!(self.plan, Plan::Peers { .. });
        if let Some(stranger) = seen.iter().find(|other| by_list && other.cluster_name != self.record.cluster_name) {
            return Step::Wait(format!(
                "node {} behind --peers calls its cluster \"{}\", this one \"{}\"; give both the same --cluster",
                stranger.id, stranger.cluster_name, self.record.cluster_name
            ));
        }
        let namesakes = || seen.iter().filter(|other| other.cluster_name == self.record.cluster_name);
        if let Some(formed) = namesakes().find(|other| other.cluster_id.is_some()) {
            return Step::Wait(format!(
                "pending: node {} already belongs to a formed cluster \"{}\"; take this node in with `rusty-kv member add {}`, or give it another \
                 --cluster for a cluster of its own",
                formed.id, formed.cluster_name, self.record.node
            ));
        }
        let mut ids: Vec<NodeId> = namesakes().map(|other| other.id).chain([self.record.node]).collect();
        ids.sort_unstable();
        ids.dedup();
        let engaged = namesakes().find(|other| other.promised.as_ref().is_some_and(|promised| *promised != ids));
        match (ids.len(), engaged) {
            // Its one promise is spent: this list would never be complete, and ours would be spent, too.
            (count, Some(engaged)) if count == wanted => Step::Wait(format!(
                "sees {count} nodes of cluster \"{}\", but node {} has promised to form it with others; if it cannot, it says so and what to do",
                self.record.cluster_name, engaged.id
            )),
            (count, None) if count == wanted => Step::Promise(ids),
            (count, _) if count < wanted => {
                Step::Wait(format!("sees {count} of {wanted} nodes of cluster \"{}\"", self.record.cluster_name))
            }
            (count, _) => Step::Wait(format!(
                "sees {count} unformed nodes of cluster \"{}\" but expects {wanted}; take the surplus away or name them apart",
                self.record.cluster_name
            )),
        }
    }

    fn collect_promises(&self, promised: &[NodeId], seen: &[Sighting]) -> Step {
        // Whoever of them has started had every promise, also of those that cannot be asked any more.
        if seen.iter().any(|other| promised.contains(&other.id) && other.cluster_id == Some(self.id_of(promised))) {
            return self.start(promised);
        }
        // A promise of the same nodes under another name is one to form another cluster.
        let agrees = |other: &Sighting| other.promised.as_deref() == Some(promised) && other.cluster_name == self.record.cluster_name;
        let has_promised = |id: NodeId| id == self.record.node || seen.iter().any(|other| other.id == id && agrees(other));
        let awaited: Vec<String> = promised.iter().filter(|id| !has_promised(**id)).map(NodeId::to_string).collect();
        if awaited.is_empty() {
            return self.start(promised);
        }
        Step::Wait(format!(
            "has promised to form a cluster of {} and waits for the promise of {}; if such a board is gone for good or was wiped, stop this \
             node and run `rusty-kvd --forget-formation`",
            promised.len(),
            awaited.join(", ")
        ))
    }

    fn start(&self, promised: &[NodeId]) -> Step {
        Step::Start(Started { cluster_id: self.id_of(promised), membership: Membership::of_voters(promised.iter().copied()) })
    }

    fn id_of(&self, promised: &[NodeId]) -> [u8; 16] {
        cluster_id(promised, &self.record.cluster_name)
    }

    fn advice_without_plan(&self, seen: &[Sighting]) -> String {
        match seen.iter().find(|other| other.cluster_name == self.record.cluster_name && other.cluster_id.is_some()) {
            Some(formed) => format!("pending: sees the formed cluster \"{}\" (node {})", formed.cluster_name, formed.id),
            None => "belongs to no cluster; `rusty-kv cluster join TOKEN` on it, or `cluster create`; for an open one start it with --peers LIST or --expect N".into(),
        }
    }
}

/// The id of the cluster that these nodes form under this name.
fn cluster_id(sorted: &[NodeId], name: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("rusty-kv 1 cluster id from formation");
    hasher.update(&(name.len() as u64).to_be_bytes());
    hasher.update(name.as_bytes());
    for id in sorted {
        hasher.update(&id.0.to_be_bytes());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(id: u64) -> Record {
        Record { node: NodeId(id), cluster_name: "home".into(), promised: None, started: None }
    }

    fn sighting(id: u64, promised: Option<&[u64]>) -> Sighting {
        let promised = promised.map(|ids| ids.iter().map(|id| NodeId(*id)).collect());
        Sighting { id: NodeId(id), cluster_name: "home".into(), cluster_id: None, promised }
    }

    fn promise(formation: &mut Formation, ids: &[u64]) {
        let record = formation.with_promise(ids.iter().map(|id| NodeId(*id)).collect());
        formation.written(record);
    }

    #[test]
    fn a_promise_needs_exactly_the_expected_nodes() {
        let one = Formation::new(blank(1), Plan::Expect { nodes: 3 });
        assert!(matches!(one.step(&[sighting(2, None)]), Step::Wait(_)));
        assert_eq!(one.step(&[sighting(3, None), sighting(2, None)]), Step::Promise(vec![NodeId(1), NodeId(2), NodeId(3)]));
        assert!(matches!(one.step(&[sighting(2, None), sighting(3, None), sighting(4, None)]), Step::Wait(why) if why.contains("sees 4")));
    }

    #[test]
    fn a_formed_namesake_makes_a_blank_node_pending() {
        let one = Formation::new(blank(1), Plan::Expect { nodes: 3 });
        let formed = Sighting { cluster_id: Some([7; 16]), ..sighting(2, None) };
        assert!(matches!(one.step(&[formed, sighting(3, None)]), Step::Wait(why) if why.contains("pending")));
    }

    #[test]
    fn all_promises_start_the_cluster_and_a_missing_one_is_named() {
        let mut one = Formation::new(blank(1), Plan::Peers { addresses: 2 });
        promise(&mut one, &[1, 2, 3]);
        let wait = one.step(&[sighting(2, Some(&[1, 2, 3])), sighting(3, None)]);
        assert!(matches!(&wait, Step::Wait(why) if why.contains("0000000000000003") && why.contains("--forget-formation")), "{wait:?}");
        let Step::Start(started) = one.step(&[sighting(2, Some(&[1, 2, 3])), sighting(3, Some(&[1, 2, 3]))]) else {
            panic!("all have promised")
        };
        assert_eq!(started.membership.voters.len(), 3);
        one.written(one.with_start(started));
        assert_eq!(one.step(&[]), Step::Formed);
    }

    #[test]
    fn a_started_node_of_the_promised_list_is_enough() {
        let mut one = Formation::new(blank(1), Plan::Expect { nodes: 2 });
        let id = cluster_id(&[NodeId(1), NodeId(2)], "home");
        let promised_nothing = one.clone();
        assert!(matches!(promised_nothing.heard_started(NodeId(2), id, "garden"), Step::Wait(_)), "of another name");
        let Step::Start(started) = promised_nothing.heard_started(NodeId(2), id, "home") else { panic!("its members take it in") };
        assert_eq!(started.membership, Membership::default(), "who is a member it learns from the log");
        promise(&mut one, &[1, 2]);
        assert!(matches!(one.heard_started(NodeId(2), [9; 16], "home"), Step::Wait(_)), "another cluster");
        assert!(matches!(one.heard_started(NodeId(3), id, "home"), Step::Wait(_)), "a node that is not named");
        assert!(matches!(one.heard_started(NodeId(2), id, "home"), Step::Start(_)));
    }

    #[test]
    fn no_promise_is_wasted_beside_a_node_that_promised_another_list() {
        let one = Formation::new(blank(1), Plan::Expect { nodes: 3 });
        let wait = one.step(&[sighting(2, Some(&[2, 3, 4])), sighting(3, None)]);
        assert!(matches!(&wait, Step::Wait(why) if why.contains("0000000000000002")), "{wait:?}");
        assert!(matches!(one.step(&[sighting(2, Some(&[1, 2, 3])), sighting(3, None)]), Step::Promise(_)));
    }

    #[test]
    fn one_that_has_started_stands_for_all_that_cannot_be_asked_any_more() {
        let mut one = Formation::new(blank(1), Plan::Expect { nodes: 3 });
        promise(&mut one, &[1, 2, 3]);
        let started = |id, cluster_id| Sighting { cluster_id: Some(cluster_id), ..sighting(id, None) };
        let ours = cluster_id(&[NodeId(1), NodeId(2), NodeId(3)], "home");
        assert!(matches!(one.step(&[started(2, [9; 16])]), Step::Wait(_)), "another cluster");
        assert!(matches!(one.step(&[started(4, ours)]), Step::Wait(_)), "a node that is not named");
        assert!(matches!(one.step(&[started(2, ours)]), Step::Start(_)));
    }

    #[test]
    fn a_promise_under_another_name_does_not_count() {
        let mut one = Formation::new(blank(1), Plan::Peers { addresses: 1 });
        promise(&mut one, &[1, 2]);
        let renamed = Sighting { cluster_name: "garden".into(), ..sighting(2, Some(&[1, 2])) };
        assert!(matches!(one.step(&[renamed]), Step::Wait(_)));
    }

    #[test]
    fn the_name_is_part_of_the_clusters_id() {
        assert_ne!(cluster_id(&[NodeId(1)], "a"), cluster_id(&[NodeId(1)], "b"));
    }
}
