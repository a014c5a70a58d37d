//! Histories whose verdict is known, and random ones whose verdict a slow, simple search finds out.

use check::{Action, Call, Held, History, Operation, STEPS_MAX, Told, Verdict, When, check};

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

/// Each begins later and ends sooner than the one before, so that none can be said to come first.
fn nested_writes(values: std::ops::Range<u64>, start: u64, end: u64) -> impl Iterator<Item = (Action, u64, Option<u64>)> {
    values.enumerate().map(move |(depth, value)| (write(value), start + depth as u64, Some(end - depth as u64)))
}

/// Waves of ten writes at once, each wave followed by a read of its first. Orders: 10!^50. Sets of operations that the search may meet: 50 * 2^10.
#[test]
fn what_failed_before_is_not_tried_again() {
    let mut operations = Vec::new();
    for wave in 0..50 {
        let start = wave * 100;
        operations.extend(nested_writes(start..start + 10, start, start + 50));
        operations.push((read(start), start + 60, Some(start + 70)));
    }
    fits(&operations);
}

#[test]
fn a_search_that_takes_too_long_is_no_verdict() {
    let mut operations: Vec<_> = nested_writes(0..30, 0, 100).collect();
    operations.extend([(read(3), 101, Some(102)), (read(4), 103, Some(104))]);
    let verdict = check(&history(&operations), 1_000);
    assert_eq!(verdict, Verdict::NoVerdict { key: 1, steps: 1_000 });
    assert!(verdict.accepted().is_err_and(|reason| reason.contains("no verdict after 1000 steps")));
}

#[test]
fn a_key_without_a_verdict_does_not_hide_a_violation_on_the_next() {
    let mut operations: Vec<_> = nested_writes(0..30, 0, 100).collect();
    operations.extend([(read(3), 101, Some(102)), (read(4), 103, Some(104))]);
    let mut both = history(&operations);
    let on_next = |action, called| Operation { client: 1, key: 2, action, called, returned: Some(called + 1) };
    both.merge(vec![on_next(write(1), 0), on_next(READ_NOTHING, 2)].into());
    assert!(matches!(check(&both, 1_000), Verdict::Violation(text) if text.starts_with("key 2")));
}

/// The last read makes the search try everything else first.
#[test]
fn a_hundred_writes_of_unknown_outcome_leave_a_verdict() {
    let mut operations: Vec<_> = (0..100).map(|value| (write(value), value, None)).collect();
    operations.extend((0..20).map(|turn| (DELETED, 200 + 2 * turn, Some(201 + 2 * turn))));
    operations.push((write(1_000), 300, Some(301)));
    fits(&operations);
    operations.extend([(read(1_000), 302, Some(303)), (READ_NOTHING, 304, Some(305))]);
    fits_not(&operations, "read nothing");
}

#[test]
fn a_hundred_writes_of_unknown_outcome_and_a_read_of_each_leave_a_verdict() {
    let mut operations: Vec<_> = (0..100).map(|value| (write(value), value, None)).collect();
    operations.extend((0..100).rev().map(|value| (read(value), 1_000 - 2 * value, Some(1_001 - 2 * value))));
    fits(&operations);
    operations.push((read(7), 2_000, Some(2_001)));
    fits_not(&operations, "read 7");
}

fn put(value: u64, when: When, told: Told) -> Action {
    Action::Put { value, when, told: Some(told) }
}

fn done_at(revision: u64) -> Told {
    Told::Done { revision: Some(revision) }
}

fn refused_at(revision: u64) -> Told {
    Told::ConditionFalse { now: Some(revision) }
}

fn get(value: u64, revision: u64) -> Action {
    Action::Get { found: Some(Held { value, revision }) }
}

#[test]
fn conditions_hold_and_fail_as_the_key_stands() {
    fits(&[
        (put(1, When::Absent, done_at(5)), 0, Some(1)),
        (put(2, When::Absent, refused_at(5)), 2, Some(3)),
        (put(3, When::Revision(5), done_at(8)), 4, Some(5)),
        (get(3, 8), 6, Some(7)),
        (put(4, When::Revision(5), refused_at(8)), 8, Some(9)),
        (Action::Remove { when: When::Revision(8), told: Some(Told::Done { revision: None }) }, 10, Some(11)),
        (put(5, When::Revision(8), Told::ConditionFalse { now: None }), 12, Some(13)),
        (Action::Remove { when: When::Always, told: Some(Told::Absent) }, 14, Some(15)),
    ]);
}

#[test]
fn two_clients_both_create_the_key() {
    fits_not(&[(put(1, When::Absent, done_at(5)), 0, Some(9)), (put(2, When::Absent, done_at(6)), 0, Some(9))], "if absent");
}

#[test]
fn two_clients_replace_the_same_revision() {
    let created = (put(1, When::Always, done_at(5)), 0, Some(1));
    let replaced = |value, told| (put(value, When::Revision(5), told), 2, Some(9));
    fits(&[created, replaced(2, done_at(6)), replaced(3, refused_at(6))]);
    fits_not(&[created, replaced(2, done_at(6)), replaced(3, done_at(7))], "if at revision 5");
}

#[test]
fn a_condition_fails_though_it_held() {
    fits_not(&[(put(1, When::Always, done_at(5)), 0, Some(1)), (put(2, When::Revision(5), refused_at(5)), 2, Some(3))], "told that it was");
}

#[test]
fn a_revision_goes_back() {
    fits_not(&[(put(1, When::Always, done_at(5)), 0, Some(1)), (put(2, When::Always, done_at(4)), 2, Some(3))], "at revision 4");
}

#[test]
fn a_value_has_two_revisions() {
    fits_not(&[(write(1), 0, Some(1)), (get(1, 5), 2, Some(3)), (get(1, 6), 4, Some(5))], "at revision 6");
}

#[test]
fn whoever_is_refused_learns_the_revision_of_a_write_of_unknown_outcome() {
    let unknown = (Action::Put { value: 1, when: When::Absent, told: None }, 0, None);
    let refused = (put(2, When::Absent, refused_at(5)), 2, Some(3));
    fits(&[unknown, refused, (put(3, When::Revision(5), done_at(6)), 4, Some(5)), (get(3, 6), 6, Some(7))]);
    fits_not(&[unknown, refused, (get(1, 6), 4, Some(5))], "at revision 6");
}

#[test]
fn a_conditional_write_of_unknown_outcome_happens_only_where_its_condition_holds() {
    let created = (put(1, When::Always, done_at(5)), 0, Some(1));
    let unknown = |when| (Action::Put { value: 2, when, told: None }, 2, None);
    fits(&[created, unknown(When::Revision(5)), (read(2), 4, Some(5))]);
    fits_not(&[created, unknown(When::Absent), (read(2), 4, Some(5))], "if absent");
}

#[test]
fn of_a_read_without_an_answer_nothing_remains() {
    let asked = Action::Put { value: 1, when: When::Absent, told: None };
    let mut recorded = History::new();
    recorded.done(Call::new(1, 1, asked, 0), put(1, When::Absent, done_at(5)), 1);
    recorded.unknown(Call::new(1, 1, Action::Get { found: None }, 2));
    recorded.unknown(Call::new(1, 1, Action::Remove { when: When::Always, told: None }, 4));
    assert_eq!(recorded.operations().len(), 2);
}

#[test]
#[should_panic(expected = "answers")]
fn the_answer_to_another_question_is_not_taken() {
    let asked = Action::Put { value: 1, when: When::Absent, told: None };
    History::new().done(Call::new(1, 1, asked, 0), put(2, When::Absent, done_at(5)), 1);
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
