//! The stories of a log.

use std::sync::Arc;

use raft::{Batch, Entry, HardState, Index, Install, Intent, LogId, Membership, NodeId, Payload, Term};

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
    every_membership_behind_the_mark_is_found_and_a_truncated_one_forgotten
    ranges_are_read_back_within_their_limits
    an_index_outside_the_log_is_an_error
    a_promise_and_a_start_are_kept
    a_flipped_byte_is_seen
    a_lost_entry_is_seen
    a_newer_format_is_told_apart_from_damage
    after_a_failed_write_every_later_one_is_refused
    a_cut_forgets_what_is_before_it_and_keeps_what_is_behind
    a_cut_at_the_end_leaves_an_empty_log_that_goes_on
    cuts_go_on_over_many_entries
    a_cut_that_came_late_changes_nothing
    a_cut_at_an_entry_that_is_not_there_is_our_bug
    behind_a_cut_the_log_is_truncated_and_rewritten_as_ever
    before_the_mark_nothing_is_truncated
    a_group_may_cut_what_it_appends
    term_and_vote_outlive_every_cut
    a_snapshot_takes_the_place_of_a_shorter_log
    a_snapshot_keeps_what_follows_the_very_entry_at_its_mark
    a_snapshot_of_another_history_leaves_nothing_of_the_old_one
    a_snapshot_at_the_mark_itself_keeps_what_is_behind
    a_snapshot_and_what_follows_it_are_one_write
    a_group_may_cut_install_and_cut_again
    a_snapshot_of_an_older_generation_is_our_bug
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

fn cut(index: Index, term: u64) -> Batch {
    Batch { cut: Some(LogId::new(Term(term), index)), ..Batch::default() }
}

fn install(index: Index, term: u64, generation: u64) -> Batch {
    Batch { install: Some(Install { mark: LogId::new(Term(term), index), generation }), ..Batch::default() }
}

/// A log of entries 1 to `last`, of term 1, each persisted alone.
fn filled<D: LogDisk>(last: Index) -> D {
    let disk = D::create();
    (1..=last).for_each(|index| disk.log().persist(&[append([command(index, 1)])]).unwrap());
    disk
}

/// That the log holds these entries behind this mark and no others, now and after a crash.
fn assert_holds<D: LogDisk>(disk: &mut D, mark: LogId, entries: &[Entry]) {
    let ids = ids(entries);
    for life in ["live", "reopened"] {
        let image = load(disk);
        assert_eq!((image.mark, &image.tail[..]), (mark, entries), "{life}");
        assert_eq!(image.last, ids.last().copied().unwrap_or(mark), "{life}");
        assert_eq!(image.terms.first().map(|(start, _)| *start), ids.first().map(|id| id.index), "{life}");
        for index in 0..=mark.index {
            let read = disk.log().entries(index, index, usize::MAX);
            assert!(matches!(read, Err(Error::NotInLog { index: told }) if told == index), "{life}: {index} is {read:?}");
        }
        for entry in entries {
            let index = entry.id.index;
            assert_eq!(disk.log().entries(index, index, usize::MAX).unwrap(), std::slice::from_ref(entry), "{life}");
        }
        if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
            assert_eq!(disk.log().entries(first.index, last.index, usize::MAX).unwrap(), entries, "{life}");
        }
        let behind = image.last.index + 1;
        assert!(matches!(disk.log().entries(behind, behind, usize::MAX), Err(Error::NotInLog { .. })), "{life}");
        disk.crash();
    }
}

