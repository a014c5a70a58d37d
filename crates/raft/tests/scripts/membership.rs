//! Who is counted, and how that changes while everything goes on.

use raft::{Change, HardState, Intent, Membership, Message, NodeId, Refusal, RoleName, Room, Term};

use crate::member::{Member, accepted, append, append_membership, entry, granted, heartbeat, held, id, log, report, voters};

fn whole_to(index: u64, whole: u64) -> Message {
    Message::Accepted { matched: index, durable: index, round: 0, report: raft::Report { whole, ..report(Room::Enough, index) } }
}

fn joint(new: &[u64], old: &[u64]) -> Membership {
    Membership { outgoing: voters(old).voters, ..voters(new) }
}

fn learner(id: u64, intent: Intent) -> Change {
    Change::AddLearner(NodeId(id), intent)
}

/// A leader of three on a disk that keeps up, with member 4 as a learner; the change is committed.
fn with_learner(intent: Intent) -> (Member, u64) {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.change(learner(4, intent));
    leader.sync();
    leader.all_hold(&[2, 3]);
    leader.said();
    (leader, term)
}

/// The same, at the moment when 4 takes the place of 3 and both halves are counted. Nobody has the joint entry yet.
fn in_joint_phase() -> (Member, u64, u64) {
    let (mut leader, term) = with_learner(Intent::Replace(NodeId(3)));
    leader.all_hold(&[4]);
    assert_eq!(*leader.node.membership(), joint(&[1, 2, 4], &[1, 2, 3]));
    leader.said();
    let at = leader.last();
    (leader, term, at)
}

#[test]
fn a_learner_becomes_a_voter_by_itself_once_it_has_caught_up_and_is_whole() {
    let (mut leader, term) = with_learner(Intent::Promote);
    let last = leader.last();
    leader.hear(4, term, held(last, 0));
    assert!(!leader.node.membership().is_joint(), "what it has not on its disk is not caught up");
    leader.hear(4, term, whole_to(last, 0));
    assert!(!leader.node.membership().is_joint(), "blobs are missing");
    leader.hear(4, term, whole_to(last, last));
    assert_eq!(*leader.node.membership(), joint(&[1, 2, 3, 4], &[1, 2, 3]));
}

#[test]
fn a_learner_that_is_to_stay_one_stays() {
    let (mut leader, _) = with_learner(Intent::Stay);
    leader.all_hold(&[2, 3, 4]);
    assert!(!leader.node.is_changing());
    leader.change(Change::Promote(NodeId(4)));
    leader.sync();
    assert!(!leader.node.membership().is_joint(), "the wish has to be committed first");
    leader.all_hold(&[2, 3, 4]);
    assert!(leader.node.membership().is_joint());
}

#[test]
fn a_replacement_never_makes_more_voters() {
    let (mut leader, _, _) = in_joint_phase();
    leader.sync();
    leader.all_hold(&[2, 3, 4]);
    leader.sync();
    assert_eq!(*leader.node.membership(), voters(&[1, 2, 4]));
}

#[test]
fn in_a_joint_phase_nothing_is_committed_without_a_majority_of_each_half() {
    let (mut leader, term, at) = in_joint_phase();
    leader.sync();
    leader.hear(4, term, accepted(at));
    assert_eq!(leader.node.commit(), at - 1, "1 and 4 are two of the new three, but one of the old");
    leader.hear(3, term, accepted(at));
    assert_eq!(leader.node.commit(), at);
}

#[test]
fn in_a_joint_phase_no_read_is_confirmed_by_one_half() {
    let (mut leader, term, _) = in_joint_phase();
    leader.read(1);
    let round = leader.appends_to(4)[0].round;
    leader.hear(4, term, crate::member::answered(1, 1, round));
    assert_eq!(leader.reads, []);
    leader.hear(3, term, crate::member::answered(1, 1, round));
    assert_eq!(leader.reads.len(), 1);
}

