//! A log that is cut, and snapshots in the place of what is gone.

use raft::{Batch, EntriesRead, Envelope, HardState, Install, LogId, Message, NodeId, RoleName, Snapshot, Term};

use crate::member::{ME, Member, accepted, acknowledged, append, entry, granted, heartbeat, held, id, offering, rejected, voters};

/// A leader of three that has cut its log at 5; member 3 has nothing behind 1 and has said so.
fn with_a_laggard() -> (Member, u64, LogId) {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for _ in 0..4 {
        leader.propose("x");
    }
    leader.sync();
    leader.hear(2, term, accepted(5));
    let mark = leader.cut();
    leader.hear(3, term, rejected(5, id(term, 1)));
    leader.said();
    (leader, term, mark)
}

fn receive(member: &mut Member, from: u64, term: u64, message: Message) {
    member.node.receive(Envelope { from: NodeId(from), to: NodeId(ME), term: Term(term), message });
}

#[test]
fn a_peer_that_lacks_what_is_cut_is_offered_a_snapshot_at_the_pace_of_heartbeats() {
    let (mut leader, term, mark) = with_a_laggard();
    assert!(leader.need_snapshot, "there is none yet");
    leader.node.snapshot_ready(mark);
    leader.settle();
    assert!(!leader.need_snapshot);
    leader.ticks(5);
    let asked = leader.appends_to(3);
    assert_eq!(asked.iter().map(|append| (append.prev, append.offer)).collect::<Vec<_>>(), [(mark, Some(mark))]);
    leader.hear(3, term, rejected(mark.index, id(term, 1)));
    leader.propose("not for one that lacks so much");
    assert_eq!(leader.appends_to(3), []);
    leader.hear(3, term, accepted(mark.index));
    assert_eq!(leader.appends_to(3)[0].entries.len(), 1, "with the snapshot in, entries flow again");
}

#[test]
fn no_other_peer_is_offered_anything() {
    let (mut leader, _, mark) = with_a_laggard();
    leader.node.snapshot_ready(mark);
    leader.ticks(10);
    assert!(leader.appends_to(2).iter().all(|append| append.offer.is_none()));
}

#[test]
fn a_snapshot_that_ends_before_the_log_begins_is_worth_nothing() {
    let (mut leader, _, mark) = with_a_laggard();
    leader.node.snapshot_ready(LogId { index: mark.index - 1, ..mark });
    leader.ticks(5);
    assert!(leader.need_snapshot && leader.appends_to(3).iter().all(|append| append.offer.is_none()));
}

#[test]
fn a_peer_that_stops_fetching_and_is_heard_no_more_holds_up_nothing() {
    let (mut leader, term, mark) = with_a_laggard();
    leader.node.snapshot_ready(mark);
    assert_eq!(leader.node.offer_in_use(), Some(mark));
    for _ in 0..10 {
        leader.ticks(5);
        leader.hear(2, term, accepted(5));
    }
    assert_eq!(leader.node.offer_in_use(), None, "or the log would grow as long as it is away");
    leader.propose("y");
    leader.sync();
    leader.hear(2, term, accepted(6));
    leader.cut();
    assert!(!leader.need_snapshot, "nor is a state copied for nobody");
    leader.hear(3, term, rejected(5, id(term, 1)));
    assert!(leader.need_snapshot, "until it is back");
}

#[test]
fn answers_from_before_the_cut_do_not_lead_back_behind_it() {
    let (mut leader, term, _) = with_a_laggard();
    leader.hear(3, term, held(1, 1));
    leader.hear(3, term, rejected(3, id(term, 2)));
    leader.propose("y");
    leader.ticks(5);
    assert!(leader.appends_to(3).iter().all(|append| append.prev.index == 5 && append.entries.is_empty()));
}

#[test]
fn entries_read_for_a_peer_before_the_cut_are_dropped() {
    let mut leader = Member::with(3, &[1; 20], |config| config.cache_max_bytes = 0);
    let term = leader.elect();
    leader.sync();
    leader.hear(2, term, accepted(21));
    leader.hear(3, term, rejected(20, id(0, 0)));
    leader.hear(3, term, held(0, 0));
    let need = leader.need[0];
    leader.cut();
    leader.said();
    leader.node.entries_read(EntriesRead { peer: need.peer, term: need.term, entries: (1..=8).map(|index| entry(1, index)).collect() });
    leader.settle();
    assert_eq!(leader.appends_to(3), []);
    assert!(leader.need_snapshot);
}

#[test]
fn a_new_stream_to_a_peer_that_needs_a_snapshot_changes_nothing_for_long() {
    let (mut leader, term, mark) = with_a_laggard();
    leader.node.snapshot_ready(mark);
    leader.node.reconnected(NodeId(3));
    leader.hear(3, term, rejected(mark.index, id(term, 1)));
    leader.said();
    leader.ticks(5);
    assert_eq!(leader.appends_to(3)[0].offer, Some(mark));
}

