//! The search for an order: Wing and Gong's algorithm with Lowe's memory of what has failed.
//!
//! Keys are independent, so each is searched by itself ("locality", Herlihy and Wing). The calls and returns of a key stand in one list
//! by time. The search takes any operation whose call stands before the first return, applies it, and takes both its entries
//! out of the list; at a return that is still in the list it has gone wrong and takes back the last step. The memory holds each set of operations
//! taken, with the state they led to: reaching it again by another order cannot end better.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use crate::history::{Action, History, Operation};
use crate::register::{self, State};

/// Enough for some thousand operations of a few dozen clients on one key, within seconds and some hundred MB.
pub const STEPS_MAX: u64 = 1_000_000;

/// Operations shown before the place where the search got stuck.
const EXPLAINED_BEFORE: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// With the key, how far an order was found, and what does not fit behind it.
    Violation(String),
    /// The search was given up on this key; nothing is known. A failure.
    NoVerdict {
        key: u64,
        steps: u64,
    },
}

/// Whether one register per key, at first without a value, explains the history. `steps_max`: for each key.
pub fn check(history: &History, steps_max: u64) -> Verdict {
    for (key, operations) in history.by_key() {
        let operations = without_futile_writes(operations);
        match Search::new(&operations).run(steps_max) {
            Found::Order => {}
            Found::Nothing(stuck) => return Verdict::Violation(explain(key, &operations, &stuck)),
            Found::TooMuch => return Verdict::NoVerdict { key, steps: steps_max },
        }
    }
    Verdict::Ok
}

/// Drops writes of unknown outcome whose value nobody read: with no delete that tells whether it found a value, nothing between such a write and
/// the next tells that it happened, so the history has an order with it if and only if it has one without. Else each of them would double
/// the number of sets to search.
fn without_futile_writes(mut operations: Vec<Operation>) -> Vec<Operation> {
    if operations.iter().any(|operation| matches!(operation.action, Action::Delete { existed: Some(_) })) {
        return operations;
    }
    let read: BTreeSet<u64> = operations
        .iter()
        .filter_map(|operation| match operation.action {
            Action::Read { found } => found,
            _ => None,
        })
        .collect();
    operations.retain(|operation| match operation.action {
        Action::Write { value } => operation.returned.is_some() || read.contains(&value),
        _ => true,
    });
    operations
}

enum Found {
    Order,
    Nothing(Stuck),
    TooMuch,
}

/// The longest order that was found, and the return that it did not reach.
#[derive(Clone, Default)]
struct Stuck {
    order: Vec<usize>,
    at_return_of: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum Entry {
    Call(usize),
    Return(usize),
}

struct Search<'a> {
    operations: &'a [Operation],
    entries: Vec<Entry>,
    /// The list of entries still in place: slot 0 is its head, entry `i` has slot `i + 1`.
    next: Vec<usize>,
    previous: Vec<usize>,
    call_slot: Vec<usize>,
    return_slot: Vec<Option<usize>>,
    returns_left: usize,
    taken: Vec<u64>,
    /// Operations taken, each with the state before it.
    order: Vec<(usize, State)>,
    state: State,
    failed_before: HashSet<(Vec<u64>, State)>,
    stuck: Stuck,
}

