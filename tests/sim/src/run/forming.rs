//! A process that belongs to no cluster yet and takes part in forming one.

use std::collections::BTreeMap;

use raft::{
    NodeId,
    planted::{Bug, is_planted},
};
use replica::{Formation, Plan, Sighting, Step};
use storage::Formation as Record;

/// What a node answered counts for this long, in its ticks.
const SIGHTING_MAX_TICKS: u64 = 30;

/// Of the only cluster there is.
const NAME: &str = "home";

#[derive(Debug)]
pub struct Forming {
    formation: Formation,
    sightings: BTreeMap<NodeId, (u64, Sighting)>,
    /// On its way to the disk.
    pub writing: Option<Record>,
    ticks: u64,
}

impl Forming {
    pub fn new(record: Record, nodes: usize) -> Forming {
        Forming { formation: Formation::new(record, Plan::Expect { nodes }), sightings: BTreeMap::new(), writing: None, ticks: 0 }
    }

    /// What it says of itself when asked.
    pub fn identify(&self) -> Sighting {
        let writing = self.writing.as_ref().filter(|_| is_planted(Bug::PromiseNotDurable));
        identify(writing.unwrap_or(self.formation.record()))
    }

    pub fn sees(&mut self, sighting: Sighting) {
        self.sightings.insert(sighting.id, (self.ticks, sighting));
    }

    /// A member of a started cluster speaks to it. What is to be written then, if anything.
    pub fn hears(&mut self, from: NodeId, cluster: [u8; 16]) -> Option<Record> {
        let step = self.formation.heard_started(from, cluster, NAME);
        if matches!(step, Step::Start(_)) { self.take(step) } else { None }
    }

    /// Time passes. What is to be written now, if anything.
    pub fn tick(&mut self) -> Option<Record> {
        self.ticks += 1;
        let now = self.ticks;
        self.sightings.retain(|_, (at, _)| *at + SIGHTING_MAX_TICKS >= now);
        let seen: Vec<Sighting> = self.sightings.values().map(|(_, sighting)| sighting.clone()).collect();
        let step = self.formation.step(&seen);
        self.take(step)
    }

    /// The record is on the disk.
    pub fn written(&mut self) -> Option<Record> {
        let record = self.writing.take()?;
        self.formation.written(record.clone());
        Some(record)
    }

    fn take(&mut self, step: Step) -> Option<Record> {
        if self.writing.is_some() {
            return None;
        }
        self.writing = match step {
            Step::Promise(promised) => Some(self.formation.with_promise(promised)),
            Step::Start(started) => Some(self.formation.with_start(started)),
            Step::Wait(_) | Step::Formed => None,
        };
        self.writing.clone()
    }
}

/// What a record says of its node.
pub fn identify(record: &Record) -> Sighting {
    Sighting {
        id: record.node,
        cluster_name: record.cluster_name.clone(),
        cluster_id: record.started.as_ref().map(|started| started.cluster_id),
        promised: record.promised.clone(),
    }
}
