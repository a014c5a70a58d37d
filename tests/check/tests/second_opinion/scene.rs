//! A few clients and one key: who calls what, when it takes effect, and what each is answered.
//!
//! Invariants:
//! - a client has one operation at a time; after one of unknown outcome it goes on under a new number;
//! - a client's next call is later than its last answer, other moments may coincide;
//! - what was executed by a sound register is never spoilt afterwards without saying so.

use check::{Action, Held, Operation, Told, When};

use crate::real::{Fault, Real};
use crate::rng::Rng;

/// Revisions, and values put into a read, are made up below this.
const INVENTED_MAX: u64 = 8;

/// Where the answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Sound,
    /// A register that does one operation wrong.
    Faulty(Fault),
    /// A sound register; then one read is given another value.
    SwappedRead,
    /// A sound register; then two operations are exchanged in time, with their answers.
    Reordered,
    Invented,
}

/// How many clients call how many operations.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub clients_max: u64,
    pub operations_min: u64,
    pub operations_max: u64,
}

pub struct Scene {
    pub operations: Vec<Operation>,
    /// Whether what the source does wrong was done.
    pub spoilt: bool,
}

impl Scene {
    pub fn play(mut rng: Rng, size: Size, source: Source) -> Scene {
        let clients = 1 + rng.below(size.clients_max);
        let number = size.operations_min + rng.below(size.operations_max - size.operations_min + 1);
        let mut stage = Stage {
            source,
            spoils: rng.below(number),
            conditional: rng.percent(60),
            started: 0,
            number,
            executed: 0,
            next_client: clients,
            clock: 0,
            real: Real::default(),
            told_revisions: vec![1 + rng.below(INVENTED_MAX)],
            abandoned: Vec::new(),
            clients: (0..clients).map(|number| Client { number, last_return: 0, running: None }).collect(),
            scene: Scene { operations: Vec::new(), spoilt: source == Source::Invented },
            rng,
        };
        while stage.started < number || stage.clients.iter().any(|client| client.running.is_some()) {
            stage.step();
        }
        let (mut scene, mut rng) = (stage.scene, stage.rng);
        match source {
            Source::SwappedRead => scene.swap_read(&mut rng),
            Source::Reordered => scene.reorder(&mut rng),
            Source::Sound | Source::Faulty(_) | Source::Invented => {}
        }
        scene
    }

    fn swap_read(&mut self, rng: &mut Rng) {
        let operations = &mut self.operations;
        let reads: Vec<usize> =
            (0..operations.len()).filter(|index| matches!(operations[*index].action, Action::Read { .. } | Action::Get { .. })).collect();
        if reads.is_empty() {
            return;
        }
        let action = &mut operations[rng.one_of(&reads)].action;
        let before = *action;
        let (value, revision) = (1 + rng.below(INVENTED_MAX), 1 + rng.below(INVENTED_MAX));
        match action {
            Action::Read { found } => *found = rng.one_of(&[None, Some(value)]),
            Action::Get { found } => {
                let same = found.map_or(revision, |held| held.revision);
                *found = rng.one_of(&[None, Some(Held { value, revision: same }), Some(Held { value, revision })]);
            }
            other => unreachable!("no read: {other:?}"),
        }
        self.spoilt = *action != before;
    }

    fn reorder(&mut self, rng: &mut Rng) {
        let done: Vec<usize> = (0..self.operations.len()).filter(|index| self.operations[*index].returned.is_some()).collect();
        if done.is_empty() {
            return;
        }
        let (one, other) = (rng.one_of(&done), rng.one_of(&done));
        let (first, second) = (self.operations[one].action, self.operations[other].action);
        self.operations[one].action = second;
        self.operations[other].action = first;
        self.spoilt = one != other;
    }
}

struct Stage {
    source: Source,
    /// Which operation to execute is done wrong.
    spoils: u64,
    conditional: bool,
    started: u64,
    number: u64,
    executed: u64,
    next_client: u64,
    clock: u64,
    real: Real,
    told_revisions: Vec<u64>,
    /// Of unknown outcome, and not executed yet.
    abandoned: Vec<Action>,
    clients: Vec<Client>,
    scene: Scene,
    rng: Rng,
}

struct Client {
    number: u64,
    last_return: u64,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    asked: Action,
    called: u64,
    seen: Option<Action>,
}

