//! The stories of a state's generations.

use raft::{Index, LogId, Term};

use super::HomeDisk;
use crate::{Error, Scan, StateHome as _, StateStore, Write};

run_on_every_engine! { MemHomeDisk, crate::rocks::tests::RocksHomeDisk:
    the_first_generation_is_made_and_a_later_one_is_not
    who_opens_a_generation_twice_gets_one_state
    a_checkpoint_stays_as_it_was_while_the_original_goes_on
    a_checkpoint_outlives_later_ones_and_the_generation_itself
    a_checkpoint_is_never_written
    a_staged_state_that_was_flushed_is_there_after_a_crash
    a_staged_state_that_was_never_flushed_does_not_count
    staging_again_begins_empty
    a_removed_generation_is_gone
    a_generation_that_is_open_is_not_removed
    a_start_keeps_the_one_generation_that_counts
    where_the_one_that_counts_is_missing_nothing_is_removed
}

fn at(index: Index) -> LogId {
    LogId::new(Term(1), index)
}

fn put(state: &dyn StateStore, value: &[u8], index: Index) {
    state.write(vec![Write::Put(b"k".to_vec(), value.to_vec())], at(index)).unwrap();
}

/// The one value and where it comes from.
fn found(state: &dyn StateStore) -> (Option<Vec<u8>>, Index) {
    let everything = Scan { start: vec![], end: None, max_items: usize::MAX, max_bytes: usize::MAX };
    let pairs = state.scan(&everything).unwrap();
    assert_eq!(pairs.first().map(|(_, value)| value.clone()), state.get(b"k").unwrap());
    (state.get(b"k").unwrap(), state.applied().unwrap().index)
}

fn holds(value: &[u8], index: Index) -> (Option<Vec<u8>>, Index) {
    (Some(value.to_vec()), index)
}

fn assert_missing<D: HomeDisk>(disk: &D, generation: u64) {
    let error = disk.home().open(generation).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { detail, .. } if detail.contains("is missing")), "{error}");
}

fn the_first_generation_is_made_and_a_later_one_is_not<D: HomeDisk>() {
    let disk = D::create();
    assert_eq!(found(&*disk.home().open(0).unwrap()), (None, 0));
    assert_missing(&disk, 1);
    assert_missing(&disk, 1);
}

fn who_opens_a_generation_twice_gets_one_state<D: HomeDisk>() {
    let disk = D::create();
    let (one, other) = (disk.home().open(0).unwrap(), disk.home().open(0).unwrap());
    put(&*one, b"x", 1);
    assert_eq!(found(&*other), holds(b"x", 1));
    drop((one, other));
    assert_eq!(found(&*disk.home().open(0).unwrap()), holds(b"x", 1), "given back, it is there again");
}

fn a_checkpoint_stays_as_it_was_while_the_original_goes_on<D: HomeDisk>() {
    let disk = D::create();
    let state = disk.home().open(0).unwrap();
    put(&*state, b"flushed", 1);
    state.flush().unwrap();
    put(&*state, b"old", 2);
    let frozen = disk.home().checkpoint(0).unwrap();
    put(&*state, b"new", 3);
    state.flush().unwrap();
    assert_eq!((found(&*frozen), found(&*state)), (holds(b"old", 2), holds(b"new", 3)));
    frozen.check().unwrap();
}

fn a_checkpoint_outlives_later_ones_and_the_generation_itself<D: HomeDisk>() {
    let disk = D::create();
    let state = disk.home().stage(1).unwrap();
    put(&*state, b"old", 1);
    let first = disk.home().checkpoint(1).unwrap();
    put(&*state, b"new", 2);
    let second = disk.home().checkpoint(1).unwrap();
    drop(state);
    disk.home().remove(1).unwrap();
    assert_eq!((found(&*first), found(&*second)), (holds(b"old", 1), holds(b"new", 2)));
}

