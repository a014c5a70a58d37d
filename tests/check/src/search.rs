//! The search for an order: Wing and Gong's algorithm with Lowe's memory of what has failed.
//!
//! Keys are independent, so each is searched by itself ("locality", Herlihy and Wing). The calls and returns of a key stand in one list
//! by time. The search takes any operation whose call stands before the first return, applies it, and takes both its entries
//! out of the list; at a return that is still in the list it has gone wrong and takes back the last step. The memory holds each set of operations
//! taken, with the state they led to: reaching it again by another order cannot end better.
//!
//! Operations that overlap much, above all those of unknown outcome, could each double the number of sets. What keeps them few, without a change
//! to any verdict:
//! - a write whose value was read happened before that read returned, so it ends there at the latest;
//! - a value is not overwritten while reads of it are still to come, as it will not come back;
//! - a write of unknown outcome that nobody could have noticed is left out;
//! - those that may be left out are tried last, and nothing is tried again that has spent more of them to get to the same place;
//! - of two that do the same, and whose values nobody read, the one called first is taken first unless it may end later: an order that takes them
//!   otherwise still stands with the two exchanged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::history::{Action, History, Operation, Told, When};
use crate::register::{self, Facts, State};

/// States that the search may reach on one key: enough for some thousand reads and writes of a few dozen clients, within seconds and some hundred MB.
/// With conditions and revisions, a violation behind some hundred operations of which one in ten has an unknown outcome may stay without a verdict.
pub const STEPS_MAX: u64 = 1_000_000;

/// Spent on a better explanation of a violation that is certain.
const EXPLANATION_STEPS_MAX: u64 = 100_000;

/// Remembered for each place that the search has reached; beyond it may do work twice, which counts as steps.
const SPENT_MAX: usize = 1_000;

/// Operations shown before the place where the search got stuck.
const EXPLAINED_BEFORE: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a violation or a missing verdict is a failure"]
pub enum Verdict {
    Ok,
    /// With the key, how far an order was found, and what does not fit behind it.
    Violation(String),
    /// The search was given up on this key and found no violation on any other; nothing is known. A failure.
    NoVerdict {
        key: u64,
        steps: u64,
    },
}

impl Verdict {
    /// `Err` also if there is no verdict.
    pub fn accepted(self) -> Result<(), String> {
        match self {
            Verdict::Ok => Ok(()),
            Verdict::Violation(explanation) => Err(explanation),
            Verdict::NoVerdict { key, steps } => Err(format!("key {key}: no verdict after {steps} steps")),
        }
    }
}

/// Whether one register per key, at first without a value, explains the history. `steps_max`: for each key.
pub fn check(history: &History, steps_max: u64) -> Verdict {
    let mut verdict = Verdict::Ok;
    for (key, operations) in history.by_key() {
        if let Some(explanation) = read_of_what_was_not_written(key, &operations) {
            return Verdict::Violation(explanation);
        }
        let operations = without_unnoticed_writes(operations);
        match Search::new(&operations).run(steps_max) {
            Found::Order => {}
            Found::Nothing(stuck) => {
                let stuck = stuck_without_foresight(&operations, steps_max).unwrap_or(stuck);
                return Verdict::Violation(explain(key, &operations, &stuck));
            }
            Found::TooMuch if verdict == Verdict::Ok => verdict = Verdict::NoVerdict { key, steps: steps_max },
            Found::TooMuch => {}
        }
    }
    verdict
}

/// A search that does not look ahead gets further before it is stuck: at the read that does not fit, rather than at the write that would make it so.
/// It takes longer, so there may be no answer.
fn stuck_without_foresight(operations: &[Operation], steps_max: u64) -> Option<Stuck> {
    match Search::without_foresight(operations).run(steps_max.min(EXPLANATION_STEPS_MAX)) {
        Found::Nothing(stuck) => Some(stuck),
        Found::TooMuch => None,
        Found::Order => panic!("two searches disagree on {operations:?}"),
    }
}

