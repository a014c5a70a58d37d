//! What clients saw has an order in which each call takes effect at one moment between its begin and its end; and over all keys, a read
//! sees everything that was acknowledged or read before it was asked.

use check::{Action, Call, History, Verdict as Found};
use raft::Index;

use super::{Property, Verdict};

/// Steps of the search for each key. A search without a verdict is a failure.
const STEPS_MAX: u64 = 300_000;

#[derive(Debug, Default)]
pub struct Linearizability {
    history: History,
    /// The newest index that a client was told of, by writing or by reading.
    floor: Index,
}

impl Linearizability {
    pub fn done(&mut self, call: Call, seen: Action, now: u64) {
        self.history.done(call, seen, now);
    }

    /// Stays open for ever.
    pub fn unknown(&mut self, call: Call) {
        self.history.unknown(call);
    }

    /// A client learned what was there at this index.
    pub fn told(&mut self, index: Index) {
        self.floor = self.floor.max(index);
    }

    pub fn floor(&self) -> Index {
        self.floor
    }

    /// A read is answered from the state at `at`; it was asked when `floor` was known.
    pub fn read(at: Index, floor: Index) -> Verdict {
        Property::Linearizability.holds(at >= floor, || format!("a read at {at} misses what clients knew up to {floor}"))
    }

    pub fn calls(&self) -> usize {
        self.history.operations().len()
    }

    pub fn check(&self) -> Verdict {
        match check::check(&self.history, STEPS_MAX) {
            Found::Ok => Ok(()),
            Found::Violation(why) => Err(Property::Linearizability.broken(why)),
            Found::NoVerdict { key, steps } => {
                Err(Property::Linearizability.broken(format!("no verdict on key {key} after {steps} steps of the search")))
            }
        }
    }
}
