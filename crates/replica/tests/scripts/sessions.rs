//! A retried write takes effect once: what the state remembers of sessions, and for how long.

use raft::{Entry, Index, LogId, Payload, Term};
use replica::{
    Command, Key, Operation,
    state::{self, Outcome, Rules},
};
use storage::{MemState, StateStore};

use crate::stage::{put, stamped};

const RULES: Rules = Rules { hash_period: 1_024, sessions_max: 10 };

fn entries(from: Index, commands: &[Command]) -> Vec<Entry> {
    (from..)
        .zip(commands)
        .map(|(index, command)| Entry { id: LogId::new(Term(1), index), payload: Payload::Command(command.encode().into()) })
        .collect()
}

/// Applies one command; its index and outcome.
fn run(store: &MemState, command: &Command) -> (Index, Outcome) {
    let index = store.applied().unwrap().index + 1;
    let applied = state::apply_by(&RULES, store, &entries(index, std::slice::from_ref(command))).unwrap();
    (index, applied.outcomes[0].1.expect("a command has an outcome"))
}

fn revision(store: &MemState, key: &str) -> Index {
    state::get(store, &Key::new(key.as_bytes()).unwrap()).unwrap().map_or(0, |record| record.modified)
}

fn is_expired(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Expired { .. })
}

#[test]
fn the_same_write_again_is_answered_from_memory_and_not_executed() {
    let store = MemState::new();
    let first = run(&store, &stamped(7, 0, 1, put("a", "x")));
    let again = run(&store, &stamped(7, 0, 1, put("a", "x")));
    assert_eq!(again.1, first.1);
    assert_eq!(revision(&store, "a"), first.0);
    // Whatever happened to the key in between.
    run(&store, &stamped(8, 0, 1, put("a", "another's")));
    assert_eq!(run(&store, &stamped(7, 0, 1, put("a", "x"))).1, first.1);
    assert_eq!(revision(&store, "a"), 3);
}

#[test]
fn what_was_refused_by_its_condition_is_refused_again_although_it_would_hold_now() {
    let store = MemState::new();
    let absent = |serial| match put("a", "x") {
        Operation::Put { key, value, expires, .. } => {
            stamped(7, 0, serial, Operation::Put { key, value, expires, condition: replica::Condition::Absent })
        }
        _ => unreachable!(),
    };
    run(&store, &stamped(8, 0, 1, put("a", "there")));
    let (_, refused) = run(&store, &absent(1));
    assert!(matches!(refused, Outcome::ConditionFalse(Some(_))));
    run(&store, &stamped(8, 0, 2, Operation::Delete { key: Key::new(*b"a").unwrap(), condition: replica::Condition::Always }));
    assert_eq!(run(&store, &absent(1)).1, refused);
    assert!(matches!(run(&store, &absent(2)).1, Outcome::Done(_)));
}

#[test]
fn an_earlier_number_that_comes_late_is_not_executed_and_its_fate_not_told() {
    let store = MemState::new();
    run(&store, &stamped(7, 0, 1, put("a", "x")));
    run(&store, &stamped(7, 0, 3, put("a", "y")));
    for serial in [1, 2] {
        assert_eq!(run(&store, &stamped(7, 0, serial, put("a", "late"))).1, Outcome::Superseded);
    }
    assert_eq!(revision(&store, "a"), 2);
}

#[test]
fn a_session_id_with_another_opening_is_another_session_and_unknown() {
    let store = MemState::new();
    run(&store, &stamped(7, 0, 1, put("a", "x")));
    assert!(is_expired(run(&store, &stamped(7, 1, 2, put("a", "y"))).1));
    assert_eq!(revision(&store, "a"), 1);
}

#[test]
fn a_session_cannot_be_opened_in_the_future() {
    let store = MemState::new();
    assert!(is_expired(run(&store, &stamped(7, 1, 1, put("a", "x"))).1), "this very entry is index 1");
    assert!(is_expired(run(&store, &stamped(7, 99, 1, put("a", "x"))).1));
    assert!(matches!(run(&store, &stamped(7, 2, 1, put("a", "x"))).1, Outcome::Done(_)));
}

