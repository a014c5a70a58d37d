//! The key-value state over the engine in memory: what each command does, what reads find, and that a state is a function of its log.

use std::sync::Arc;

use raft::{Entry, LogId, Membership, NodeId, Payload, Term};
use replica::{
    Command, Condition, KEY_MAX_BYTES, Key, Operation, Value,
    state::{self, BlobRef, Meta, Outcome},
};
use storage::{MemState, StateStore, Write};

fn key(bytes: &[u8]) -> Key {
    Key::new(bytes).unwrap()
}

fn inline(text: &str) -> Value {
    Value::Inline(text.as_bytes().to_vec())
}

fn blob(name: u8, size: u64) -> Value {
    Value::Blob { hash: [name; 32], size }
}

fn put(name: &[u8], value: Value, condition: Condition) -> Payload {
    command(Operation::Put { key: key(name), value, condition, expires: None })
}

fn delete(name: &[u8], condition: Condition) -> Payload {
    command(Operation::Delete { key: key(name), condition })
}

fn command(operation: Operation) -> Payload {
    Payload::Command(Command { session: None, operation }.encode().into())
}

/// Numbers the payloads onwards from what is applied.
fn entries(store: &MemState, payloads: impl IntoIterator<Item = Payload>) -> Vec<Entry> {
    let next = store.applied().unwrap().index + 1;
    let number = |(i, payload)| Entry { id: LogId::new(Term(1), next + i as u64), payload };
    payloads.into_iter().enumerate().map(number).collect()
}

/// Applies one entry and returns its outcome.
fn run(store: &MemState, payload: Payload) -> Option<Outcome> {
    let applied = state::apply(store, &entries(store, [payload])).unwrap();
    applied.outcomes[0].1
}

fn text(created: u64, modified: u64, text: &str) -> Meta {
    Meta { created, modified, size: text.len() as u64, blob: None }
}

