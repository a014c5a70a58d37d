//! What one key does: it holds a value with a revision, or nothing.
//!
//! A revision is known only once an answer tells it; until then it is some number above all that are known. Invariants:
//! - revisions of a key only rise, also over a delete;
//! - every answer that depends on a revision tells which one it is, so there is never more than one state to follow.

use std::collections::HashMap;

use crate::history::{Action, Operation, Told, When};

/// Which value has which revision, as far as any answer of a history tells. It only saves trying what could not end well.
#[derive(Debug, Default)]
pub struct Facts {
    revisions: HashMap<u64, u64>,
    values: HashMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub value: Option<u64>,
    /// The highest that is known; 0 before the first.
    revision: u64,
    /// Whether `revision` is the value's own.
    told: bool,
}

/// The state after `action`, or `None` if its answer is impossible in `state`. Without an answer it takes effect, and is impossible where its
/// condition fails: an operation that changes nothing need not be in the order.
pub fn apply(state: State, action: Action, facts: &Facts) -> Option<State> {
    match action {
        Action::Write { value } => state.written(value, None, facts),
        Action::Delete { existed } => existed.is_none_or(|existed| existed == state.value.is_some()).then_some(state.emptied()),
        Action::Read { found } => (found == state.value).then_some(state),
        Action::Get { found: None } => state.value.is_none().then_some(state),
        Action::Get { found: Some(held) } => state.at(held.revision, facts).filter(|state| state.value == Some(held.value)),
        Action::Put { value, when, told } => match told {
            None => state.fulfilling(when, facts)?.written(value, None, facts),
            Some(Told::Done { revision }) => state.fulfilling(when, facts)?.written(value, revision, facts),
            Some(Told::ConditionFalse { now }) => state.refusing(when, now, facts),
            Some(Told::Absent) => None,
        },
        Action::Remove { when, told } => match told {
            None => Some(state.fulfilling(when, facts)?.emptied()),
            Some(Told::Done { .. }) => state.fulfilling(when, facts).filter(|state| state.value.is_some()).map(State::emptied),
            Some(Told::ConditionFalse { now }) => state.refusing(when, now, facts),
            Some(Told::Absent) => state.fulfilling(when, facts).filter(|state| state.value.is_none()),
        },
    }
}

impl Facts {
    pub fn of(operations: &[Operation]) -> Facts {
        let mut facts = Facts::default();
        for operation in operations {
            let told = match operation.action {
                Action::Get { found: Some(held) } => Some((held.value, held.revision)),
                Action::Put { value, told: Some(Told::Done { revision: Some(revision) }), .. } => Some((value, revision)),
                _ => None,
            };
            if let Some((value, revision)) = told {
                facts.revisions.insert(value, revision);
                facts.values.insert(revision, value);
            }
        }
        facts
    }
}

impl State {
    /// The value's revision, as far as known.
    pub fn revision(&self) -> Option<u64> {
        (self.value.is_some() && self.told).then_some(self.revision)
    }

    fn written(self, value: u64, revision: Option<u64>, facts: &Facts) -> Option<State> {
        let unknown = State { value: Some(value), told: false, ..self };
        match revision.or_else(|| facts.revisions.get(&value).copied()) {
            None => Some(unknown),
            Some(revision) => unknown.at(revision, facts),
        }
    }

    fn emptied(self) -> State {
        State { value: None, told: false, ..self }
    }

    /// The same, with the word that the value has this revision.
    fn at(self, revision: u64, facts: &Facts) -> Option<State> {
        let value = self.value?;
        let possible = if self.told {
            revision == self.revision
        } else {
            revision > self.revision && facts.values.get(&revision).is_none_or(|owner| *owner == value)
        };
        possible.then_some(State { revision, told: true, ..self })
    }

    fn fulfilling(self, when: When, facts: &Facts) -> Option<State> {
        match when {
            When::Always => Some(self),
            When::Absent => self.value.is_none().then_some(self),
            When::Revision(revision) => self.at(revision, facts),
        }
    }

    fn refusing(self, when: When, now: Option<u64>, facts: &Facts) -> Option<State> {
        match (when, now) {
            (When::Always, _) | (When::Absent, None) => None,
            (When::Revision(_), None) => self.value.is_none().then_some(self),
            (When::Revision(revision), Some(now)) if revision == now => None,
            (When::Absent | When::Revision(_), Some(now)) => self.at(now, facts),
        }
    }
}
