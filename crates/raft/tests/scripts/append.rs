//! Taking a leader's entries: conflicts, late messages, and what may be acknowledged when.

use raft::{Index, LogId, Message, Seq};

use crate::member::{Member, acknowledged, append, heartbeat, held, id, rejected};

#[test]
fn an_append_is_acknowledged_once_durable_and_not_before() {
    let mut member = Member::of(3);
    member.hear(2, 1, heartbeat(id(0, 0), 0));
    member.sync();
    member.said();
    member.hear(2, 1, append(id(0, 0), &[1, 1], 0));
    assert_eq!(member.said(), []);
    member.hear(2, 1, heartbeat(id(1, 2), 0));
    assert_eq!(acknowledged(&member.said()), Some((2, 0)), "a heartbeat is answered at once, with what is durable");
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
}

#[test]
fn what_the_disk_holds_beyond_the_match_is_not_acknowledged() {
    let mut member = Member::with(3, &[1, 1, 1, 1], |_| {});
    member.hear(2, 2, heartbeat(id(1, 2), 0));
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((2, 2)), "indices 3 and 4 may differ from the leader's");
    member.hear(3, 3, heartbeat(id(1, 1), 0));
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((1, 1)), "a match holds for one term only");
}

#[test]
fn entries_already_durable_are_acknowledged_at_once() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    member.hear(2, 1, append(id(0, 0), &[1, 1], 0));
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
    assert!(member.writing.is_empty(), "and not written again");
}

#[test]
fn a_late_append_does_not_truncate_what_a_newer_one_added() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, append(id(1, 1), &[1, 1, 1], 0));
    member.sync();
    member.hear(2, 1, append(id(1, 1), &[1], 0));
    member.hear(2, 1, heartbeat(id(1, 1), 0));
    assert_eq!(member.terms(), [1, 1, 1, 1]);
    assert_eq!(acknowledged(&member.said()), Some((4, 4)));
}

#[test]
fn a_conflict_truncates_and_lowers_what_is_durable_at_once() {
    let mut member = Member::with(3, &[1, 1, 1], |_| {});
    member.hear(2, 2, append(id(1, 1), &[2], 0));
    assert_eq!((member.terms(), member.node.status().durable), (vec![1, 2], 1));
    let batch = &member.writing[0].1;
    assert_eq!((batch.truncate, batch.entries.len()), (Some(2), 1));
}

#[test]
fn what_is_committed_here_is_kept_from_a_leader_that_has_lost_it() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, append(id(1, 1), &[1, 1], 2));
    member.sync();
    member.said();
    // So many disks went back to an earlier day that those who are left elect one without entry 2.
    member.hear(3, 2, append(id(1, 1), &[2], 1));
    assert_eq!(member.contradicted, Some(id(2, 2)), "its driver stops it");
    assert_eq!((member.terms(), acknowledged(&member.said())), (vec![1, 1, 1], None));
}

#[test]
fn a_leader_that_takes_back_what_it_sent_is_not_listened_to() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 2, append(id(1, 1), &[2, 2, 2], 1));
    member.sync();
    member.said();
    member.hear(2, 2, append(id(2, 2), &[1], 4));
    assert_eq!((member.terms(), member.said()), (vec![1, 2, 2, 2], vec![]));
}

#[test]
fn batches_completing_out_of_order_count_without_gaps() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, append(id(1, 1), &[1], 0));
    member.hear(2, 1, append(id(1, 2), &[1], 0));
    member.sync_only(Seq(2));
    assert_eq!(member.said(), []);
    member.sync_only(Seq(1));
    assert_eq!(acknowledged(&member.said()), Some((3, 3)));
}

/// 2@1 in flight, replaced by 2@2, replaced by the very same 2@1 again: the first batch's completion says nothing of the third's.
#[test]
fn an_entry_written_twice_is_durable_with_its_last_write() {
    let mut member = Member::with(3, &[1], |_| {});
    let voted = |member: &Member| member.node.hard_state().term.0;
    member.hear(2, 1, append(id(1, 1), &[1], 0));
    member.hear(3, 2, append(id(1, 1), &[2], 0));
    // The leader of term 3 never saw 2@2 and still holds 2@1.
    member.hear(2, 3, append(id(1, 1), &[1], 0));
    assert_eq!((member.terms(), voted(&member)), (vec![1, 1], 3));
    let batches: Vec<Seq> = member.writing.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(batches, [Seq(1), Seq(2), Seq(3)]);
    member.sync_only(Seq(1));
    assert_eq!((member.node.status().durable, member.said()), (1, vec![]));
    member.sync_only(Seq(2));
    assert_eq!((member.node.status().durable, member.said()), (1, vec![]));
    member.sync_only(Seq(3));
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
}

