//! One key as stateright wants it told.
//!
//! Where the checker leaves a revision open until an answer tells it, this guesses: it follows every state that could be. A revision is guessed
//! among those that the history names and the gaps between them, as nothing in a history tells two revisions within a gap apart. Hence marks:
//! revision r is mark 2r, the gap behind it mark 2r + 1; within a gap there is always room for one more.

use std::collections::BTreeSet;
use std::rc::Rc;

use check::{Action, Held, Operation, Told, When};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// Whether the other checker finds an order.
pub fn accepts(operations: &[Operation]) -> bool {
    let mut tester = LinearizabilityTester::new(Reference::for_history(operations));
    for (_, is_return, operation) in events(operations) {
        let fed = match is_return {
            false => tester.on_invoke(operation.client, operation.action.asked()),
            true => tester.on_return(operation.client, operation.action),
        };
        fed.expect("each client has one operation at a time");
    }
    tester.is_consistent()
}

/// By time, calls before returns.
fn events(operations: &[Operation]) -> Vec<(u64, bool, &Operation)> {
    let calls = operations.iter().map(|operation| (operation.called, false, operation));
    let returns = operations.iter().filter_map(|operation| Some((operation.returned?, true, operation)));
    let mut events: Vec<_> = calls.chain(returns).collect();
    events.sort_by_key(|(time, is_return, _)| (*time, *is_return));
    events
}

#[derive(Clone)]
struct Reference {
    marks: Rc<BTreeSet<u64>>,
    possible: BTreeSet<Guess>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Guess {
    /// Value and mark.
    now: Option<(u64, u64)>,
    last_mark: u64,
}

impl Reference {
    fn for_history(operations: &[Operation]) -> Reference {
        let named = operations.iter().flat_map(|operation| named_revisions(operation.action));
        let marks = named.flat_map(|revision| [2 * revision - 1, 2 * revision, 2 * revision + 1]).chain([1]).collect();
        Reference { marks: Rc::new(marks), possible: BTreeSet::from([Guess { now: None, last_mark: 0 }]) }
    }

    fn write(&self, guess: Guess, value: u64, revision: Option<u64>) -> Vec<Guess> {
        let rises = |mark: &u64| if mark.is_multiple_of(2) { *mark > guess.last_mark } else { *mark >= guess.last_mark };
        let fits = |mark: &u64| revision.is_none_or(|revision| *mark == 2 * revision);
        let marks = self.marks.iter().copied().filter(rises).filter(fits);
        marks.map(|mark| Guess { now: Some((value, mark)), last_mark: mark }).collect()
    }

    /// With no answer, whatever can come of it.
    fn step(&mut self, action: Action, answered: bool) -> bool {
        let next = |guess: &Guess| {
            let guess = *guess;
            let empty = Guess { now: None, ..guess };
            let revision_is = |revision: Option<u64>| guess.now.map(|(_, mark)| mark) == revision.map(|revision| 2 * revision);
            let holds = |when| match when {
                When::Always => true,
                When::Absent => guess.now.is_none(),
                When::Revision(revision) => guess.now.is_some() && revision_is(Some(revision)),
            };
            let only_if = |fits: bool, after: Guess| if fits { vec![after] } else { vec![] };
            match action {
                Action::Write { value } => self.write(guess, value, None),
                Action::Delete { existed } => only_if(existed.is_none_or(|existed| existed == guess.now.is_some()), empty),
                Action::Read { found } => only_if(!answered || found == guess.now.map(|(value, _)| value), guess),
                Action::Get { found } => {
                    let as_found = found.map(|Held { value, revision }| (value, 2 * revision)) == guess.now;
                    only_if(!answered || as_found, guess)
                }
                Action::Put { value, when, told } => match (told, holds(when)) {
                    (None, true) => self.write(guess, value, None),
                    (None, false) => vec![guess],
                    (Some(Told::Done { revision }), true) => self.write(guess, value, revision),
                    (Some(Told::ConditionFalse { now }), false) => only_if(revision_is(now), guess),
                    _ => vec![],
                },
                Action::Remove { when, told } => match (told, holds(when)) {
                    (None, true) => vec![empty],
                    (None, false) => vec![guess],
                    (Some(Told::Done { .. }), true) => only_if(guess.now.is_some(), empty),
                    (Some(Told::Absent), true) => only_if(guess.now.is_none(), guess),
                    (Some(Told::ConditionFalse { now }), false) => only_if(revision_is(now), guess),
                    _ => vec![],
                },
            }
        };
        self.possible = self.possible.iter().flat_map(next).collect();
        !self.possible.is_empty()
    }
}

impl SequentialSpec for Reference {
    type Op = Action;
    type Ret = Action;

    fn invoke(&mut self, asked: &Action) -> Action {
        self.step(*asked, false);
        *asked
    }

    fn is_valid_step(&mut self, _: &Action, seen: &Action) -> bool {
        self.step(*seen, true)
    }
}

fn named_revisions(action: Action) -> Vec<u64> {
    let compared = |when| if let When::Revision(revision) = when { Some(revision) } else { None };
    let answered = |told| match told {
        Some(Told::Done { revision }) => revision,
        Some(Told::ConditionFalse { now }) => now,
        Some(Told::Absent) | None => None,
    };
    match action {
        Action::Put { when, told, .. } | Action::Remove { when, told } => [compared(when), answered(told)].into_iter().flatten().collect(),
        Action::Get { found } => found.map(|held| held.revision).into_iter().collect(),
        Action::Write { .. } | Action::Delete { .. } | Action::Read { .. } => vec![],
    }
}
