//! The stories of a log.

use std::sync::Arc;

use raft::{Batch, Entry, HardState, Index, LogId, Membership, NodeId, Payload, Term};

use super::{LogDisk, command, formation, large, noop};
use crate::{Error, Formation, LogImage, LogStore as _, Started, codec::FORMAT};

run_on_every_engine! { MemLogDisk, crate::segment_log::tests::SegmentLogDisk:
    a_new_log_knows_its_formation_and_nothing_else
    everything_persisted_comes_back_after_a_crash
    a_vote_without_entries_is_kept
    a_rewritten_tail_replaces_the_old_one
    entries_replaced_back_and_forth_in_one_group_end_as_the_last
    a_truncation_alone_shortens_the_log
    truncating_behind_the_end_changes_nothing
    a_gap_is_our_bug
    the_tail_is_bounded_and_never_empty
    the_newest_membership_is_found_and_a_truncated_one_forgotten
    ranges_are_read_back_within_their_limits
    an_index_outside_the_log_is_an_error
    a_promise_and_a_start_are_kept
    a_flipped_byte_is_seen
    a_lost_entry_is_seen
    a_newer_format_is_told_apart_from_damage
    after_a_failed_write_every_later_one_is_refused
}

fn load(disk: &impl LogDisk) -> LogImage {
    disk.log().load(usize::MAX).unwrap()
}

fn append(entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch { entries: entries.into_iter().collect(), ..Batch::default() }
}

fn replace(from: Index, entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch { truncate: Some(from), ..append(entries) }
}

fn ids(entries: &[Entry]) -> Vec<LogId> {
    entries.iter().map(|entry| entry.id).collect()
}

fn a_new_log_knows_its_formation_and_nothing_else<D: LogDisk>() {
    let mut disk = D::create();
    for _ in 0..2 {
        let expected = LogImage {
            hard: HardState::default(),
            mark: LogId::ZERO,
            last: LogId::ZERO,
            terms: vec![],
            tail: vec![],
            membership: None,
            formation: formation(),
        };
        assert_eq!(load(&disk), expected);
        disk.crash();
    }
}

fn everything_persisted_comes_back_after_a_crash<D: LogDisk>() {
    let mut disk = D::create();
    let hard = HardState { term: Term(3), vote: Some(NodeId(2)) };
    let entries = vec![noop(1, 1), command(2, 1), command(3, 3)];
    disk.log().persist(&[Batch { hard: Some(hard), truncate: None, entries: entries[..2].to_vec() }]).unwrap();
    disk.log().persist(&[append([entries[2].clone()])]).unwrap();
    disk.crash();
    let image = load(&disk);
    assert_eq!((image.hard, image.last), (hard, entries[2].id));
    assert_eq!(image.tail, entries);
    assert_eq!(image.terms, [(1, Term(1)), (3, Term(3))]);
    disk.log().persist(&[append([command(4, 3)])]).unwrap();
    disk.crash();
    assert_eq!(load(&disk).last, LogId::new(Term(3), 4), "a log goes on where it ended");
}

fn a_vote_without_entries_is_kept<D: LogDisk>() {
    let mut disk = D::create();
    for term in 1..=3 {
        let hard = HardState { term: Term(term), vote: (term == 2).then_some(NodeId(9)) };
        disk.log().persist(&[Batch { hard: Some(hard), ..Batch::default() }]).unwrap();
        disk.crash();
        assert_eq!(load(&disk).hard, hard);
    }
}

fn a_rewritten_tail_replaces_the_old_one<D: LogDisk>() {
    let mut disk = D::create();
    disk.log().persist(&[append((1..=5).map(|index| command(index, 1)))]).unwrap();
    disk.log().persist(&[replace(3, [command(3, 2)])]).unwrap();
    disk.crash();
    let image = load(&disk);
    assert_eq!(image.tail, [command(1, 1), command(2, 1), command(3, 2)]);
    assert_eq!(image.terms, [(1, Term(1)), (3, Term(2))]);
    disk.log().persist(&[append([command(4, 2)])]).unwrap();
    assert_eq!(load(&disk).last.index, 4);
}

