//! One board: a disk that remembers, and a process that comes and goes.

use std::collections::BTreeMap;

use raft::NodeId;
use replica::{Formation, Plan, Sighting, Step};
use storage::Formation as Record;

use super::{Ledger, Setup};

/// What a node answered counts for this long.
pub const SIGHTING_MAX_TICKS: u64 = 30;

#[derive(Clone, Debug)]
pub struct Board {
    pub setup: Setup,
    disk: Record,
    process: Option<Process>,
    flaw: Option<Flaw>,
}

/// What a crash destroys.
#[derive(Clone, Debug)]
struct Process {
    formation: Formation,
    sightings: BTreeMap<NodeId, (u64, Sighting)>,
    /// On its way to the disk, and the tick of its arrival.
    writing: Option<(u64, Record)>,
    waits: String,
}

/// A mistake made on purpose: checks that let all of these pass check nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A promise is told while its write is under way.
    ToldBeforeDurable,
    /// A node that waits promises again, as if it had not yet.
    SecondPromise,
    /// Promises of a majority are taken for promises of all.
    MajorityIsEnough,
}

impl Board {
    pub fn new(setup: Setup, id: NodeId, flaw: Option<Flaw>) -> Board {
        let disk = Record { node: id, cluster_name: setup.cluster_name.clone(), promised: None, started: None };
        Board { setup, disk, process: None, flaw }
    }

    pub fn id(&self) -> NodeId {
        self.disk.node
    }

    /// What a power cut would leave.
    pub fn disk(&self) -> &Record {
        &self.disk
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// What the board says that it waits for.
    pub fn waits(&self) -> &str {
        self.process.as_ref().map_or("", |process| &process.waits)
    }

    pub fn start(&mut self) {
        let formation = Formation::new(self.disk.clone(), self.setup.plan);
        self.process = Some(Process { formation, sightings: BTreeMap::new(), writing: None, waits: String::new() });
    }

    /// The process is gone; a write under way has reached the disk, or it has not.
    pub fn crash(&mut self, write_survives: bool, ledger: &mut Ledger) -> Result<(), String> {
        let writing = self.process.take().and_then(|process| process.writing);
        match writing {
            Some((_, record)) if write_survives => self.store(record, ledger),
            _ => Ok(()),
        }
    }

    /// A new card: another node on the same board.
    pub fn wipe(&mut self, id: NodeId) {
        *self = Board::new(self.setup.clone(), id, self.flaw);
    }

    pub fn replan(&mut self, plan: Plan, asks: Vec<usize>) {
        self.setup = Setup { plan, asks, ..self.setup.clone() };
    }

    /// What this board says of itself when asked.
    pub fn identify(&self) -> Option<Sighting> {
        let process = self.process.as_ref()?;
        let mut record = process.formation.record();
        if let (Some(Flaw::ToldBeforeDurable), Some((_, writing))) = (self.flaw, &process.writing) {
            record = writing;
        }
        Some(Sighting {
            id: record.node,
            cluster_name: record.cluster_name.clone(),
            cluster_id: record.started.as_ref().map(|started| started.cluster_id),
            promised: record.promised.clone(),
        })
    }

    /// A started node's record: it speaks to all its members.
    pub fn started(&self) -> Option<&Record> {
        let record = self.process.as_ref()?.formation.record();
        record.started.is_some().then_some(record)
    }

    pub fn sees(&mut self, sighting: Sighting, now: u64) {
        if let Some(process) = &mut self.process {
            process.sightings.insert(sighting.id, (now, sighting));
        }
    }

    pub fn hears_started(&mut self, from: NodeId, cluster_id: [u8; 16], cluster_name: &str, write_done: u64) {
        if let Some(process) = &mut self.process {
            let step = process.formation.heard_started(from, cluster_id, cluster_name);
            if matches!(step, Step::Start(_)) {
                process.take(step, write_done);
            }
        }
    }

    /// One tick: a write may be done, then the next step is taken. A write begun now is done at `write_done`.
    pub fn tick(&mut self, now: u64, write_done: u64, ledger: &mut Ledger) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if let Some((_, record)) = process.writing.take_if(|(due, _)| *due <= now) {
            process.formation.written(record.clone());
            return self.store(record, ledger);
        }
        process.sightings.retain(|_, (at, _)| *at + SIGHTING_MAX_TICKS >= now);
        let seen: Vec<Sighting> = process.sightings.values().map(|(_, sighting)| sighting.clone()).collect();
        let step = match self.flaw {
            Some(Flaw::SecondPromise) => process.flawed_second_promise(&seen, self.setup.plan),
            Some(Flaw::MajorityIsEnough) => process.flawed_majority(seen),
            _ => process.formation.step(&seen),
        };
        process.take(step, write_done);
        Ok(())
    }

    fn store(&mut self, record: Record, ledger: &mut Ledger) -> Result<(), String> {
        self.disk = record;
        ledger.stored(&self.disk)
    }
}

impl Process {
    fn take(&mut self, step: Step, write_done: u64) {
        if self.writing.is_some() {
            return;
        }
        match step {
            Step::Promise(promised) => self.writing = Some((write_done, self.formation.with_promise(promised))),
            Step::Start(started) => self.writing = Some((write_done, self.formation.with_start(started))),
            Step::Wait(why) => self.waits = why,
            Step::Formed => self.waits.clear(),
        }
    }

    fn flawed_second_promise(&mut self, seen: &[Sighting], plan: Plan) -> Step {
        let step = self.formation.step(seen);
        if !matches!(step, Step::Wait(_)) {
            return step;
        }
        let forgetful = Formation::new(Record { promised: None, ..self.formation.record().clone() }, plan);
        match forgetful.step(seen) {
            Step::Promise(promised) => {
                self.formation = forgetful;
                Step::Promise(promised)
            }
            _ => step,
        }
    }

    fn flawed_majority(&mut self, mut seen: Vec<Sighting>) -> Step {
        let Some(promised) = self.formation.record().promised.clone() else { return self.formation.step(&seen) };
        let (mut with, without): (Vec<Sighting>, Vec<Sighting>) =
            seen.drain(..).partition(|other| other.promised.as_deref() == Some(&promised[..]));
        if (with.len() + 1) * 2 > promised.len() {
            let name = &self.formation.record().cluster_name;
            with.extend(promised.iter().map(|id| Sighting {
                id: *id,
                cluster_name: name.clone(),
                cluster_id: None,
                promised: Some(promised.clone()),
            }));
        }
        with.extend(without);
        self.formation.step(&with)
    }
}