const HEAD: usize = 0;

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Search<'a> {
        let mut timed: Vec<(u64, bool, Entry)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            timed.push((operation.called, false, Entry::Call(index)));
            timed.extend(operation.returned.map(|returned| (returned, true, Entry::Return(index))));
        }
        // At the same moment calls come first: then the two operations count as concurrent, which blames nobody wrongly.
        timed.sort_by_key(|(time, is_return, _)| (*time, *is_return));
        let entries: Vec<Entry> = timed.into_iter().map(|(_, _, entry)| entry).collect();
        let slots = entries.len() + 1;
        let mut call_slot = vec![0; operations.len()];
        let mut return_slot = vec![None; operations.len()];
        for (index, entry) in entries.iter().enumerate() {
            match entry {
                Entry::Call(operation) => call_slot[*operation] = index + 1,
                Entry::Return(operation) => return_slot[*operation] = Some(index + 1),
            }
        }
        Search {
            operations,
            next: (0..slots).map(|slot| (slot + 1) % slots).collect(),
            previous: (0..slots).map(|slot| (slot + slots - 1) % slots).collect(),
            returns_left: return_slot.iter().flatten().count(),
            entries,
            call_slot,
            return_slot,
            taken: vec![0; operations.len().div_ceil(64)],
            order: Vec::new(),
            state: None,
            failed_before: HashSet::new(),
            stuck: Stuck::default(),
        }
    }

    fn run(mut self, steps_max: u64) -> Found {
        let mut slot = self.next[HEAD];
        let mut steps = 0;
        while self.returns_left > 0 {
            match self.entries[slot - 1] {
                Entry::Call(operation) => {
                    steps += 1;
                    if steps > steps_max {
                        return Found::TooMuch;
                    }
                    slot = if self.take(operation) { self.next[HEAD] } else { self.next[slot] };
                }
                Entry::Return(operation) => {
                    self.note_stuck(operation);
                    let Some(last) = self.take_back() else { return Found::Nothing(self.stuck) };
                    slot = self.next[self.call_slot[last]];
                }
            }
        }
        Found::Order
    }

    fn take(&mut self, operation: usize) -> bool {
        let Some(after) = register::apply(self.state, self.operations[operation].action) else { return false };
        self.flip(operation);
        if !self.failed_before.insert((self.taken.clone(), after)) {
            self.flip(operation);
            return false;
        }
        self.order.push((operation, self.state));
        self.state = after;
        self.unlink(self.call_slot[operation]);
        if let Some(slot) = self.return_slot[operation] {
            self.unlink(slot);
            self.returns_left -= 1;
        }
        true
    }

    fn take_back(&mut self) -> Option<usize> {
        let (operation, before) = self.order.pop()?;
        self.state = before;
        self.flip(operation);
        // In the opposite order of `take`, so that each finds its neighbours as it left them.
        if let Some(slot) = self.return_slot[operation] {
            self.link(slot);
            self.returns_left += 1;
        }
        self.link(self.call_slot[operation]);
        Some(operation)
    }

    fn flip(&mut self, operation: usize) {
        self.taken[operation / 64] ^= 1 << (operation % 64);
    }

    fn unlink(&mut self, slot: usize) {
        let (previous, next) = (self.previous[slot], self.next[slot]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, slot: usize) {
        let (previous, next) = (self.previous[slot], self.next[slot]);
        self.next[previous] = slot;
        self.previous[next] = slot;
    }

    fn note_stuck(&mut self, at_return_of: usize) {
        if self.stuck.order.is_empty() || self.order.len() > self.stuck.order.len() {
            let order = self.order.iter().map(|(operation, _)| *operation).collect();
            self.stuck = Stuck { order, at_return_of, state: self.state };
        }
    }
}

fn explain(key: u64, operations: &[Operation], stuck: &Stuck) -> String {
    let shown = stuck.order.len().saturating_sub(EXPLAINED_BEFORE);
    let mut lines =
        vec![format!("key {key}: no order explains what clients saw. The longest one found takes {} operations:", stuck.order.len())];
    lines.extend((shown > 0).then(|| format!("  ... {shown} before")));
    lines.extend(stuck.order[shown..].iter().map(|index| format!("  {}", operations[*index])));
    lines.push(format!("then the key holds {}, which does not fit", shown_value(stuck.state)));
    lines.push(format!("  {}", operations[stuck.at_return_of]));
    lines.join("\n")
}

fn shown_value(value: State) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ", self.client)?;
        match self.action {
            Action::Write { value } => write!(f, "wrote {value}")?,
            Action::Delete { existed: Some(false) } => write!(f, "deleted, told that there was nothing")?,
            Action::Delete { .. } => write!(f, "deleted")?,
            Action::Read { found } => write!(f, "read {}", shown_value(found))?,
        }
        match self.returned {
            Some(returned) => write!(f, " between {} and {returned}", self.called),
            None => write!(f, " after {}, outcome unknown", self.called),
        }
    }
}