#[test]
fn a_follower_fetches_what_it_is_offered_as_long_as_it_lacks_it() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    for _ in 0..2 {
        member.hear(2, 2, offering(id(2, 10), id(2, 12)));
        assert_eq!(member.fetch.map(|fetch| (fetch.from, fetch.mark)), Some((NodeId(2), id(2, 12))));
    }
    assert!(member.install(id(2, 12)));
    member.hear(2, 2, offering(id(2, 10), id(2, 12)));
    assert_eq!(member.fetch, None);
}

#[test]
fn an_installed_snapshot_is_acknowledged_applied_and_counted_on_only_once_durable() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    member.hear(2, 2, heartbeat(id(2, 12), 12));
    member.sync();
    member.said();
    assert!(member.install(id(2, 12)));
    assert_eq!(member.writing[0].1.install, Some(Install { mark: id(2, 12), generation: 1 }));
    member.hear(2, 2, heartbeat(id(2, 12), 12));
    assert_eq!(acknowledged(&member.said()), Some((12, 0)), "the position counts as matched, no more");
    assert_eq!(member.apply_through, 0);
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((12, 12)));
    assert_eq!((member.apply_through, member.node.commit(), member.node.mark()), (12, 12, id(2, 12)));
    member.hear(2, 2, append(id(2, 12), &[2], 13));
    member.sync();
    assert_eq!((acknowledged(&member.said()), member.apply_through), (Some((13, 13)), 13));
}

#[test]
fn a_snapshot_that_leads_nowhere_is_refused() {
    let mut member = Member::with(3, &[1, 1, 1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 3), 2));
    assert!(!member.install(id(1, 2)) && !member.install(id(1, 1)));
    assert!(member.writing.is_empty());
    let mut leader = Member::of(3);
    let term = leader.lead();
    assert!(!leader.install(id(term, 5)), "a leader has everything");
}

#[test]
fn what_lies_behind_the_mark_stays_if_the_log_holds_the_entry_at_the_mark() {
    let mut member = Member::with(3, &[1, 1, 2, 2, 2], |_| {});
    assert!(member.install(id(2, 3)));
    let batch = Batch { install: Some(Install { mark: id(2, 3), generation: 1 }), ..Batch::default() };
    assert_eq!(member.writing[0].1, batch);
    assert_eq!((member.node.status().last, member.node.commit()), (id(2, 5), 3));
    member.hear(2, 3, heartbeat(id(2, 5), 3));
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((5, 5)));
}

#[test]
fn what_lies_behind_the_mark_goes_if_the_log_holds_another_entry_there() {
    let mut member = Member::with(3, &[1, 1, 2, 2, 2], |_| {});
    member.hear(2, 3, heartbeat(id(3, 9), 0));
    assert!(member.install(id(3, 3)));
    assert_eq!((member.node.status().last, member.node.status().durable), (id(3, 3), 0));
    member.sync();
    assert_eq!((member.node.status().last, member.node.status().durable), (id(3, 3), 3));
    member.hear(2, 3, append(id(3, 3), &[3], 3));
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((4, 4)));
}

#[test]
fn a_snapshot_in_the_place_of_a_log_in_flight_waits_for_its_own_sync() {
    let mut member = Member::of(3);
    member.hear(2, 2, append(id(0, 0), &[2, 2, 2], 2));
    assert!(member.install(id(2, 9)));
    let batches: Vec<_> = member.writing.iter().map(|(seq, _)| *seq).collect();
    member.sync_only(batches[0]);
    assert_eq!(member.node.status().durable, 2, "what is committed went to the disk before");
    assert_eq!(acknowledged(&member.said()), Some((9, 2)));
    member.sync_only(batches[1]);
    assert_eq!(acknowledged(&member.said()), Some((9, 9)));
}

/// 2@1 and all behind it truncated, 2 and 3 written again as they were, and the snapshot: all in one batch. The disk still has 4 and 5.
#[test]
fn a_truncation_in_the_same_batch_is_not_lost_behind_a_mark_that_the_disk_holds() {
    let mut member = Member::with(3, &[1, 1, 1, 1, 1], |_| {});
    receive(&mut member, 2, 2, append(id(1, 1), &[2], 0));
    receive(&mut member, 3, 3, append(id(1, 1), &[1, 1], 0));
    assert!(member.install(id(1, 2)));
    assert_eq!(member.node.status().last, id(1, 3));
    let batch = &member.writing[0].1;
    assert_eq!(batch.truncate, Some(3), "or the disk would keep 4 and 5");
    assert_eq!(batch.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(1, 3)]);
}