#[test]
fn writes_not_yet_taken_out_are_replaced_within_one_batch() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    for (term, terms) in [(2, &[2, 2, 2][..]), (3, &[3][..])] {
        let Message::Append(append) = append(id(1, 1), terms, 0) else { unreachable!() };
        let envelope =
            raft::Envelope { from: raft::NodeId(2), to: raft::NodeId(1), term: raft::Term(term), message: Message::Append(append) };
        member.node.receive(envelope);
    }
    member.settle();
    assert_eq!(member.writing.len(), 1);
    let batch = &member.writing[0].1;
    assert_eq!(batch.truncate, Some(2));
    assert_eq!(batch.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(3, 2)]);
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
}

fn rejection(said: &[(u64, u64, Message)]) -> (Index, LogId) {
    said.iter()
        .find_map(|(_, _, message)| if let Message::Rejected { prev, hint, .. } = message { Some((*prev, *hint)) } else { None })
        .expect("a rejection")
}

#[test]
fn a_follower_hints_at_where_the_logs_may_agree() {
    let mut member = Member::with(3, &[1, 1, 2, 2, 2], |_| {});
    let mut hint = |prev: LogId| {
        member.hear(2, 9, heartbeat(prev, 0));
        member.sync();
        rejection(&member.said()).1
    };
    assert_eq!(hint(id(7, 9)), id(2, 5), "too short");
    assert_eq!(hint(id(1, 5)), id(1, 2), "none of our term 2 can be in a log that has term 1 at 5");
    assert_eq!(hint(id(6, 5)), id(2, 4));
}

/// The paper's section 5.3: one question for each term of disagreement, not one for each entry.
#[test]
fn the_leader_backs_off_a_term_at_a_time() {
    let terms: Vec<u64> = [vec![1; 10], vec![4; 50]].concat();
    let mut leader = Member::with(3, &terms, |_| {});
    let term = leader.elect();
    assert_eq!(leader.last(), 61);
    // The peer has 1 x 10, then 40 entries of terms 2 and 3 that were never committed.
    leader.hear(2, term, rejected(60, id(3, 50)));
    let asked = leader.appends_to(2);
    assert_eq!(asked.iter().map(|append| (append.prev, append.entries.len())).collect::<Vec<_>>(), [(id(1, 10), 0)]);
    leader.hear(2, term, held(10, 10));
    let sent = leader.appends_to(2);
    assert_eq!((sent[0].prev, sent[0].entries.len()), (id(1, 10), 51));
}

#[test]
fn a_stale_rejection_changes_nothing() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for _ in 0..5 {
        leader.propose("x");
    }
    leader.sync();
    leader.hear(2, term, held(6, 6));
    leader.said();
    leader.hear(2, term, rejected(4, id(1, 1)));
    assert_eq!(leader.appends_to(2), []);
    leader.propose("y");
    assert_eq!(leader.appends_to(2)[0].prev.index, 6, "replication goes on where it was");
}

#[test]
fn a_peer_that_lost_what_was_sent_is_found_by_the_heartbeat_and_served_again() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("lost on the way");
    leader.said();
    leader.ticks(5);
    let asked = leader.appends_to(2);
    assert_eq!((asked[0].prev.index, asked[0].entries.len()), (2, 0), "the heartbeat asks for the end of what was sent");
    leader.hear(2, term, rejected(2, id(term, 1)));
    assert_eq!(leader.appends_to(2)[0].prev.index, 1);
    leader.hear(2, term, held(1, 1));
    assert_eq!(leader.appends_to(2)[0].entries.len(), 1);
}

#[test]
fn a_rejection_that_teaches_nothing_is_not_answered_before_the_next_heartbeat() {
    // A disk that forgot what it had acknowledged rejects for ever: at the pace of heartbeats, not of the network.
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.sync();
    leader.hear(2, term, held(2, 2));
    leader.propose("y");
    leader.said();
    leader.hear(2, term, rejected(3, id(0, 0)));
    assert_eq!(leader.appends_to(2)[0].prev.index, 2, "never before what it said was durable");
    leader.hear(2, term, rejected(2, id(0, 0)));
    assert_eq!(leader.appends_to(2), []);
    leader.ticks(5);
    assert_eq!(leader.appends_to(2).len(), 1);
}

#[test]
fn an_accepted_probe_from_before_is_corrected_by_the_next_heartbeat() {
    // The peer accepted up to 3, crashed before its disk had it, and said so; its earlier answer arrives last.
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.propose("y");
    leader.said();
    leader.hear(2, term, rejected(3, id(term, 1)));
    leader.hear(2, term, held(3, 1));
    leader.said();
    leader.ticks(5);
    assert_eq!(leader.appends_to(2)[0].prev.index, 3);
    leader.hear(2, term, rejected(3, id(term, 1)));
    leader.hear(2, term, held(1, 1));
    assert_eq!(leader.appends_to(2).last().map(|append| append.entries.len()), Some(2));
    assert_eq!(leader.node.commit(), 1, "what was merely matched never counted");
}