fn entries_replaced_back_and_forth_in_one_group_end_as_the_last<D: LogDisk>() {
    let mut disk = D::create();
    disk.log().persist(&[append([command(1, 1)])]).unwrap();
    let a = |bytes: &[u8]| Entry { id: LogId::new(Term(1), 2), payload: Payload::Command(Arc::from(bytes)) };
    let group =
        [append([a(b"first"), command(3, 1)]), replace(2, [command(2, 2), command(3, 2), command(4, 2)]), replace(2, [a(b"again")])];
    disk.log().persist(&group).unwrap();
    disk.crash();
    assert_eq!(load(&disk).tail, [command(1, 1), a(b"again")]);
    disk.log().persist(&[append([command(3, 3)]), replace(3, []), append([command(3, 4), command(4, 4)])]).unwrap();
    disk.crash();
    assert_eq!(ids(&load(&disk).tail[2..]), [LogId::new(Term(4), 3), LogId::new(Term(4), 4)]);
}

fn a_truncation_alone_shortens_the_log<D: LogDisk>() {
    let mut disk = D::create();
    disk.log().persist(&[append((1..=3).map(|index| command(index, 1)))]).unwrap();
    disk.log().persist(&[replace(1, [])]).unwrap();
    disk.crash();
    assert_eq!((load(&disk).last, load(&disk).tail), (LogId::ZERO, vec![]));
}

fn truncating_behind_the_end_changes_nothing<D: LogDisk>() {
    let disk = D::create();
    disk.log().persist(&[append([command(1, 1)])]).unwrap();
    disk.log().persist(&[replace(2, [command(2, 1)])]).unwrap();
    disk.log().persist(&[replace(9, [])]).unwrap();
    assert_eq!(load(&disk).last.index, 2);
}

fn a_gap_is_our_bug<D: LogDisk>() {
    let bug = || D::create().log().persist(&[append([command(2, 1)])]);
    let panicked = std::panic::catch_unwind(bug).map(|_| ()).unwrap_err();
    let message = panicked.downcast_ref::<String>().unwrap();
    assert!(message.contains("leaves a gap"), "{message}");
}

fn the_tail_is_bounded_and_never_empty<D: LogDisk>() {
    let disk = D::create();
    let entries: Vec<Entry> = (1..=9).map(|index| command(index, index.div_ceil(3))).collect();
    disk.log().persist(&[append(entries.clone())]).unwrap();
    let one = entries[0].size_bytes();
    let image = disk.log().load(3 * one).unwrap();
    assert_eq!(image.tail, entries[6..]);
    assert_eq!(image.terms, [(1, Term(1)), (4, Term(2)), (7, Term(3))], "terms cover the whole log");
    assert_eq!(disk.log().load(0).unwrap().tail, entries[8..]);
}

fn the_newest_membership_is_found_and_a_truncated_one_forgotten<D: LogDisk>() {
    let mut disk = D::create();
    let of = |index, voters: &[u64]| {
        let membership = Membership::of_voters(voters.iter().map(|id| NodeId(*id)));
        (Entry { id: LogId::new(Term(1), index), payload: Payload::Membership(membership.clone()) }, membership)
    };
    let ((first, three), (second, five)) = (of(2, &[1, 2, 3]), of(4, &[1, 2, 3, 4, 5]));
    disk.log().persist(&[append([command(1, 1), first, command(3, 1), second, command(5, 1)])]).unwrap();
    disk.crash();
    let image = disk.log().load(0).unwrap();
    assert_eq!(image.membership, Some((LogId::new(Term(1), 4), five)), "found outside the tail too");
    disk.log().persist(&[replace(4, [])]).unwrap();
    assert_eq!(load(&disk).membership, Some((LogId::new(Term(1), 2), three)));
}