#[test]
fn a_snapshot_says_nothing_of_terms_and_votes() {
    let hard = HardState { term: Term(4), vote: Some(NodeId(2)) };
    let mut member = Member::found(voters(&[1, 2, 3]), hard, Vec::new(), |_| {});
    assert!(member.install(id(3, 7)));
    assert_eq!((member.writing[0].1.hard, member.node.hard_state()), (None, hard));
    member.hear(3, 4, Message::Vote { last: id(4, 99) });
    member.hear(2, 4, Message::Vote { last: id(3, 7) });
    assert_eq!(member.said(), [(3, 4, Message::VoteReply { granted: false }), (2, 4, granted())]);
}

#[test]
fn a_snapshot_brings_its_configuration_and_the_log_behind_it_newer_ones() {
    let newer = raft::Entry { payload: raft::Payload::Membership(voters(&[1, 2, 4])), ..entry(1, 4) };
    let hard = HardState { term: Term(1), vote: None };
    let with_log = || Member::found(voters(&[1, 2, 3]), hard, [crate::member::log(&[1, 1, 1]), vec![newer.clone()]].concat(), |_| {});
    let bring = |member: &mut Member, mark: LogId| {
        let membership = Some((2, voters(&[1, 2, 3, 5])));
        assert!(member.node.install(Snapshot { mark, generation: 1, membership }));
        member.settle();
    };
    let mut member = with_log();
    bring(&mut member, id(1, 3));
    assert_eq!((member.node.membership(), member.node.committed_membership().0), (&voters(&[1, 2, 4]), 2));
    let mut member = with_log();
    bring(&mut member, id(1, 9));
    assert_eq!(*member.node.membership(), voters(&[1, 2, 3, 5]));
}

/// It lags, restarted, and every answer since got lost; the first that arrives is given while the snapshot is on its way to the disk.
#[test]
fn a_member_that_installs_a_snapshot_has_forgotten_nothing() {
    let mut member = Member::with(3, &[1, 1, 1], |_| {});
    assert!(member.install(id(1, 10)));
    let mut end = || {
        member.hear(2, 1, heartbeat(id(1, 10), 10));
        let told = member.said().into_iter().find_map(|(_, _, message)| match message {
            Message::Accepted { report, .. } => Some(report.end),
            _ => None,
        });
        member.sync();
        told
    };
    assert_eq!(end(), Some(3), "its disk still holds all it ever acknowledged");
    assert_eq!(end(), Some(10));
}

#[test]
fn a_log_cut_at_its_end_hints_at_the_mark_and_goes_on_behind_it() {
    let mut member = Member::cut_at(id(3, 50), voters(&[1, 2, 3]));
    member.hear(2, 4, heartbeat(id(4, 80), 50));
    member.sync();
    let hint = member.said().into_iter().find_map(|(_, _, message)| match message {
        Message::Rejected { hint, .. } => Some(hint),
        _ => None,
    });
    assert_eq!(hint, Some(id(3, 50)));
    member.hear(2, 4, append(id(2, 40), &[2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4], 51));
    member.sync();
    assert_eq!((member.node.status().last, acknowledged(&member.said())), (id(4, 51), Some((51, 51))));
    member.hear(2, 4, append(id(1, 20), &[2, 2], 51));
    assert_eq!(acknowledged(&member.said()), Some((51, 51)), "all before the mark is the leader's, too");
}

#[test]
fn a_cut_is_one_batch_and_moves_forward_only() {
    let mut member = Member::with(3, &[1, 1, 1, 1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 4), 3));
    for mark in [2, 2, 1, 3] {
        member.node.compact(id(1, mark));
        member.settle();
    }
    let cuts: Vec<_> = member.writing.iter().map(|(_, batch)| batch.cut).collect();
    assert_eq!(cuts, [Some(id(1, 2)), Some(id(1, 3))]);
}

#[test]
#[should_panic(expected = "only what is committed and durable is cut")]
fn a_cut_behind_what_is_committed_is_our_own_bug() {
    let mut member = Member::with(3, &[1, 1, 1, 1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 4), 3));
    member.node.compact(id(1, 4));
}

#[test]
fn a_candidate_may_install_and_still_win() {
    let mut member = Member::of(3);
    member.ticks_until_it_speaks();
    member.said();
    member.hear(2, 0, Message::PreVoteReply { granted: true, asked: Term(0) });
    member.sync();
    assert_eq!(member.role(), RoleName::Candidate);
    assert!(member.install(id(1, 7)));
    member.sync();
    member.hear(2, 1, granted());
    assert!(member.node.is_leader());
    member.sync();
    assert_eq!(member.last(), 8);
    member.hear(2, 1, rejected(7, id(0, 0)));
    assert!(member.need_snapshot, "its log begins behind the snapshot");
}