/// Fills the table: sessions 100.. with one write each.
fn full() -> MemState {
    let store = MemState::new();
    for session in 100..110 {
        run(&store, &stamped(session, 0, 1, put("a", "x")));
    }
    store
}

#[test]
fn the_one_forgotten_is_the_least_recently_used_and_its_retry_is_refused() {
    let store = full();
    run(&store, &stamped(100, 0, 2, put("a", "used again")));
    run(&store, &stamped(200, store.applied().unwrap().index, 1, put("a", "one more than fits")));
    let before = revision(&store, "a");
    assert!(is_expired(run(&store, &stamped(101, 0, 1, put("a", "x"))).1), "executed twice otherwise");
    assert_eq!(revision(&store, "a"), before);
    assert!(matches!(run(&store, &stamped(100, 0, 2, put("a", "used again"))).1, Outcome::Done(_)), "still known");
    assert_eq!(revision(&store, "a"), before);
}

#[test]
fn an_answer_from_memory_does_not_make_a_session_younger() {
    // Only writes that enter the table move it: otherwise retries alone could push out whoever works.
    let store = full();
    run(&store, &stamped(100, 0, 1, put("a", "x")));
    run(&store, &stamped(200, store.applied().unwrap().index, 1, put("a", "y")));
    assert!(is_expired(run(&store, &stamped(100, 0, 1, put("a", "x"))).1));
}

#[test]
fn what_was_opened_before_the_floor_and_never_used_is_refused_with_an_index_that_works() {
    let store = full();
    run(&store, &stamped(200, 10, 1, put("a", "evicts")));
    let Outcome::Expired { index } = run(&store, &stamped(300, 0, 1, put("a", "x"))).1 else { panic!("it may be one that was forgotten") };
    assert!(matches!(run(&store, &stamped(301, index, 1, put("a", "x"))).1, Outcome::Done(_)));
}

#[test]
fn a_refused_write_leaves_nothing_in_the_table() {
    let store = full();
    for session in 300..400 {
        assert!(is_expired(run(&store, &stamped(session, 9_999, 1, put("a", "x"))).1));
    }
    for session in 100..110 {
        assert_eq!(run(&store, &stamped(session, 0, 0, put("a", "x"))).1, Outcome::Superseded, "nobody was evicted for them");
    }
}

#[test]
fn the_table_is_the_same_however_entries_are_batched_and_wherever_a_crash_falls() {
    let commands: Vec<Command> = (0..400u64)
        .map(|i| {
            let session = (i * 7 + i / 3) % 23;
            let opened = if i % 5 == 0 { i / 2 } else { 0 };
            stamped(session + 1_000 * opened, opened, 1 + i % 4, put(&format!("{}", i % 9), &i.to_string()))
        })
        .collect();
    let log = entries(1, &commands);
    let one_by_one = MemState::new();
    let outcomes: Vec<_> =
        log.iter().flat_map(|entry| state::apply_by(&RULES, &one_by_one, std::slice::from_ref(entry)).unwrap().outcomes).collect();
    let told = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| outcome.as_ref().is_some_and(of)).count();
    assert!(told(|outcome| is_expired(*outcome)) > 20 && told(|outcome| matches!(outcome, Outcome::Done(_))) > 20, "or it proves little");
    for batch in [2, 13, 400] {
        let store = MemState::new();
        let mut crashes = 0;
        while (store.applied().unwrap().index as usize) < log.len() {
            let at = store.applied().unwrap().index as usize;
            let end = log.len().min(at + batch);
            assert_eq!(state::apply_by(&RULES, &store, &log[at..end]).unwrap().outcomes, outcomes[at..end]);
            if crashes < 8 && at > crashes * 40 {
                crashes += 1;
                if crashes % 2 == 0 {
                    store.flush().unwrap();
                }
                store.crash();
            }
        }
        assert_eq!(state::state_hash(&store).unwrap(), state::state_hash(&one_by_one).unwrap());
    }
}