/// No search is needed to find these, and it could be long.
fn read_of_what_was_not_written(key: u64, operations: &[Operation]) -> Option<String> {
    let written_from: BTreeMap<u64, u64> =
        operations.iter().filter_map(|operation| Some((operation.action.written()?, operation.called))).collect();
    operations.iter().find_map(|operation| {
        let (value, returned) = (operation.action.seen()?, operation.returned?);
        let why = match written_from.get(&value) {
            None => "nobody wrote",
            Some(called) if *called > returned => "was written only later",
            Some(_) => return None,
        };
        Some(format!("key {key}: {operation}, which {why}"))
    })
}

/// Drops writes of unknown outcome whose value nobody read, if no other operation depends on whether the key exists or which revision it has: then
/// nothing between such a write and the next tells that it happened, so the history has an order with it if and only if it has one without.
fn without_unnoticed_writes(mut operations: Vec<Operation>) -> Vec<Operation> {
    let notices = |operation: &Operation| match operation.action {
        Action::Delete { existed } => existed.is_some(),
        Action::Put { when, told, .. } => when != When::Always || matches!(told, Some(Told::ConditionFalse { .. } | Told::Absent)),
        Action::Remove { when, told } => when != When::Always || told.is_some(),
        Action::Write { .. } | Action::Read { .. } | Action::Get { .. } => false,
    };
    if operations.iter().any(notices) {
        return operations;
    }
    let read: BTreeSet<u64> = operations.iter().filter_map(|operation| operation.action.seen()).collect();
    operations.retain(|operation| operation.returned.is_some() || operation.action.written().is_none_or(|value| read.contains(&value)));
    operations
}

/// When the first read of each value returned.
fn first_reads(operations: &[Operation]) -> BTreeMap<u64, u64> {
    let mut first: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in operations {
        if let (Some(value), Some(returned)) = (operation.action.seen(), operation.returned) {
            first.entry(value).and_modify(|first| *first = returned.min(*first)).or_insert(returned);
        }
    }
    first
}

/// For each operation, by when it must have taken effect; `None` if it may never.
fn deadlines(operations: &[Operation], first_reads: &BTreeMap<u64, u64>) -> Vec<Option<u64>> {
    let read = |operation: &Operation| operation.action.written().and_then(|value| first_reads.get(&value).copied());
    operations.iter().map(|operation| [operation.returned, read(operation)].into_iter().flatten().min()).collect()
}

/// For each operation, the last one before it that does the same and must end no later.
fn alike_before(operations: &[Operation], first_reads: &BTreeMap<u64, u64>, deadlines: &[Option<u64>]) -> Vec<Option<usize>> {
    let end = |index: usize| deadlines[index].unwrap_or(u64::MAX);
    let mut alike: BTreeMap<(bool, When), Vec<usize>> = BTreeMap::new();
    let mut before = vec![None; operations.len()];
    for (index, operation) in operations.iter().enumerate() {
        let does = match operation.action {
            Action::Write { .. } => (true, When::Always),
            Action::Put { when, told: None | Some(Told::Done { revision: None }), .. } => (true, when),
            Action::Delete { existed: None } => (false, When::Always),
            Action::Remove { when, told: None } => (false, when),
            _ => continue,
        };
        if operation.action.written().is_some_and(|value| first_reads.contains_key(&value)) {
            continue;
        }
        let alike = alike.entry(does).or_default();
        before[index] = alike.iter().rev().copied().find(|other| end(*other) <= end(index));
        alike.push(index);
    }
    before
}

/// How many reads each value has.
fn reads(operations: &[Operation]) -> HashMap<u64, usize> {
    let mut reads = HashMap::new();
    for operation in operations.iter().filter(|operation| operation.returned.is_some()) {
        if let Some(value) = operation.action.seen() {
            *reads.entry(value).or_default() += 1;
        }
    }
    reads
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

#[derive(PartialEq, Eq, Hash)]
struct Reached {
    ended: Box<[u64]>,
    is_read: bool,
    state: State,
}

struct Search<'a> {
    operations: &'a [Operation],
    entries: Vec<Entry>,
    /// The list of entries still in place: slot 0 is its head, entry `i` has slot `i + 1`.
    next: Vec<usize>,
    previous: Vec<usize>,
    call_slot: Vec<usize>,
    /// None: it may be left out.
    return_slot: Vec<Option<usize>>,
    returns_left: usize,
    alike_before: Vec<Option<usize>>,
    /// Reads of each value that are not taken yet; none if the search does not look ahead.
    reads_left: HashMap<u64, usize>,
    /// Where in `taken` an operation has its bit. Those without a deadline come first, in words of their own, as they may stay untaken long after
    /// everything around them is done.
    bit: Vec<usize>,
    open_words: usize,
    taken: Vec<u64>,
    /// Operations taken, each with the state before it.
    order: Vec<(usize, State)>,
    state: State,
    facts: Facts,
    first_reads: BTreeMap<u64, u64>,
    /// By what was taken of operations with a deadline, and the state: those without a deadline that had been spent on it.
    failed_before: HashMap<Reached, Vec<Box<[u64]>>>,
    steps: u64,
    stuck: Stuck,
}