fn assert_bug(hint: &str, act: impl FnOnce() + std::panic::UnwindSafe) {
    let panicked = std::panic::catch_unwind(act).unwrap_err();
    let message = panicked.downcast_ref::<String>().cloned().or(panicked.downcast_ref::<&str>().map(|text| text.to_string())).unwrap();
    assert!(message.contains(hint), "{message}");
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
            memberships: vec![],
            generation: 0,
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
    disk.log().persist(&[Batch { hard: Some(hard), ..append(entries[..2].to_vec()) }]).unwrap();
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
    assert_bug("leaves a gap", || drop(D::create().log().persist(&[append([command(2, 1)])])));
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

fn every_membership_behind_the_mark_is_found_and_a_truncated_one_forgotten<D: LogDisk>() {
    let mut disk = D::create();
    let of = |index, voters: &[u64]| {
        let learners = [(NodeId(7), Intent::Promote), (NodeId(8), Intent::Replace(NodeId(1))), (NodeId(9), Intent::Stay)].into();
        let membership = Membership { learners, ..Membership::of_voters(voters.iter().map(|id| NodeId(*id))) };
        (
            Entry { id: LogId::new(Term(1), index), payload: Payload::Membership(membership.clone()) },
            (LogId::new(Term(1), index), membership),
        )
    };
    let ((first, three), (second, four), (third, five)) = (of(2, &[1, 2, 3]), of(4, &[1, 2, 3, 4]), of(6, &[1, 2, 3, 4, 5]));
    disk.log().persist(&[append([command(1, 1), first, command(3, 1), second, command(5, 1), third, command(7, 1)])]).unwrap();
    disk.crash();
    let found = |disk: &D| disk.log().load(0).unwrap().memberships;
    assert_eq!(found(&disk), [three.clone(), four.clone(), five], "found outside the tail too");
    disk.log().persist(&[replace(6, [])]).unwrap();
    assert_eq!(found(&disk), [three, four.clone()]);
    disk.log().persist(&[cut(3, 1)]).unwrap();
    disk.crash();
    assert_eq!(found(&disk), std::slice::from_ref(&four));
    disk.log().persist(&[cut(4, 1)]).unwrap();
    assert_eq!(found(&disk), [], "what the mark stands on is in the state");
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

fn a_cut_forgets_what_is_before_it_and_keeps_what_is_behind<D: LogDisk>() {
    let mut disk: D = filled(9);
    let kept: Vec<Entry> = (4..=9).map(|index| command(index, 1)).collect();
    disk.log().persist(&[cut(3, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 3), &kept);
    disk.log().persist(&[append([command(10, 2)]), cut(9, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 9), &[command(10, 2)]);
}

fn a_cut_at_the_end_leaves_an_empty_log_that_goes_on<D: LogDisk>() {
    let mut disk: D = filled(5);
    disk.log().persist(&[cut(5, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 5), &[]);
    disk.log().persist(&[append([command(6, 3)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 5), &[command(6, 3)]);
}

fn cuts_go_on_over_many_entries<D: LogDisk>() {
    let mut disk = D::create();
    for index in 1..=60 {
        disk.log().persist(&[append([large(index)])]).unwrap();
        if index % 7 == 0 {
            disk.log().persist(&[cut(index - 5, 1)]).unwrap();
            assert_holds(&mut disk, LogId::new(Term(1), index - 5), &(index - 4..=index).map(large).collect::<Vec<_>>());
        }
    }
    disk.log().persist(&[cut(59, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 59), &[large(60)]);
}

fn a_cut_that_came_late_changes_nothing<D: LogDisk>() {
    let mut disk: D = filled(5);
    disk.log().persist(&[cut(4, 1)]).unwrap();
    disk.log().persist(&[cut(4, 1), cut(2, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 4), &[command(5, 1)]);
}

fn a_cut_at_an_entry_that_is_not_there_is_our_bug<D: LogDisk>() {
    for (index, term) in [(6, 1), (3, 2)] {
        assert_bug("does not hold", move || drop(filled::<D>(5).log().persist(&[cut(index, term)])));
    }
}

fn behind_a_cut_the_log_is_truncated_and_rewritten_as_ever<D: LogDisk>() {
    let mut disk: D = filled(9);
    disk.log().persist(&[cut(5, 1)]).unwrap();
    disk.log().persist(&[replace(8, [command(8, 2)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 5), &[command(6, 1), command(7, 1), command(8, 2)]);
    disk.log().persist(&[replace(6, [])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 5), &[]);
    disk.log().persist(&[append([command(6, 4)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 5), &[command(6, 4)]);
}

fn before_the_mark_nothing_is_truncated<D: LogDisk>() {
    assert_bug("behind the log's mark", || drop(filled::<D>(5).log().persist(&[cut(3, 1), replace(3, [])])));
}

fn a_group_may_cut_what_it_appends<D: LogDisk>() {
    let mut disk: D = filled(5);
    disk.log().persist(&[replace(4, [command(4, 2), command(5, 2), command(6, 2)]), cut(5, 2), append([command(7, 3)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(2), 5), &[command(6, 2), command(7, 3)]);
    let shorter = Batch { cut: Some(LogId::new(Term(2), 6)), ..replace(7, []) };
    disk.log().persist(&[append([command(8, 3)]), shorter]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(2), 6), &[]);
}

fn term_and_vote_outlive_every_cut<D: LogDisk>() {
    let mut disk: D = filled(3);
    let before = HardState { term: Term(4), vote: Some(NodeId(2)) };
    disk.log().persist(&[Batch { hard: Some(before), ..Batch::default() }]).unwrap();
    disk.log().persist(&[cut(3, 1)]).unwrap();
    disk.crash();
    assert_eq!(load(&disk).hard, before);
    let with_it = HardState { term: Term(5), vote: None };
    disk.log().persist(&[Batch { hard: Some(with_it), ..install(9, 4, 1) }]).unwrap();
    disk.crash();
    assert_eq!(load(&disk).hard, with_it);
}

fn a_snapshot_takes_the_place_of_a_shorter_log<D: LogDisk>() {
    let mut disk: D = filled(5);
    disk.log().persist(&[install(100, 7, 1)]).unwrap();
    assert_eq!(load(&disk).generation, 1);
    assert_holds(&mut disk, LogId::new(Term(7), 100), &[]);
    assert_eq!(load(&disk).generation, 1);
    disk.log().persist(&[append([command(101, 7)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(7), 100), &[command(101, 7)]);
    disk.log().persist(&[cut(101, 7)]).unwrap();
    disk.crash();
    assert_eq!(load(&disk).generation, 1, "a cut leaves the generation as it was");
}

fn a_snapshot_keeps_what_follows_the_very_entry_at_its_mark<D: LogDisk>() {
    let mut disk: D = filled(9);
    disk.log().persist(&[install(6, 1, 1)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(1), 6), &[command(7, 1), command(8, 1), command(9, 1)]);
    disk.log().persist(&[append([command(10, 2)])]).unwrap();
    disk.log().persist(&[install(10, 2, 2)]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(2), 10), &[]);
}

fn a_snapshot_of_another_history_leaves_nothing_of_the_old_one<D: LogDisk>() {
    for (index, last) in [(6, 9), (9, 9), (6, 60)] {
        let mut disk = D::create();
        (1..=last).for_each(|index| disk.log().persist(&[append([large(index)])]).unwrap());
        let mark = LogId::new(Term(2), index);
        disk.log().persist(&[install(index, 2, 1)]).unwrap();
        assert_holds(&mut disk, mark, &[]);
        disk.log().persist(&[append([command(index + 1, 2)])]).unwrap();
        assert_holds(&mut disk, mark, &[command(index + 1, 2)]);
    }
}

fn a_snapshot_at_the_mark_itself_keeps_what_is_behind<D: LogDisk>() {
    let mut disk: D = filled(5);
    disk.log().persist(&[cut(3, 1)]).unwrap();
    disk.log().persist(&[install(3, 1, 1)]).unwrap();
    assert_eq!(load(&disk).generation, 1);
    assert_holds(&mut disk, LogId::new(Term(1), 3), &[command(4, 1), command(5, 1)]);
}

fn a_snapshot_and_what_follows_it_are_one_write<D: LogDisk>() {
    for (term, kept) in [(1, true), (2, false)] {
        let mut disk: D = filled(9);
        let hard = HardState { term: Term(5), vote: Some(NodeId(3)) };
        let with_entries = Batch { hard: Some(hard), truncate: Some(8), entries: vec![command(8, 5)], ..install(6, term, 1) };
        let without = Batch { hard: Some(hard), entries: vec![command(7, 5), command(8, 5)], ..install(6, term, 1) };
        disk.log().persist(&[if kept { with_entries } else { without }, append([command(9, 5)])]).unwrap();
        let seventh = command(7, if kept { 1 } else { 5 });
        assert_holds(&mut disk, LogId::new(Term(term), 6), &[seventh, command(8, 5), command(9, 5)]);
        assert_eq!((load(&disk).hard, load(&disk).generation), (hard, 1));
    }
}

fn a_group_may_cut_install_and_cut_again<D: LogDisk>() {
    let mut disk: D = filled(9);
    let group = [cut(2, 1), append([command(10, 1)]), install(12, 2, 1), append([command(13, 2), command(14, 2)]), cut(13, 2)];
    disk.log().persist(&group).unwrap();
    assert_holds(&mut disk, LogId::new(Term(2), 13), &[command(14, 2)]);
    disk.log().persist(&[install(20, 3, 2), append([command(21, 3)]), install(21, 3, 3), append([command(22, 3)])]).unwrap();
    assert_holds(&mut disk, LogId::new(Term(3), 21), &[command(22, 3)]);
    assert_eq!(load(&disk).generation, 3);
}

fn a_snapshot_of_an_older_generation_is_our_bug<D: LogDisk>() {
    assert_bug("of generation 1 over 1", || drop(filled::<D>(3).log().persist(&[install(5, 1, 1), install(6, 1, 1)])));
}