fn names(store: &MemState, prefix: &[u8], after: &[u8], max_items: usize) -> Vec<Vec<u8>> {
    state::list(store, prefix, after, max_items, usize::MAX).unwrap().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn revisions_tell_when_a_key_was_made_and_last_written() {
    let store = MemState::new();
    assert_eq!(run(&store, Payload::Noop), None);
    assert_eq!(run(&store, put(b"a", inline("one"), Condition::Always)), Some(Outcome::Done(Some(text(2, 2, "one")))));
    assert_eq!(run(&store, put(b"a", inline("second"), Condition::Always)), Some(Outcome::Done(Some(text(2, 3, "second")))));
    assert_eq!(run(&store, delete(b"a", Condition::Always)), Some(Outcome::Done(None)));
    assert_eq!(run(&store, put(b"a", inline("new"), Condition::Always)), Some(Outcome::Done(Some(text(5, 5, "new")))));
    let record = state::get(&store, &key(b"a")).unwrap().unwrap();
    assert_eq!((record.created, record.modified, record.value), (5, 5, inline("new")));
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing_and_shows_the_key() {
    let store = MemState::new();
    assert_eq!(run(&store, put(b"a", inline("x"), Condition::Revision(1))), Some(Outcome::ConditionFalse(None)));
    assert_eq!(run(&store, delete(b"a", Condition::Revision(1))), Some(Outcome::ConditionFalse(None)));
    assert_eq!(run(&store, put(b"a", inline("x"), Condition::Absent)), Some(Outcome::Done(Some(text(3, 3, "x")))));
    assert_eq!(run(&store, put(b"a", inline("y"), Condition::Absent)), Some(Outcome::ConditionFalse(Some(text(3, 3, "x")))));
    assert_eq!(run(&store, put(b"a", inline("y"), Condition::Revision(2))), Some(Outcome::ConditionFalse(Some(text(3, 3, "x")))));
    assert_eq!(run(&store, delete(b"a", Condition::Absent)), Some(Outcome::ConditionFalse(Some(text(3, 3, "x")))));
    assert_eq!(run(&store, put(b"a", inline("y"), Condition::Revision(3))), Some(Outcome::Done(Some(text(3, 7, "y")))));
    assert_eq!(run(&store, delete(b"a", Condition::Revision(7))), Some(Outcome::Done(None)));
}

#[test]
fn deleting_what_is_not_there_says_so() {
    let store = MemState::new();
    assert_eq!(run(&store, delete(b"a", Condition::Always)), Some(Outcome::Absent));
    assert_eq!(run(&store, delete(b"a", Condition::Absent)), Some(Outcome::Absent));
}

#[test]
fn within_one_batch_each_entry_sees_those_before_it() {
    let store = MemState::new();
    let batch = entries(
        &store,
        [
            put(b"a", blob(1, 10), Condition::Absent),
            put(b"a", blob(2, 20), Condition::Revision(1)),
            delete(b"a", Condition::Revision(2)),
            put(b"a", inline("x"), Condition::Absent),
        ],
    );
    let applied = state::apply(&store, &batch).unwrap();
    assert!(applied.outcomes.iter().all(|(_, outcome)| matches!(outcome, Some(Outcome::Done(_)))), "{:?}", applied.outcomes);
    assert_eq!(state::get(&store, &key(b"a")).unwrap().unwrap().created, 4);
    assert_eq!(state::blobs(&store, None, 9).unwrap(), [], "no reference is left behind");
}

#[test]
fn a_blob_is_listed_once_while_any_key_refers_to_it() {
    let store = MemState::new();
    for (name, value) in [(b"a", blob(0xff, 5)), (b"b", blob(0xff, 5)), (b"c", blob(3, 7)), (b"d", blob(4, 8))] {
        run(&store, put(name, value, Condition::Always));
    }
    let of = |name: u8, size| BlobRef { hash: [name; 32], size };
    assert_eq!(state::blobs(&store, None, 9).unwrap(), [of(3, 7), of(4, 8), of(0xff, 5)]);
    assert_eq!(state::blobs(&store, None, 1).unwrap(), [of(3, 7)]);
    assert_eq!(state::blobs(&store, Some([3; 32]), 9).unwrap(), [of(4, 8), of(0xff, 5)]);
    assert_eq!(state::blobs(&store, Some([0xff; 32]), 9).unwrap(), []);
    run(&store, delete(b"a", Condition::Always));
    run(&store, put(b"c", inline("small now"), Condition::Always));
    run(&store, put(b"d", blob(4, 8), Condition::Always));
    assert_eq!(state::blobs(&store, None, 9).unwrap(), [of(4, 8), of(0xff, 5)]);
    run(&store, put(b"e", blob(4, 8), Condition::Absent));
    run(&store, put(b"e", blob(5, 1), Condition::Absent));
    assert_eq!(state::blobs(&store, None, 9).unwrap(), [of(4, 8), of(0xff, 5)], "a refused manifest refers to nothing");
}

#[test]
fn a_list_is_paged_in_byte_order_within_its_prefix() {
    let store = MemState::new();
    let all: [&[u8]; 8] = [b"\0", b"a", b"a\0", b"ab", b"a\xff", b"a\xff\xff", b"b", b"\xff\xff"];
    for name in all.iter().rev() {
        run(&store, put(name, inline("v"), Condition::Always));
    }
    assert_eq!(names(&store, b"", b"", 99), all);
    assert_eq!(names(&store, b"a", b"", 99), all[1..6]);
    assert_eq!(names(&store, b"a\xff", b"", 99), all[4..6], "a prefix that ends with the highest byte");
    assert_eq!(names(&store, b"\xff", b"", 99), all[7..]);
    assert_eq!(names(&store, b"\xff\xff", b"", 99), all[7..]);
    assert_eq!(names(&store, b"", b"a", 99), all[2..], "behind a key, not from it");
    assert_eq!(names(&store, b"a", b"\0", 99), all[1..6], "behind something before the prefix");
    assert!(names(&store, b"a", b"c", 99).is_empty(), "behind something after the prefix");
    assert!(names(&store, b"", b"\xff\xff", 99).is_empty());

    let mut paged: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = paged.last().cloned().unwrap_or_default();
        let page = names(&store, b"", &after, 3);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(state::list(&store, b"", b"", 99, 1).unwrap().len(), 1, "a page holds one key however large");
}

#[test]
fn keys_of_every_length_are_found_again() {
    let store = MemState::new();
    let lengths = [1, 2, 127, 128, 255, 256, 4095, KEY_MAX_BYTES];
    for length in lengths {
        run(&store, put(&vec![0xff; length], inline(&length.to_string()), Condition::Absent));
    }
    for length in lengths {
        let record = state::get(&store, &key(&vec![0xff; length])).unwrap().unwrap();
        assert_eq!(record.value, inline(&length.to_string()));
    }
    assert_eq!(names(&store, &[0xff; 4095], b"", 99).len(), 2);
    assert_eq!(names(&store, b"", &[0xff; 4095], 99).len(), 1);
}

#[test]
fn a_state_is_a_function_of_its_log_however_batched_and_however_often_crashed() {
    let payloads: Vec<Payload> = (0..300u64)
        .map(|i| match (i * 7 + i / 5) % 6 {
            0 => Payload::Noop,
            1 => delete(&[b'a' + (i % 5) as u8], Condition::Always),
            2 => put(&[b'a' + (i % 5) as u8], blob((i % 3) as u8, i), Condition::Absent),
            3 => put(&[b'a' + (i % 5) as u8], inline("x"), Condition::Revision(i.saturating_sub(3))),
            4 => Payload::Membership(Membership::of_voters([NodeId(i)])),
            _ => put(&[b'a' + (i % 5) as u8], inline(&i.to_string()), Condition::Always),
        })
        .collect();
    let one_by_one = MemState::new();
    let log = entries(&one_by_one, payloads);
    let mut hashes = vec![[0; 32]];
    hashes.extend(log.iter().map(|entry| state::apply(&one_by_one, std::slice::from_ref(entry)).unwrap().hash));
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "each entry leaves its mark");

    for batch in [2, 7, 299, 300] {
        let store = MemState::new();
        let mut crashes = 0;
        while store.applied().unwrap().index < log.len() as u64 {
            let at = store.applied().unwrap().index as usize;
            let applied = state::apply(&store, &log[at..log.len().min(at + batch)]).unwrap();
            assert_eq!(applied.hash, hashes[applied.through.index as usize]);
            if crashes < 10 && at > crashes * 20 {
                crashes += 1;
                if crashes % 2 == 0 {
                    store.flush().unwrap();
                }
                store.crash();
                assert_eq!(state::state_hash(&store).unwrap(), hashes[store.applied().unwrap().index as usize]);
            }
        }
        let pairs = |store: &MemState| state::list(store, b"", b"", usize::MAX, usize::MAX).unwrap();
        assert_eq!(pairs(&store), pairs(&one_by_one));
        assert_eq!(state::blobs(&store, None, 99).unwrap(), state::blobs(&one_by_one, None, 99).unwrap());
    }
}

#[test]
fn another_write_at_the_same_place_is_another_state() {
    let hash_of = |payload| {
        let store = MemState::new();
        state::apply(&store, &entries(&store, [payload])).unwrap().hash
    };
    let all = [
        hash_of(Payload::Noop),
        hash_of(put(b"a", inline("bc"), Condition::Always)),
        hash_of(put(b"ab", inline("c"), Condition::Always)),
        hash_of(put(b"a", blob(1, 1), Condition::Always)),
        hash_of(put(b"a", blob(1, 2), Condition::Always)),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(!all[i + 1..].contains(one), "{i}");
    }
    assert_eq!(all[0], hash_of(delete(b"a", Condition::Always)), "nothing written is nothing written");
}

#[test]
fn damaged_entries_and_records_are_errors_and_nothing_is_applied() {
    let store = MemState::new();
    run(&store, put(b"a", inline("x"), Condition::Always));
    for bytes in [&b""[..], &[0], &[1], &[2, 0, 1, 1, b'k', 0], &[1, 0, 1, 0, 0], &[0xff; 90]] {
        let good = put(b"b", inline("y"), Condition::Always);
        let batch = entries(&store, [good, Payload::Command(Arc::from(bytes))]);
        let error = state::apply(&store, &batch).unwrap_err().to_string();
        assert!(error.contains("malformed command"), "{error}");
        assert_eq!(store.applied().unwrap().index, 1);
        assert_eq!(state::get(&store, &key(b"b")).unwrap(), None);
    }
    for record in [&b""[..], &[9], &[1, 1], &[1, 1, 1, 0, 0, 1, b'x', 0]] {
        store.write(vec![Write::Put(b"kbad".to_vec(), record.to_vec())], LogId::new(Term(1), 1)).unwrap();
        let error = state::get(&store, &key(b"bad")).unwrap_err().to_string();
        assert!(error.contains("malformed record") && error.contains("newer"), "{error}");
        assert!(state::list(&store, b"", b"", 9, 999).is_err());
        assert!(state::apply(&store, &entries(&store, [delete(b"bad", Condition::Always)])).is_err());
    }
    store.write(vec![Write::Put(b"r12".to_vec(), b"34".to_vec())], LogId::new(Term(1), 1)).unwrap();
    assert!(state::blobs(&store, None, 9).is_err());
    store.write(vec![Write::Put(b"mtally".to_vec(), b"34".to_vec())], LogId::new(Term(1), 1)).unwrap();
    assert!(state::state_hash(&store).is_err());
}

#[test]
#[should_panic(expected = "each once")]
fn an_entry_applied_twice_is_our_own_bug() {
    let store = MemState::new();
    let batch = entries(&store, [Payload::Noop]);
    state::apply(&store, &batch).unwrap();
    let _ = state::apply(&store, &batch);
}