const HEAD: usize = 0;
const WORD_BITS: usize = 64;

impl<'a> Search<'a> {
    fn without_foresight(operations: &'a [Operation]) -> Search<'a> {
        Search { reads_left: HashMap::new(), ..Search::new(operations) }
    }

    fn new(operations: &'a [Operation]) -> Search<'a> {
        let first_reads = first_reads(operations);
        let deadlines = deadlines(operations, &first_reads);
        let alike_before = alike_before(operations, &first_reads, &deadlines);
        let mut timed: Vec<(u64, bool, Entry)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            timed.push((operation.called, false, Entry::Call(index)));
            timed.extend(deadlines[index].map(|deadline| (deadline, true, Entry::Return(index))));
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
        let open_words = deadlines.iter().filter(|deadline| deadline.is_none()).count().div_ceil(WORD_BITS);
        let (mut next_open, mut next_ended) = (0, open_words * WORD_BITS);
        let place = |deadline: &Option<u64>| {
            let next = if deadline.is_none() { &mut next_open } else { &mut next_ended };
            *next += 1;
            *next - 1
        };
        let bit = deadlines.iter().map(place).collect();
        Search {
            operations,
            next: (0..slots).map(|slot| (slot + 1) % slots).collect(),
            previous: (0..slots).map(|slot| (slot + slots - 1) % slots).collect(),
            returns_left: return_slot.iter().flatten().count(),
            entries,
            call_slot,
            return_slot,
            alike_before,
            reads_left: reads(operations),
            bit,
            open_words,
            taken: vec![0; next_ended.div_ceil(WORD_BITS)],
            order: Vec::new(),
            state: State::default(),
            facts: Facts::of(operations),
            first_reads,
            failed_before: HashMap::new(),
            steps: 0,
            stuck: Stuck::default(),
        }
    }

    fn run(mut self, steps_max: u64) -> Found {
        self.is_new(self.state);
        let mut slot = self.next[HEAD];
        // First those that must be taken, then those that may.
        let mut open = false;
        while self.returns_left > 0 {
            match self.entries[slot - 1] {
                Entry::Call(operation) => {
                    if self.steps > steps_max {
                        return Found::TooMuch;
                    }
                    if self.return_slot[operation].is_none() == open && self.take(operation) {
                        (slot, open) = (self.next[HEAD], false);
                    } else {
                        slot = self.next[slot];
                    }
                }
                Entry::Return(_) if !open => (slot, open) = (self.next[HEAD], true),
                Entry::Return(operation) => {
                    self.note_stuck(operation);
                    let Some(last) = self.take_back() else { return Found::Nothing(self.stuck) };
                    (slot, open) = (self.next[self.call_slot[last]], self.return_slot[last].is_none());
                }
            }
        }
        Found::Order
    }

    fn take(&mut self, operation: usize) -> bool {
        if self.alike_before[operation].is_some_and(|before| !self.is_taken(before)) {
            return false;
        }
        let Some(after) = register::apply(self.state, self.operations[operation].action, &self.facts) else { return false };
        if after.value != self.state.value && self.is_still_to_be_read() {
            return false;
        }
        self.flip(operation);
        if !self.is_new(after) {
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
        if let Some(left) = self.reads_left_of(operation) {
            *left -= 1;
        }
        true
    }

    fn take_back(&mut self) -> Option<usize> {
        let (operation, before) = self.order.pop()?;
        if let Some(left) = self.reads_left_of(operation) {
            *left += 1;
        }
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

    fn is_still_to_be_read(&self) -> bool {
        self.state.value.and_then(|value| self.reads_left.get(&value)).is_some_and(|left| *left > 0)
    }

    fn reads_left_of(&mut self, operation: usize) -> Option<&mut usize> {
        let Operation { action, returned, .. } = self.operations[operation];
        returned.and(action.seen()).and_then(|value| self.reads_left.get_mut(&value))
    }

    fn is_taken(&self, operation: usize) -> bool {
        let bit = self.bit[operation];
        self.taken[bit / WORD_BITS] >> (bit % WORD_BITS) & 1 == 1
    }

    fn flip(&mut self, operation: usize) {
        let bit = self.bit[operation];
        self.taken[bit / WORD_BITS] ^= 1 << (bit % WORD_BITS);
    }

    /// Whether nothing that had spent the same or less has come this far. What has cannot have ended well; a value that nobody reads is as good
    /// as any other.
    fn is_new(&mut self, mut state: State) -> bool {
        self.steps += 1;
        let is_read = state.value.is_some_and(|value| self.first_reads.contains_key(&value));
        state.value = state.value.map(|value| if is_read { value } else { 0 });
        let reached = Reached { ended: self.ended_in_short(), is_read, state };
        let spent = &self.taken[..self.open_words];
        let failed = self.failed_before.entry(reached).or_default();
        if failed.iter().any(|less| less.iter().zip(spent).all(|(less, spent)| less & !spent == 0)) {
            return false;
        }
        if failed.len() < SPENT_MAX {
            failed.push(spent.into());
        }
        true
    }

    /// Operations are taken in nearly the order of their calls: all up to some place, few behind it. The number of full words stands for them, and
    /// the empty ones at the end for themselves, so that the memory of a long history is no larger than that of a short one.
    fn ended_in_short(&self) -> Box<[u64]> {
        let ended = &self.taken[self.open_words..];
        let full = ended.iter().take_while(|word| **word == u64::MAX).count();
        let end = ended.iter().rposition(|word| *word != 0).map_or(full, |last| last + 1);
        [&[full as u64], &ended[full..end]].concat().into()
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
    lines.push(format!("then the key holds {}, which does not fit", shown_state(stuck.state)));
    lines.push(format!("  {}", operations[stuck.at_return_of]));
    lines.join("\n")
}

fn shown_state(state: State) -> String {
    format!("{}{}", shown_value(state.value), shown_revision(state.revision()))
}

fn shown_value(value: Option<u64>) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}

fn shown_revision(revision: Option<u64>) -> String {
    revision.map_or(String::new(), |revision| format!(" at revision {revision}"))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Always => Ok(()),
            When::Absent => write!(f, " if absent"),
            When::Revision(revision) => write!(f, " if at revision {revision}"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Done { revision } => write!(f, ", told that it was done{}", shown_revision(*revision)),
            Told::ConditionFalse { now: None } => write!(f, ", told that there was nothing"),
            Told::ConditionFalse { now } => write!(f, ", told that it was{}", shown_revision(*now)),
            Told::Absent => write!(f, ", told that there was nothing to delete"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ", self.client)?;
        match self.action {
            Action::Write { value } => write!(f, "wrote {value}")?,
            Action::Delete { existed: Some(false) } => write!(f, "deleted, told that there was nothing")?,
            Action::Delete { .. } => write!(f, "deleted")?,
            Action::Read { found } => write!(f, "read {}", shown_value(found))?,
            Action::Get { found: None } => write!(f, "read nothing")?,
            Action::Get { found: Some(held) } => write!(f, "read {}{}", held.value, shown_revision(Some(held.revision)))?,
            Action::Put { value, when, .. } => write!(f, "wrote {value}{when}")?,
            Action::Remove { when, .. } => write!(f, "deleted{when}")?,
        }
        if let Action::Put { told: Some(told), .. } | Action::Remove { told: Some(told), .. } = self.action {
            write!(f, "{told}")?;
        }
        match self.returned {
            Some(returned) => write!(f, " between {} and {returned}", self.called),
            None => write!(f, " after {}, outcome unknown", self.called),
        }
    }
}