fn a_checkpoint_is_never_written<D: HomeDisk>() {
    let disk = D::create();
    put(&*disk.home().open(0).unwrap(), b"x", 1);
    let frozen = disk.home().checkpoint(0).unwrap();
    let write = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(frozen.write(vec![], at(2)))));
    assert!(write.is_err());
    assert_eq!(found(&*disk.home().checkpoint(0).unwrap()), holds(b"x", 1));
}

fn a_staged_state_that_was_flushed_is_there_after_a_crash<D: HomeDisk>() {
    let mut disk = D::create();
    put(&*disk.home().open(0).unwrap(), b"old", 1);
    let staged = disk.home().stage(1).unwrap();
    put(&*staged, b"half", 5);
    put(&*staged, b"whole", 9);
    staged.flush().unwrap();
    assert_eq!(staged.applied_durable().unwrap(), at(9));
    assert_eq!(found(&*disk.home().open(1).unwrap()), holds(b"whole", 9), "whoever stages it need not close it first");
    disk.crash();
    disk.home().keep_only(1).unwrap();
    let state = disk.home().open(1).unwrap();
    assert_eq!(found(&*state), holds(b"whole", 9));
    put(&*state, b"next", 10);
    state.flush().unwrap();
    drop(state);
    disk.crash();
    assert_eq!(found(&*disk.home().open(1).unwrap()), holds(b"next", 10));
}

fn a_staged_state_that_was_never_flushed_does_not_count<D: HomeDisk>() {
    let mut disk = D::create();
    let state = disk.home().open(0).unwrap();
    put(&*state, b"old", 1);
    state.flush().unwrap();
    put(&*disk.home().stage(1).unwrap(), b"half", 9);
    drop(state);
    disk.crash();
    disk.home().keep_only(0).unwrap();
    assert_missing(&disk, 1);
    assert_eq!(found(&*disk.home().open(0).unwrap()), holds(b"old", 1));
}

fn staging_again_begins_empty<D: HomeDisk>() {
    let mut disk = D::create();
    for _ in 0..2 {
        let staged = disk.home().stage(1).unwrap();
        assert_eq!(found(&*staged), (None, 0));
        put(&*staged, b"x", 9);
        staged.flush().unwrap();
        drop(staged);
    }
    disk.crash();
    assert_eq!(found(&*disk.home().stage(1).unwrap()), (None, 0));
}

fn a_removed_generation_is_gone<D: HomeDisk>() {
    let mut disk = D::create();
    let staged = disk.home().stage(1).unwrap();
    staged.flush().unwrap();
    drop(staged);
    disk.home().remove(1).unwrap();
    assert_missing(&disk, 1);
    disk.crash();
    assert_missing(&disk, 1);
    disk.home().remove(1).unwrap();
}

fn a_generation_that_is_open_is_not_removed<D: HomeDisk>() {
    let disk = D::create();
    let _state = disk.home().stage(1).unwrap();
    for act in [|disk: &D| disk.home().remove(1), |disk: &D| disk.home().stage(1).map(|_| ())] {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(act(&disk)))).is_err());
    }
}

fn a_start_keeps_the_one_generation_that_counts<D: HomeDisk>() {
    let mut disk = D::create();
    for generation in [1, 2, 3] {
        let staged = disk.home().stage(generation).unwrap();
        put(&*staged, b"x", generation);
        staged.flush().unwrap();
    }
    let checkpoint = disk.home().checkpoint(2).unwrap();
    disk.crash();
    disk.home().keep_only(2).unwrap();
    for generation in [1, 3] {
        assert_missing(&disk, generation);
    }
    assert_eq!(found(&*disk.home().open(2).unwrap()), holds(b"x", 2));
    assert_eq!(found(&*checkpoint), holds(b"x", 2), "that of the dead process");
}

fn where_the_one_that_counts_is_missing_nothing_is_removed<D: HomeDisk>() {
    let disk = D::create();
    let staged = disk.home().stage(1).unwrap();
    put(&*staged, b"x", 1);
    staged.flush().unwrap();
    drop(staged);
    assert!(matches!(disk.home().keep_only(2), Err(Error::Corrupt { .. })));
    assert_eq!(found(&*disk.home().open(1).unwrap()), holds(b"x", 1));
}
