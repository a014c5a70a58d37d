//! The network between boards: what is lost, late, doubled, overtaken, or cut.

use raft::Envelope;
use replica::Sighting;

use super::{
    board::place,
    fault::{Acts, Fault},
    plan::{Plan, TICK},
};
use crate::Rng;

/// An undisturbed message takes at most this long.
const DELAY_MAX: u64 = 2 * TICK;
const LATE_PERMILLE: u64 = 100;

#[derive(Debug)]
pub struct Network {
    rng: Rng,
    boards: usize,
    /// `from * boards + to`: nothing passes.
    cuts: Vec<bool>,
    /// When the last message of a link arrives: the next one comes no earlier, as on a stream.
    last_due: Vec<u64>,
    disturbed: bool,
}

/// What boards say to each other.
#[derive(Clone, Debug)]
pub enum Letter {
    Raft(Box<Envelope>, [u8; 16]),
    WhoAreYou { from: usize },
    IAm(Box<Sighting>),
}

/// When a message arrives: not at all, once, or twice.
pub type Fates = [Option<u64>; 2];

impl Network {
    pub fn new(seed: u64, boards: usize) -> Network {
        Network { rng: Rng::new(seed), boards, cuts: vec![false; boards * boards], last_due: vec![0; boards * boards], disturbed: true }
    }

    /// From now on every message arrives, in order.
    pub fn heal(&mut self) {
        self.cuts.fill(false);
        self.disturbed = false;
    }

    pub fn reconnect_all(&mut self) {
        self.cuts.fill(false);
    }

    pub fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        self.cuts[from * self.boards + to] = cut;
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.boards + to]
    }

    pub fn fates(&mut self, from: usize, to: usize, now: u64, plan: &Plan, acts: &mut Acts) -> Fates {
        let link = from * self.boards + to;
        if self.cuts[link] {
            return [None, None];
        }
        let disturbed = self.disturbed;
        let draw = self.rng.draw();
        if disturbed && plan.has(Fault::Drop) && draw % 1000 < plan.drop {
            acts.note(Fault::Drop);
            return [None, None];
        }
        let mut due = now + 50 + (draw >> 10) % DELAY_MAX;
        if disturbed && plan.has(Fault::Delay) && (draw >> 20) % 1000 < LATE_PERMILLE {
            acts.note(Fault::Delay);
            due += self.rng.between(TICK, plan.delay_max);
        }
        if disturbed && plan.has(Fault::Reorder) {
            if due < self.last_due[link] {
                acts.note(Fault::Reorder);
            }
        } else {
            due = due.max(self.last_due[link] + 1);
        }
        self.last_due[link] = self.last_due[link].max(due);
        let doubled = disturbed && plan.has(Fault::Duplicate) && (draw >> 40) % 1000 < plan.duplicate;
        if doubled {
            acts.note(Fault::Duplicate);
        }
        [Some(due), doubled.then(|| due + self.rng.between(1, plan.delay_max))]
    }
}

pub fn ends(envelope: &Envelope) -> (usize, usize) {
    (place(envelope.from), place(envelope.to))
}
