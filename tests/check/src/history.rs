//! What clients asked and were told, in the order of one clock.

use std::collections::{BTreeMap, BTreeSet};

/// What was done, with what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No two writes to a key write the same value, so that a read tells which write it saw.
    Write { value: u64 },
    /// `existed`: whether the answer said that there was such a key; `None` if it did not say.
    Delete { existed: Option<bool> },
    /// `found`: the value; `None` for no such key.
    Read { found: Option<u64> },
    /// A write under a condition, or one whose answer told a revision. `told`: `None` as long as there is no answer.
    Put { value: u64, when: When, told: Option<Told> },
    /// A delete under a condition. `told`: as with `Put`.
    Remove { when: When, told: Option<Told> },
    /// A read whose answer told the revision, too.
    Get { found: Option<Held> },
}

/// What must hold, or nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum When {
    Always,
    Absent,
    /// The key exists with this revision.
    Revision(u64),
}

/// What a `Put` or `Remove` was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was written. `revision`: the one it made, `None` if the answer does not say, as after a `Remove`.
    Done { revision: Option<u64> },
    /// `now`: the revision of the key as it is; `None` for no such key.
    ConditionFalse { now: Option<u64> },
    /// There was nothing to remove.
    Absent,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub value: u64,
    pub revision: u64,
}

/// One operation of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u64,
    pub key: u64,
    pub action: Action,
    /// Of whatever clock the history is taken with; only the order matters. What happens at the same moment counts as concurrent, even at one
    /// client, so a clock that stands still between an answer and the next call hides faults: number the events instead.
    pub called: u64,
    /// `None`: its outcome is unknown.
    pub returned: Option<u64>,
}

/// An operation under way. One that was not executed is dropped.
#[derive(Debug)]
#[must_use = "an operation ends somehow"]
pub struct Call {
    operation: Operation,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
}

impl Call {
    /// A read's or delete's answer is filled in when it returns.
    pub fn new(client: u64, key: u64, action: Action, now: u64) -> Call {
        Call { operation: Operation { client, key, action, called: now, returned: None } }
    }

    pub fn key(&self) -> u64 {
        self.operation.key
    }
}

impl History {
    pub fn new() -> History {
        History::default()
    }

    /// It took effect, and `seen` is the action with what the answer told.
    pub fn done(&mut self, call: Call, seen: Action, now: u64) {
        let mut operation = call.operation;
        assert!(seen.asked() == operation.action.asked(), "{seen:?} answers {operation:?}");
        operation.action = seen;
        operation.returned = Some(now.max(operation.called));
        self.operations.push(operation);
    }

    /// It may have taken effect, now or later. Of a read nothing remains.
    pub fn unknown(&mut self, call: Call) {
        let action = call.operation.action.asked();
        if !matches!(action, Action::Read { .. } | Action::Get { .. }) {
            self.operations.push(Operation { action, ..call.operation });
        }
    }

    /// Takes in what another recorder saw by the same clock.
    pub fn merge(&mut self, other: History) {
        self.operations.extend(other.operations);
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operations on each key, in the order of their calls.
    pub fn by_key(&self) -> BTreeMap<u64, Vec<Operation>> {
        let mut by_key: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
        for operation in &self.operations {
            by_key.entry(operation.key).or_default().push(*operation);
        }
        for operations in by_key.values_mut() {
            operations.sort_by_key(|operation| operation.called);
            assert_values_differ(operations);
            operations.iter().for_each(assert_told_with_the_answer);
        }
        by_key
    }
}

impl Action {
    /// Without what the answer told.
    pub fn asked(self) -> Action {
        match self {
            Action::Write { value } => Action::Write { value },
            Action::Delete { .. } => Action::Delete { existed: None },
            Action::Read { .. } => Action::Read { found: None },
            Action::Put { value, when, .. } => Action::Put { value, when, told: None },
            Action::Remove { when, .. } => Action::Remove { when, told: None },
            Action::Get { .. } => Action::Get { found: None },
        }
    }

    /// The value that it writes, unless the answer says that it did not.
    pub(crate) fn written(self) -> Option<u64> {
        match self {
            Action::Write { value } | Action::Put { value, told: None | Some(Told::Done { .. }), .. } => Some(value),
            _ => None,
        }
    }

    /// The value that it saw.
    pub(crate) fn seen(self) -> Option<u64> {
        match self {
            Action::Read { found } => found,
            Action::Get { found } => found.map(|held| held.value),
            _ => None,
        }
    }
}

fn assert_values_differ(operations: &[Operation]) {
    let mut written = BTreeSet::new();
    for operation in operations {
        if let Some(value) = operation.action.written() {
            assert!(written.insert(value), "value {value} is written twice to key {}: reads of it would prove nothing", operation.key);
        }
    }
}

fn assert_told_with_the_answer(operation: &Operation) {
    if let Action::Put { told, .. } | Action::Remove { told, .. } = operation.action {
        assert!(
            told.is_some() == operation.returned.is_some(),
            "an operation is told what became of it if and only if it returns: {operation:?}"
        );
    }
}

impl From<Vec<Operation>> for History {
    fn from(operations: Vec<Operation>) -> History {
        History { operations }
    }
}