impl Stage {
    fn step(&mut self) {
        if !self.abandoned.is_empty() && self.rng.percent(20) {
            let which = self.rng.below(self.abandoned.len() as u64) as usize;
            let asked = self.abandoned.swap_remove(which);
            self.execute(asked);
        }
        self.clock += self.rng.below(4).min(1);
        let index = self.rng.below(self.clients.len() as u64) as usize;
        let Some(running) = self.clients[index].running else {
            if self.started < self.number {
                self.call(index);
            }
            return;
        };
        let may_be_abandoned = !matches!(running.asked, Action::Read { .. } | Action::Get { .. });
        if may_be_abandoned && self.rng.percent(10) {
            self.abandon(index, running);
            return;
        }
        match running.seen {
            None => {
                let seen = self.execute(running.asked);
                self.clients[index].running = Some(Running { seen: Some(seen), ..running });
            }
            Some(seen) => self.answer(index, running, seen),
        }
    }

    fn call(&mut self, index: usize) {
        self.started += 1;
        let asked = self.ask();
        let client = &mut self.clients[index];
        self.clock = self.clock.max(client.last_return + 1);
        client.running = Some(Running { asked, called: self.clock, seen: None });
    }

    fn abandon(&mut self, index: usize, running: Running) {
        self.keep(self.clients[index].number, running.asked, running.called, None);
        if running.seen.is_none() {
            self.abandoned.push(running.asked);
        }
        self.clients[index] = Client { number: self.next_client, last_return: 0, running: None };
        self.next_client += 1;
    }

    fn answer(&mut self, index: usize, running: Running, seen: Action) {
        let seen = self.less_told(seen);
        match seen {
            Action::Get { found: Some(Held { revision, .. }) }
            | Action::Put { told: Some(Told::Done { revision: Some(revision) } | Told::ConditionFalse { now: Some(revision) }), .. }
            | Action::Remove { told: Some(Told::ConditionFalse { now: Some(revision) }), .. } => self.told_revisions.push(revision),
            _ => {}
        }
        self.keep(self.clients[index].number, seen, running.called, Some(self.clock));
        let client = &mut self.clients[index];
        client.last_return = self.clock;
        client.running = None;
    }

    fn keep(&mut self, client: u64, action: Action, called: u64, returned: Option<u64>) {
        self.scene.operations.push(Operation { client, key: 1, action, called, returned });
    }

    fn execute(&mut self, asked: Action) -> Action {
        let fault = match self.source {
            Source::Invented => return self.invent(asked),
            Source::Faulty(fault) => Some(fault).filter(|_| self.executed >= self.spoils && !self.scene.spoilt),
            Source::Sound | Source::SwappedRead | Source::Reordered => None,
        };
        self.executed += 1;
        let (seen, spoilt) = self.real.execute(asked, fault);
        self.scene.spoilt |= spoilt;
        seen
    }

    /// Not every answer says all that could be said.
    fn less_told(&mut self, seen: Action) -> Action {
        match seen {
            Action::Delete { .. } if self.rng.percent(40) => Action::Delete { existed: None },
            Action::Put { value, when, told: Some(Told::Done { .. }) } if self.rng.percent(25) => {
                Action::Put { value, when, told: Some(Told::Done { revision: None }) }
            }
            all => all,
        }
    }

    fn ask(&mut self) -> Action {
        let value = self.started;
        let plain = [Action::Write { value }, Action::Write { value }, Action::Read { found: None }, Action::Read { found: None }];
        if !self.conditional {
            return if self.rng.percent(12) { Action::Delete { existed: None } } else { self.rng.one_of(&plain) };
        }
        let when = match self.rng.below(5) {
            0 => When::Always,
            1 | 2 => When::Absent,
            _ => When::Revision(self.rng.one_of(&self.told_revisions)),
        };
        match self.rng.below(10) {
            0..=1 => self.rng.one_of(&plain),
            2 => Action::Delete { existed: None },
            3..=6 => Action::Put { value, when, told: None },
            7 => Action::Remove { when, told: None },
            _ => Action::Get { found: None },
        }
    }

    fn invent(&mut self, asked: Action) -> Action {
        let rng = &mut self.rng;
        let value = 1 + rng.below(self.started);
        let revision = 1 + rng.below(self.started);
        let refused = Told::ConditionFalse { now: rng.one_of(&[None, Some(revision), Some(revision)]) };
        match asked {
            Action::Write { .. } => asked,
            Action::Delete { .. } => Action::Delete { existed: Some(rng.percent(50)) },
            Action::Read { .. } => Action::Read { found: rng.one_of(&[None, Some(value), Some(value)]) },
            Action::Get { .. } => Action::Get { found: rng.one_of(&[None, Some(Held { value, revision })]) },
            Action::Put { value, when, .. } => {
                let done = Told::Done { revision: Some(revision) };
                Action::Put { value, when, told: Some(rng.one_of(&[done, done, refused])) }
            }
            Action::Remove { when, .. } => {
                Action::Remove { when, told: Some(rng.one_of(&[Told::Done { revision: None }, refused, Told::Absent])) }
            }
        }
    }
}
