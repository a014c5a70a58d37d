//! What clients saw has an order in which each call takes effect at one moment between its begin and its end.

use check::{Action, Call, History, Verdict as Found};

use super::{Property, Verdict};

/// Steps of the search for each key. A search without a verdict is a failure.
const STEPS_MAX: u64 = 300_000;

#[derive(Debug, Default)]
pub struct Linearizability {
    history: History,
}

impl Linearizability {
    pub fn done(&mut self, call: Call, seen: Action, now: u64) {
        self.history.done(call, seen, now);
    }

    /// Stays open for ever.
    pub fn unknown(&mut self, call: Call) {
        self.history.unknown(call);
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