fn ranges_are_read_back_within_their_limits<D: LogDisk>() {
    let disk = D::create();
    let entries: Vec<Entry> = (1..=300).map(|index| command(index, 1)).collect();
    disk.log().persist(&[append(entries.clone())]).unwrap();
    let read = |first, last, max_bytes| disk.log().entries(first, last, max_bytes).unwrap();
    assert_eq!(read(1, 300, usize::MAX), entries);
    assert_eq!(read(255, 257, usize::MAX), entries[254..257], "across a carry in the key");
    let two: usize = entries[9..11].iter().map(Entry::size_bytes).sum();
    assert_eq!(read(10, 20, two), entries[9..11]);
    assert_eq!(read(10, 20, two - 1), entries[9..10]);
    assert_eq!(read(10, 20, 0), entries[9..10], "one entry always goes out, or a large one never would");
}

fn an_index_outside_the_log_is_an_error<D: LogDisk>() {
    let disk = D::create();
    disk.log().persist(&[append([command(1, 1), command(2, 1)])]).unwrap();
    let read = |first, last| disk.log().entries(first, last, usize::MAX);
    assert!(matches!(read(0, 1), Err(Error::NotInLog { index: 0 })));
    assert!(matches!(read(2, 3), Err(Error::NotInLog { index: 3 })));
    assert!(matches!(read(7, 8), Err(Error::NotInLog { index: 7 })));
}

fn a_promise_and_a_start_are_kept<D: LogDisk>() {
    let mut disk = D::create();
    let promised = Formation { promised: Some(vec![NodeId(1), NodeId(2)]), ..formation() };
    let started = Started { cluster_id: [9; 16], membership: Membership::of_voters([NodeId(1), NodeId(2)]) };
    for step in [promised.clone(), Formation { started: Some(started), ..promised }] {
        disk.log().save_formation(&step).unwrap();
        disk.crash();
        assert_eq!(load(&disk).formation, step);
    }
}

fn a_flipped_byte_is_seen<D: LogDisk>() {
    let disk = D::create();
    disk.log().persist(&[append([command(1, 1), command(2, 1), command(3, 1)])]).unwrap();
    disk.tamper(2, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(matches!(disk.log().load(usize::MAX), Err(Error::Corrupt { .. })));
    assert!(matches!(disk.log().entries(1, 3, usize::MAX), Err(Error::Corrupt { .. })));
    assert_eq!(disk.log().entries(3, 3, usize::MAX).unwrap(), [command(3, 1)]);
}

fn a_lost_entry_is_seen<D: LogDisk>() {
    let disk = D::create();
    disk.log().persist(&[append([command(1, 1), command(2, 1), command(3, 1)])]).unwrap();
    disk.lose(2);
    assert!(matches!(disk.log().load(usize::MAX), Err(Error::Corrupt { .. })));
    assert!(matches!(disk.log().entries(1, 3, usize::MAX), Err(Error::Corrupt { .. })));
}

fn a_newer_format_is_told_apart_from_damage<D: LogDisk>() {
    let disk = D::create();
    disk.log().persist(&[append([command(1, 1)])]).unwrap();
    disk.tamper(1, |bytes| bytes[0] = FORMAT + 1);
    let error = disk.log().load(usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Newer { found, known: FORMAT, .. } if found == FORMAT + 1), "{error}");
}

fn after_a_failed_write_every_later_one_is_refused<D: LogDisk>() {
    let mut disk = D::create();
    disk.log().persist(&[append([command(1, 1)])]).unwrap();
    disk.break_disk();
    let mut persisted = 1;
    while disk.log().persist(&[append([large(persisted + 1)])]).is_ok() {
        persisted += 1;
        assert!(persisted < 1_000, "the disk never failed");
    }
    for _ in 0..3 {
        assert!(disk.log().persist(&[append([command(persisted + 1, 1)])]).is_err());
        assert!(disk.log().save_formation(&formation()).is_err());
        assert!(disk.log().check().is_err());
    }
}
