//! The stories of a state.

use raft::{Index, LogId, Term};

use super::StateDisk;
use crate::{Scan, StateStore, Write};

run_on_every_engine! { MemStateDisk, crate::rocks::tests::RocksStateDisk:
    a_new_state_is_empty
    writes_are_seen_at_once_and_in_order
    a_crash_falls_back_to_the_flush_as_a_whole
    callers_keys_never_meet_ours
    a_scan_keeps_to_its_bounds
    after_a_failed_flush_every_later_write_is_refused
}

fn at(index: Index) -> LogId {
    LogId::new(Term(1), index)
}

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put(key.to_vec(), value.to_vec())
}

fn everything() -> Scan {
    Scan { start: vec![], end: None, max_items: usize::MAX, max_bytes: usize::MAX }
}

fn keys(state: &impl StateStore, scan: Scan) -> Vec<Vec<u8>> {
    state.scan(&scan).unwrap().into_iter().map(|(key, _)| key).collect()
}

fn a_new_state_is_empty<D: StateDisk>() {
    let disk = D::create();
    assert_eq!(disk.state().applied().unwrap(), LogId::ZERO);
    assert_eq!(disk.state().applied_durable().unwrap(), LogId::ZERO);
    assert_eq!(disk.state().get(b"x").unwrap(), None);
    assert_eq!(disk.state().scan(&everything()).unwrap(), []);
    disk.state().flush().unwrap();
    disk.state().check().unwrap();
}

fn writes_are_seen_at_once_and_in_order<D: StateDisk>() {
    let disk = D::create();
    let state = disk.state();
    state.write(vec![put(b"x", b"1"), put(b"x", b"2"), put(b"y", b"3"), Write::Delete(b"y".to_vec())], at(1)).unwrap();
    assert_eq!(state.get(b"x").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(state.get(b"y").unwrap(), None);
    assert_eq!(state.applied().unwrap(), at(1));
    state.write(vec![], at(2)).unwrap();
    assert_eq!(state.applied().unwrap(), at(2), "a no-op moves the position too");
}

fn a_crash_falls_back_to_the_flush_as_a_whole<D: StateDisk>() {
    let mut disk = D::create();
    disk.state().write(vec![put(b"x", b"old"), put(b"y", b"old")], at(1)).unwrap();
    assert_eq!(disk.state().applied_durable().unwrap(), LogId::ZERO, "nothing is durable before a flush");
    disk.state().flush().unwrap();
    disk.state().write(vec![put(b"x", b"new"), put(b"z", b"new"), Write::Delete(b"y".to_vec())], at(2)).unwrap();
    disk.state().write(vec![put(b"x", b"newer")], at(3)).unwrap();
    assert_eq!((disk.state().applied().unwrap(), disk.state().applied_durable().unwrap()), (at(3), at(1)));
    disk.crash();
    assert_eq!((disk.state().applied().unwrap(), disk.state().applied_durable().unwrap()), (at(1), at(1)));
    let old = |key: &[u8]| (key.to_vec(), b"old".to_vec());
    assert_eq!(disk.state().scan(&everything()).unwrap(), [old(b"x"), old(b"y")]);
    disk.state().write(vec![put(b"x", b"new")], at(2)).unwrap();
    disk.state().flush().unwrap();
    disk.crash();
    assert_eq!(disk.state().applied().unwrap(), at(2));
}

fn callers_keys_never_meet_ours<D: StateDisk>() {
    let disk = D::create();
    let all: Vec<Vec<u8>> = [vec![]].into_iter().chain((0..=255).map(|byte| vec![byte])).collect();
    let writes = all.iter().map(|key| put(key, b"mine")).collect();
    disk.state().write(writes, at(7)).unwrap();
    assert_eq!(disk.state().applied().unwrap(), at(7));
    assert_eq!(keys(disk.state(), everything()), all);
    disk.state().write(all.iter().cloned().map(Write::Delete).collect(), at(8)).unwrap();
    assert_eq!(disk.state().applied().unwrap(), at(8));
}

fn a_scan_keeps_to_its_bounds<D: StateDisk>() {
    let disk = D::create();
    let state = disk.state();
    state.write([b"a", b"b", b"c", b"d"].map(|key| put(key, b"12345")).to_vec(), at(1)).unwrap();
    let from_b = || Scan { start: b"b".to_vec(), ..everything() };
    assert_eq!(keys(state, from_b()), [b"b", b"c", b"d"]);
    assert_eq!(keys(state, Scan { end: Some(b"d".to_vec()), ..from_b() }), [b"b", b"c"]);
    assert_eq!(keys(state, Scan { end: Some(b"a".to_vec()), ..from_b() }), Vec::<Vec<u8>>::new());
    assert_eq!(keys(state, Scan { max_items: 2, ..everything() }), [b"a", b"b"]);
    assert_eq!(keys(state, Scan { max_items: 0, ..everything() }), Vec::<Vec<u8>>::new());
    assert_eq!(keys(state, Scan { max_bytes: 6, ..everything() }), [b"a", b"b"], "the one that crosses is included");
    assert_eq!(keys(state, Scan { max_bytes: 5, ..everything() }), [b"a"]);
    assert_eq!(keys(state, Scan { start: b"bb".to_vec(), ..everything() }), [b"c", b"d"]);
}

fn after_a_failed_flush_every_later_write_is_refused<D: StateDisk>() {
    let mut disk = D::create();
    disk.state().write(vec![put(b"x", b"1")], at(1)).unwrap();
    disk.break_disk();
    assert!(disk.state().flush().is_err());
    for _ in 0..3 {
        assert!(disk.state().write(vec![put(b"x", b"2")], at(2)).is_err());
        assert!(disk.state().flush().is_err());
        assert!(disk.state().check().is_err());
    }
    assert_eq!(disk.state().applied().unwrap(), at(1));
}