#[test]
fn a_read_is_answered_also_if_the_last_peer_leaves_without_a_word() {
    let mut leader = Member::of(2);
    let term = leader.elect();
    leader.sync();
    leader.all_hold(&[2]);
    let at = leader.change(Change::Remove(NodeId(2)));
    leader.node.set_whole(at);
    leader.read(1);
    leader.sync();
    leader.hear(2, term, crate::member::answered(at, at, 0));
    assert_eq!(*leader.node.membership(), voters(&[1]));
    assert_eq!(leader.reads.len(), 1);
    leader.read(2);
    assert_eq!(leader.reads.len(), 2);
}

#[test]
fn in_a_joint_phase_nobody_is_elected_by_one_half() {
    let mut member = Member::found(joint(&[1, 2, 4], &[1, 3, 5]), HardState::default(), log(&[]), |_| {});
    member.ticks_until_it_speaks();
    let asked: Vec<u64> = member.said().iter().map(|(to, _, _)| *to).collect();
    assert_eq!(asked, [2, 3, 4, 5], "all of both halves are asked");
    for peer in [2, 4] {
        member.hear(peer, 0, Message::PreVoteReply { granted: true, asked: Term(0) });
    }
    assert_eq!(member.role(), RoleName::PreCandidate);
    member.hear(3, 0, Message::PreVoteReply { granted: true, asked: Term(0) });
    member.sync();
    for peer in [2, 4] {
        member.hear(peer, 1, granted());
    }
    assert_eq!(member.role(), RoleName::Candidate);
    member.hear(5, 1, granted());
    assert!(member.node.is_leader());
}

/// Those who leave may be the only ones that have a blob.
#[test]
fn a_joint_phase_is_left_only_when_a_majority_of_the_new_voters_lacks_no_blob() {
    let (mut leader, term, at) = in_joint_phase();
    leader.sync();
    for peer in [2, 3, 4] {
        leader.hear(peer, term, whole_to(at, at - 1));
    }
    assert_eq!(leader.node.commit(), at);
    leader.node.set_whole(at);
    leader.settle();
    leader.hear(3, term, whole_to(at, at));
    assert!(leader.node.membership().is_joint(), "the one who leaves is not asked");
    leader.hear(4, term, whole_to(at, at));
    assert_eq!(*leader.node.membership(), voters(&[1, 2, 4]));
}

