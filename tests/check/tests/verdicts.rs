//! Histories whose verdict is known, and random ones whose verdict a slow, simple search finds out.

use check::{Action, Call, History, Operation, STEPS_MAX, Verdict, check};

/// `(action, called, returned)` on key 1, each by a client of its own.
fn history(operations: &[(Action, u64, Option<u64>)]) -> History {
    let operation = |(client, (action, called, returned)): (usize, &(Action, u64, Option<u64>))| Operation {
        client: client as u64,
        key: 1,
        action: *action,
        called: *called,
        returned: *returned,
    };
    operations.iter().enumerate().map(operation).collect::<Vec<_>>().into()
}

fn write(value: u64) -> Action {
    Action::Write { value }
}

fn read(found: u64) -> Action {
    Action::Read { found: Some(found) }
}

const READ_NOTHING: Action = Action::Read { found: None };
const DELETED: Action = Action::Delete { existed: Some(true) };
const NOTHING_TO_DELETE: Action = Action::Delete { existed: Some(false) };

#[track_caller]
fn fits(operations: &[(Action, u64, Option<u64>)]) {
    assert_eq!(check(&history(operations), STEPS_MAX), Verdict::Ok);
}

/// With what the explanation must name.
#[track_caller]
fn fits_not(operations: &[(Action, u64, Option<u64>)], named: &str) {
    match check(&history(operations), STEPS_MAX) {
        Verdict::Violation(explanation) => assert!(explanation.contains(named), "{explanation}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other_in_order() {
    fits(&[
        (READ_NOTHING, 0, Some(1)),
        (write(7), 2, Some(3)),
        (read(7), 4, Some(5)),
        (DELETED, 6, Some(7)),
        (NOTHING_TO_DELETE, 8, Some(9)),
    ]);
}

#[test]
fn a_read_beside_a_write_may_see_either_value() {
    fits(&[(write(1), 0, Some(1)), (write(2), 2, Some(9)), (read(1), 3, Some(4)), (read(2), 5, Some(6))]);
}

#[test]
fn an_acknowledged_write_is_lost() {
    fits_not(&[(write(1), 0, Some(1)), (READ_NOTHING, 2, Some(3))], "read nothing");
}

#[test]
fn a_stale_read_after_the_next_write() {
    fits_not(&[(write(1), 0, Some(1)), (write(2), 2, Some(3)), (read(1), 4, Some(5))], "read 1");
}

#[test]
fn two_readers_see_two_writes_in_different_orders() {
    let writes = [(write(1), 0, Some(20)), (write(2), 0, Some(20))];
    let one = [(read(1), 1, Some(2)), (read(2), 3, Some(4))];
    fits(&[&writes[..], &one].concat());
    fits_not(&[&writes[..], &one, &[(read(2), 1, Some(2)), (read(1), 3, Some(4))]].concat(), "read");
}

#[test]
fn a_value_appears_that_nobody_wrote() {
    fits_not(&[(write(1), 0, Some(1)), (read(2), 2, Some(3))], "read 2");
}

#[test]
fn a_value_appears_before_it_was_written() {
    fits_not(&[(read(1), 0, Some(1)), (write(1), 2, Some(3))], "read 1");
}

#[test]
fn a_deleted_key_comes_back() {
    fits_not(&[(write(1), 0, Some(1)), (DELETED, 2, Some(3)), (read(1), 4, Some(5))], "read 1");
}

#[test]
fn a_delete_of_nothing_tells_that_a_write_was_lost() {
    fits_not(&[(write(1), 0, Some(1)), (NOTHING_TO_DELETE, 2, Some(3))], "nothing");
}

#[test]
fn a_write_of_unknown_outcome_may_happen_late_or_never_but_once() {
    fits(&[(write(1), 0, None), (READ_NOTHING, 5, Some(6)), (read(1), 7, Some(8))]);
    fits(&[(write(1), 0, None), (READ_NOTHING, 5, Some(6)), (READ_NOTHING, 7, Some(8))]);
    fits_not(&[(write(1), 0, None), (write(2), 1, Some(2)), (read(1), 3, Some(4)), (read(2), 5, Some(6))], "read 2");
}

#[test]
fn a_write_of_unknown_outcome_that_nobody_read_still_explains_a_delete() {
    fits(&[(write(1), 0, None), (DELETED, 5, Some(6))]);
}

#[test]
fn a_delete_of_unknown_outcome_explains_a_missing_value() {
    fits(&[(write(1), 0, Some(1)), (Action::Delete { existed: None }, 2, None), (read(1), 3, Some(4)), (READ_NOTHING, 5, Some(6))]);
}

#[test]
fn keys_do_not_disturb_each_other() {
    let mut recorded = History::new();
    for key in [1, 2] {
        recorded.done(Call::new(1, key, write(key + 10), 0), write(key + 10), 1);
        recorded.done(Call::new(2, key, Action::Read { found: None }, 2), read(key + 10), 3);
    }
    assert_eq!(check(&recorded, STEPS_MAX), Verdict::Ok);
    recorded.done(Call::new(3, 2, Action::Read { found: None }, 4), read(11), 5);
    assert!(matches!(check(&recorded, STEPS_MAX), Verdict::Violation(text) if text.starts_with("key 2")));
}

/// Waves of ten writes at once, each wave followed by a read of its first. Orders: 10!^50. Sets of operations that the search may meet: 50 * 2^10.
#[test]
fn what_failed_before_is_not_tried_again() {
    let mut operations = Vec::new();
    for wave in 0..50 {
        let start = wave * 100;
        operations.extend((0..10).map(|number| (write(start + number), start, Some(start + 50))));
        operations.push((read(start), start + 60, Some(start + 70)));
    }
    fits(&operations);
}

#[test]
fn a_search_that_takes_too_long_is_no_verdict() {
    let mut operations: Vec<_> = (0..30).map(|value| (write(value), 0, Some(100))).collect();
    operations.extend([(read(3), 101, Some(102)), (read(4), 103, Some(104))]);
    assert_eq!(check(&history(&operations), 1_000), Verdict::NoVerdict { key: 1, steps: 1_000 });
}

#[test]
#[should_panic(expected = "written twice")]
fn values_that_do_not_differ_prove_nothing() {
    let _ = check(&history(&[(write(1), 0, Some(1)), (write(1), 2, Some(3))]), STEPS_MAX);
}

/// xorshift64*: enough to vary small histories, the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

fn random_history(random: &mut Random) -> Vec<(Action, u64, Option<u64>)> {
    (0..1 + random.below(6))
        .map(|number| {
            let action = match random.below(8) {
                0..3 => write(number),
                3 => DELETED,
                4 => Action::Delete { existed: [None, Some(false)][random.below(2) as usize] },
                5 => READ_NOTHING,
                _ => read(random.below(6)),
            };
            let called = random.below(12);
            let open = !matches!(action, Action::Read { .. }) && random.below(4) == 0;
            let returned = (!open).then(|| called + 1 + random.below(5));
            match (action, open) {
                (Action::Delete { .. }, true) => (Action::Delete { existed: None }, called, None),
                _ => (action, called, returned),
            }
        })
        .collect()
}

/// Tries every order of every choice of operations, with none of the search's shortcuts.
fn explained_by_some_order(operations: &[(Action, u64, Option<u64>)], left: &[usize], state: Option<u64>) -> bool {
    if left.iter().all(|index| operations[*index].2.is_none()) {
        return true;
    }
    left.iter().any(|first| {
        let (action, called, _) = operations[*first];
        if left.iter().any(|other| operations[*other].2.is_some_and(|returned| returned < called)) {
            return false;
        }
        let after = match action {
            Action::Write { value } => Some(value),
            Action::Delete { existed: Some(existed) } if existed != state.is_some() => return false,
            Action::Delete { .. } => None,
            Action::Read { found } if found != state => return false,
            Action::Read { .. } => state,
            other => unreachable!("not among those drawn: {other:?}"),
        };
        let rest: Vec<usize> = left.iter().copied().filter(|index| index != first).collect();
        explained_by_some_order(operations, &rest, after)
    })
}

#[test]
fn random_small_histories_get_the_verdict_of_a_search_through_every_order() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = [0, 0];
    for round in 0..50_000 {
        let operations = random_history(&mut random);
        let everything: Vec<usize> = (0..operations.len()).collect();
        let expected = explained_by_some_order(&operations, &everything, None);
        let verdict = check(&history(&operations), STEPS_MAX);
        assert_eq!(matches!(verdict, Verdict::Ok), expected, "round {round}: {operations:?}: {verdict:?}");
        counts[expected as usize] += 1;
    }
    assert!(counts.iter().all(|count| *count > 5_000), "too one-sided to tell anything: {counts:?}");
}
