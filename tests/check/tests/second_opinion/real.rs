//! A register that executes operations, one at a time, and can be told to do one of them wrong.

use check::{Action, Held, Told, When};

#[derive(Default)]
pub struct Real {
    now: Option<Held>,
    /// Before the last change.
    earlier: Option<Held>,
    /// Of the last operation; what it writes has this revision.
    index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write is answered as ever but changes nothing.
    LostWrite,
    /// A read sees what was there before the last change.
    StaleRead,
    /// A condition is weighed against what was there before the last change.
    StaleCondition,
}

impl Real {
    /// With the full answer, and whether the fault could be applied to such an operation.
    pub fn execute(&mut self, asked: Action, fault: Option<Fault>) -> (Action, bool) {
        self.index += 1;
        let fault = fault.filter(|fault| fault.befalls(asked));
        let sees = match fault {
            Some(Fault::StaleRead | Fault::StaleCondition) => self.earlier,
            _ => self.now,
        };
        let (seen, after) = self.outcome(asked, sees);
        if let Some(after) = after.filter(|_| fault != Some(Fault::LostWrite)) {
            self.earlier = self.now;
            self.now = after;
        }
        (seen, fault.is_some())
    }

    /// The answer, and what the key holds after it if that changes.
    fn outcome(&self, asked: Action, now: Option<Held>) -> (Action, Option<Option<Held>>) {
        let written = |value| Some(Some(Held { value, revision: self.index }));
        let refused = Some(Told::ConditionFalse { now: now.map(|held| held.revision) });
        match asked {
            Action::Write { value } => (asked, written(value)),
            Action::Delete { .. } => (Action::Delete { existed: Some(now.is_some()) }, Some(None)),
            Action::Read { .. } => (Action::Read { found: now.map(|held| held.value) }, None),
            Action::Get { .. } => (Action::Get { found: now }, None),
            Action::Put { value, when, .. } if holds(when, now) => {
                (Action::Put { value, when, told: Some(Told::Done { revision: Some(self.index) }) }, written(value))
            }
            Action::Put { value, when, .. } => (Action::Put { value, when, told: refused }, None),
            Action::Remove { when, .. } if !holds(when, now) => (Action::Remove { when, told: refused }, None),
            Action::Remove { when, .. } if now.is_none() => (Action::Remove { when, told: Some(Told::Absent) }, None),
            Action::Remove { when, .. } => (Action::Remove { when, told: Some(Told::Done { revision: None }) }, Some(None)),
        }
    }
}

impl Fault {
    fn befalls(self, asked: Action) -> bool {
        match (self, asked) {
            (Fault::LostWrite, Action::Write { .. } | Action::Put { .. }) => true,
            (Fault::StaleRead, Action::Read { .. } | Action::Get { .. }) => true,
            (Fault::StaleCondition, Action::Put { when, .. } | Action::Remove { when, .. }) => when != When::Always,
            _ => false,
        }
    }
}

fn holds(when: When, now: Option<Held>) -> bool {
    match when {
        When::Always => true,
        When::Absent => now.is_none(),
        When::Revision(revision) => now.is_some_and(|held| held.revision == revision),
    }
}