#[test]
fn there_is_one_change_at_a_time_and_none_before_the_own_noop_is_committed() {
    let mut leader = Member::of(3);
    leader.elect();
    leader.sync();
    let begin = |leader: &mut Member| leader.node.change(learner(9, Intent::Stay));
    assert_eq!(begin(&mut leader), Err(Refusal::Busy), "an earlier leader's change may still be in doubt");
    leader.all_hold(&[2]);
    leader.change(learner(4, Intent::Replace(NodeId(3))));
    assert_eq!(begin(&mut leader), Err(Refusal::Busy), "not committed");
    leader.sync();
    leader.all_hold(&[2, 4]);
    assert_eq!(begin(&mut leader), Err(Refusal::Busy), "joint");
    leader.sync();
    leader.all_hold(&[2, 3, 4]);
    assert_eq!(begin(&mut leader), Err(Refusal::Busy), "the final configuration is not committed");
    leader.sync();
    leader.all_hold(&[2, 4]);
    assert!(begin(&mut leader).is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_no_entry() {
    let (mut leader, _) = with_learner(Intent::Stay);
    let last = leader.last();
    for change in [
        learner(2, Intent::Stay),
        Change::Promote(NodeId(3)),
        Change::Promote(NodeId(9)),
        Change::Replace { old: NodeId(9), new: NodeId(4) },
        Change::Replace { old: NodeId(4), new: NodeId(4) },
        Change::Replace { old: NodeId(3), new: NodeId(9) },
        Change::Remove(NodeId(9)),
    ] {
        assert!(matches!(leader.node.change(change), Err(Refusal::Invalid(_))), "{change:?}");
    }
    assert_eq!(leader.last(), last);
    let mut alone = Member::of(1);
    alone.elect();
    alone.sync();
    assert!(matches!(alone.node.change(Change::Remove(NodeId(1))), Err(Refusal::Invalid(_))), "the last voter stays");
}

#[test]
fn a_configuration_is_in_force_before_it_is_committed_and_no_longer_once_truncated() {
    let membership = Membership { learners: [(NodeId(1), Intent::Promote)].into(), ..voters(&[2, 3]) };
    let mut member = Member::found(membership.clone(), HardState::default(), log(&[]), |_| {});
    member.hear(2, 1, append_membership(id(0, 0), 1, &joint(&[1, 2, 3], &[2, 3]), 0));
    assert_eq!(*member.node.membership(), joint(&[1, 2, 3], &[2, 3]));
    member.hear(2, 1, append_membership(id(1, 1), 1, &voters(&[1, 2, 3]), 1));
    assert_eq!((member.node.membership(), member.node.committed_membership().0), (&voters(&[1, 2, 3]), 1));
    member.hear(3, 2, append(id(1, 1), &[2], 1));
    assert_eq!(*member.node.membership(), joint(&[1, 2, 3], &[2, 3]), "the one before is back");
    member.sync();
    member.said();
    member.ticks_until_it_speaks();
    assert_eq!(member.role(), RoleName::PreCandidate, "and makes it a voter, which may stand");
}

#[test]
fn two_configurations_in_doubt_are_truncated_together() {
    let mut member = Member::of(3);
    member.hear(2, 1, append_membership(id(0, 0), 1, &joint(&[1, 2], &[1, 2, 3]), 0));
    member.hear(2, 1, append_membership(id(1, 1), 1, &voters(&[1, 2]), 0));
    member.hear(3, 2, append(id(0, 0), &[2], 0));
    assert_eq!((member.node.membership(), member.node.is_changing()), (&voters(&[1, 2, 3]), false));
}

#[test]
fn at_start_the_newest_configuration_of_the_log_is_in_force_committed_or_not() {
    let in_log = raft::Entry { payload: raft::Payload::Membership(joint(&[1, 2, 3], &[2, 3])), ..entry(1, 2) };
    let hard = HardState { term: Term(1), vote: None };
    let mut member = Member::found(voters(&[2, 3]), hard, vec![entry(1, 1), in_log, entry(1, 3)], |_| {});
    assert_eq!((member.node.membership(), member.node.is_changing()), (&joint(&[1, 2, 3], &[2, 3]), true));
    member.ticks_until_it_speaks();
    assert_eq!(member.role(), RoleName::PreCandidate);
}

#[test]
fn a_new_leader_brings_a_joint_phase_to_its_end() {
    let in_log = raft::Entry { payload: raft::Payload::Membership(joint(&[1, 2, 3], &[2, 3])), ..entry(1, 1) };
    let mut leader = Member::found(voters(&[2, 3]), HardState { term: Term(1), vote: None }, vec![in_log], |_| {});
    leader.elect();
    leader.sync();
    assert!(leader.node.membership().is_joint());
    leader.all_hold(&[2, 3]);
    assert_eq!(*leader.node.membership(), voters(&[1, 2, 3]));
}

#[test]
fn a_leader_that_is_removed_leads_until_that_is_committed_without_itself_then_hands_over() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.change(Change::Remove(NodeId(1)));
    leader.sync();
    leader.all_hold(&[2, 3]);
    assert_eq!(*leader.node.membership(), voters(&[2, 3]));
    leader.sync();
    let last = leader.last();
    leader.hear(2, term, accepted(last));
    assert_eq!(leader.node.commit(), last - 1, "its own disk is counted no more");
    leader.ticks(10);
    assert!(leader.node.is_leader());
    leader.hear(3, term, accepted(last));
    assert_eq!(leader.node.commit(), last);
    leader.said();
    leader.ticks(1);
    assert!(leader.said().iter().any(|(_, _, message)| *message == Message::Campaign));
    leader.ticks(10_000);
    assert_eq!((leader.role(), leader.said()), (RoleName::Follower, vec![]), "and it never stands again");
}

/// Two voters, one of them to leave: 2 holds the joint entry, and 1 alone the final one. 2 cannot win, as 1's log has more; so 1 must stand,
/// for whom nobody votes but 2.
#[test]
fn a_voter_that_is_to_leave_stands_until_it_knows_that_it_has_left() {
    let configured = |index, membership| raft::Entry { payload: raft::Payload::Membership(membership), ..entry(1, index) };
    let log = vec![configured(1, joint(&[2], &[1, 2])), configured(2, voters(&[2]))];
    let mut member = Member::found(voters(&[1, 2]), HardState { term: Term(1), vote: None }, log, |_| {});
    member.ticks_until_it_speaks();
    assert_eq!(member.said(), [(2, 1, Message::PreVote { last: id(1, 2) })]);
    member.sync();
    assert_eq!(member.role(), RoleName::PreCandidate, "its own vote is none");
    member.hear(2, 1, Message::PreVoteReply { granted: true, asked: Term(1) });
    member.sync();
    member.hear(2, 2, granted());
    assert!(member.node.is_leader());
    member.hear(2, 2, accepted(3));
    assert_eq!(member.node.commit(), 3);
    member.ticks(1_000);
    assert_eq!((member.role(), member.node.term()), (RoleName::Follower, Term(2)), "now it has left for good");
}

/// Member 3 is removed; the final configuration is committed without it.
fn after_a_removal() -> (Member, u64, u64) {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let at = leader.change(Change::Remove(NodeId(3)));
    leader.node.set_whole(at);
    leader.sync();
    leader.all_hold(&[2]);
    leader.sync();
    leader.all_hold(&[2]);
    assert_eq!((leader.node.membership(), leader.node.commit()), (&voters(&[1, 2]), leader.last()));
    leader.said();
    let last = leader.last();
    (leader, term, last)
}

#[test]
fn whoever_leaves_is_told_so_before_it_is_left_alone() {
    let (mut leader, term, last) = after_a_removal();
    leader.ticks(20);
    assert!(leader.appends_to(3).iter().all(|append| append.prev.index <= last), "it is still asked where it is");
    leader.hear(3, term, held(last, last));
    leader.said();
    leader.all_hold(&[2]);
    leader.ticks(5);
    let told = leader.appends_to(3).into_iter().map(|append| append.commit).max();
    assert!(told.is_none_or(|commit| commit == last));
    leader.ticks(5);
    assert_eq!(leader.node.status().peers.len(), 1, "it knows, so it is a peer no more");
    leader.propose("not for it");
    assert_eq!(leader.appends_to(3), []);
}

#[test]
fn whoever_left_and_never_answers_is_forgotten_after_a_while() {
    let (mut leader, _, _) = after_a_removal();
    for _ in 0..100 {
        leader.ticks(5);
        leader.all_hold(&[2]);
    }
    assert_eq!(leader.node.status().peers.len(), 1);
    assert!(leader.node.is_leader(), "it is not missed, either");
}

#[test]
fn the_word_of_one_that_has_left_is_not_counted() {
    let (mut leader, term, _) = after_a_removal();
    let index = leader.propose("x");
    leader.sync();
    leader.hear(3, term, accepted(index));
    assert_eq!(leader.node.commit(), index - 1);
    leader.hear(2, term, accepted(index));
    assert_eq!(leader.node.commit(), index);
}

/// It slept through its own addition: whoever belongs to the cluster may be heard, whatever the own configuration says.
#[test]
fn a_leader_unknown_to_the_own_configuration_is_followed() {
    let mut member = Member::of(3);
    member.hear(9, 4, Message::Vote { last: id(3, 7) });
    member.sync();
    assert_eq!(member.said(), [(9, 4, granted())]);
    member.hear(9, 4, heartbeat(id(0, 0), 0));
    assert_eq!(member.node.leader(), Some(NodeId(9)));
}
