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
}

/// One operation of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: u64,
    pub key: u64,
    pub action: Action,
    /// Of whatever clock the history is taken with; only the order matters.
    pub called: u64,
    /// `None`: its outcome is unknown.
    pub returned: Option<u64>,
}

/// An operation under way.
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
        assert!(std::mem::discriminant(&seen) == std::mem::discriminant(&operation.action), "{seen:?} answers {operation:?}");
        operation.action = seen;
        operation.returned = Some(now.max(operation.called));
        self.operations.push(operation);
    }

    /// It may have taken effect, now or later. Of a read nothing remains.
    pub fn unknown(&mut self, call: Call) {
        if !matches!(call.operation.action, Action::Read { .. }) {
            self.operations.push(call.operation);
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
        }
        by_key
    }
}

fn assert_values_differ(operations: &[Operation]) {
    let mut written = BTreeSet::new();
    for operation in operations {
        if let Action::Write { value } = operation.action {
            assert!(written.insert(value), "value {value} is written twice to key {}: reads of it would prove nothing", operation.key);
        }
    }
}

impl From<Vec<Operation>> for History {
    fn from(operations: Vec<Operation>) -> History {
        History { operations }
    }
}
