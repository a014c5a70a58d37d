//! Linearizable reads: a leader proves that it still leads after the read arrived.

use raft::{Append, Message, NodeId, Refusal};

use crate::member::{Member, accepted, answered, append, heartbeat, id, read_id, report};

fn rounds(appends: &[Append]) -> Vec<u64> {
    appends.iter().map(|append| append.round).collect()
}

#[test]
fn a_read_is_answered_after_a_quorum_answered_its_round() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(7);
    assert_eq!(rounds(&leader.appends_to(2)), [1], "asked at once, not at the next heartbeat");
    assert!(leader.reads.is_empty());
    leader.hear(2, term, answered(1, 1, 0));
    assert!(leader.reads.is_empty(), "the answer to an earlier message proves nothing");
    leader.hear(2, term, answered(1, 1, 1));
    assert_eq!((leader.reads[0].token, leader.reads[0].result), (7, Ok(1)));
}

#[test]
fn no_read_before_the_no_op_is_committed() {
    let mut leader = Member::with(3, &[1, 1], |_| {});
    let term = leader.elect();
    leader.sync();
    leader.read(7);
    assert_eq!(rounds(&leader.appends_to(2)), [], "its commit index may lack what an earlier leader acknowledged");
    leader.hear(2, term, answered(2, 2, 0));
    assert!(leader.reads.is_empty());
    leader.hear(2, term, accepted(3));
    assert!(rounds(&leader.appends_to(3)).contains(&1));
    leader.hear(2, term, answered(3, 3, 1));
    assert_eq!(leader.reads[0].result, Ok(3));
}

#[test]
fn a_read_joins_no_round_that_was_already_asked() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(1);
    leader.said();
    leader.read(2);
    leader.read(3);
    assert_eq!(rounds(&leader.appends_to(2)), [], "while one round is open the next collects");
    leader.hear(2, term, answered(1, 1, 1));
    assert_eq!(leader.reads.iter().map(|read| read.token).collect::<Vec<_>>(), [1]);
    assert_eq!(rounds(&leader.appends_to(2)), [2]);
    leader.hear(2, term, answered(1, 1, 1));
    leader.hear(3, term, answered(1, 1, 1));
    assert_eq!(leader.reads.len(), 1);
    leader.hear(3, term, answered(1, 1, 2));
    assert_eq!(leader.reads.iter().map(|read| read.token).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_round_whose_messages_were_lost_goes_on_with_the_heartbeats() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(1);
    leader.said();
    leader.ticks(5);
    assert_eq!(rounds(&leader.appends_to(3)), [1]);
    leader.hear(3, term, answered(1, 1, 1));
    assert_eq!(leader.reads.len(), 1);
}

#[test]
fn a_rejection_proves_leadership_as_well() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(1);
    let report = report(raft::Room::Enough, 1);
    leader.hear(2, term, Message::Rejected { prev: 1, hint: id(0, 0), round: 1, report });
    assert_eq!(leader.reads[0].result, Ok(1));
}

#[test]
fn a_leader_that_falls_refuses_its_reads() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(1);
    leader.read(2);
    leader.hear(2, term, Message::ReadIndex { id: read_id(2, 5, 5) });
    leader.said();
    leader.ticks(31);
    let refused: Vec<_> = leader.reads.iter().map(|read| (read.token, read.result)).collect();
    assert_eq!(refused, [(1, Err(Refusal::NotLeader(None))), (2, Err(Refusal::NotLeader(None)))]);
    assert!(leader.said().contains(&(2, term, Message::ReadIndexReply { id: read_id(2, 5, 5), index: None })));
}

#[test]
fn a_followers_question_is_answered_like_an_own_read() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let id = read_id(3, 77, 4);
    leader.hear(3, term, Message::ReadIndex { id });
    assert_eq!(rounds(&leader.appends_to(2)), [1]);
    leader.hear(2, term, answered(1, 1, 1));
    assert_eq!(leader.said(), [(3, term, Message::ReadIndexReply { id, index: Some(1) })]);
}

#[test]
fn questions_beyond_the_bound_are_refused_and_cost_no_other_member_its_place() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    // One round is open, so that all others wait.
    leader.read(1);
    for counter in 0..raft::QUESTIONS_MAX as u64 {
        leader.hear(3, term, Message::ReadIndex { id: read_id(3, 77, counter) });
    }
    leader.said();
    let beyond = read_id(3, 77, u64::MAX);
    leader.hear(3, term, Message::ReadIndex { id: beyond });
    assert_eq!(leader.said(), [(3, term, Message::ReadIndexReply { id: beyond, index: None })]);
    let other = read_id(2, 5, 5);
    leader.hear(2, term, Message::ReadIndex { id: other });
    assert_eq!(leader.said(), []);
    leader.hear(2, term, answered(1, 1, 1));
    let asked = leader.appends_to(2).last().expect("the next round").round;
    leader.hear(3, term, Message::ReadIndex { id: beyond });
    leader.hear(2, term, answered(1, 1, asked));
    let answers =
        leader.said().into_iter().filter(|(.., message)| matches!(message, Message::ReadIndexReply { index: Some(1), .. })).count();
    assert_eq!(answers, raft::QUESTIONS_MAX + 1, "all that were taken, and the last one waits for the next round");
}

#[test]
fn the_questions_of_all_members_together_are_bounded() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(1);
    for asking in 0..(raft::QUESTIONS_OF_ALL_MAX / raft::QUESTIONS_MAX) as u64 {
        for counter in 0..raft::QUESTIONS_MAX as u64 {
            leader.node.receive(raft::Envelope {
                from: NodeId(10 + asking),
                to: NodeId(1),
                term: raft::Term(term),
                message: Message::ReadIndex { id: read_id(10 + asking, 1, counter) },
            });
        }
    }
    leader.settle();
    leader.said();
    let id = read_id(99, 1, 1);
    leader.hear(99, term, Message::ReadIndex { id });
    assert_eq!(leader.said(), [(99, term, Message::ReadIndexReply { id, index: None })]);
}

#[test]
fn a_question_of_an_earlier_term_or_to_a_follower_is_refused() {
    let mut leader = Member::with(3, &[1], |_| {});
    let term = leader.lead();
    let id = read_id(3, 77, 4);
    leader.hear(3, term - 1, Message::ReadIndex { id });
    assert_eq!(leader.said(), [(3, term, Message::ReadIndexReply { id, index: None })]);
    let mut follower = Member::with(3, &[1], |_| {});
    follower.hear(3, 1, Message::ReadIndex { id });
    assert_eq!(follower.said(), [(3, 1, Message::ReadIndexReply { id, index: None })]);
}

/// A follower of member 2 in term 1, its log two entries long; nothing unheard.
fn follower() -> Member {
    let mut member = Member::with(3, &[1, 1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 2), 1));
    member.said();
    member
}

/// The question that the follower just asked.
fn question(member: &mut Member) -> raft::ReadId {
    let said = member.said();
    let [(2, 1, Message::ReadIndex { id })] = said[..] else { panic!("one question to the leader: {said:?}") };
    id
}

#[test]
fn a_follower_asks_the_leader_once_for_all_reads_of_one_turn() {
    let mut member = follower();
    member.node.read(1);
    member.node.read(2);
    member.settle();
    let id = question(&mut member);
    assert_eq!((id.node, id.boot), (NodeId(1), 1));
    member.read(3);
    let later = question(&mut member);
    assert_ne!(id, later);
    member.hear(2, 1, Message::ReadIndexReply { id, index: Some(2) });
    assert_eq!(member.reads.iter().map(|read| (read.token, read.result)).collect::<Vec<_>>(), [(1, Ok(2)), (2, Ok(2))]);
    member.hear(2, 1, Message::ReadIndexReply { id, index: Some(2) });
    assert_eq!(member.reads.len(), 2, "a doubled answer answers nothing twice, and no later read");
}

#[test]
fn stale_and_foreign_answers_are_dropped() {
    let mut member = follower();
    member.read(1);
    let id = question(&mut member);
    member.hear(3, 1, Message::ReadIndexReply { id, index: Some(2) });
    member.hear(2, 0, Message::ReadIndexReply { id, index: Some(2) });
    member.hear(2, 1, Message::ReadIndexReply { id: raft::ReadId { boot: 9, ..id }, index: Some(2) });
    assert!(member.reads.is_empty(), "not from the leader, not in its term, not of this boot");
    member.hear(2, 2, Message::ReadIndexReply { id, index: Some(2) });
    assert_eq!(member.reads[0].result, Err(Refusal::NotLeader(None)), "the term has moved on, the read is refused");
}

#[test]
fn a_lost_question_ends_in_a_refusal() {
    let mut member = follower();
    member.read(1);
    for _ in 0..7 {
        member.ticks(5);
        member.hear(2, 1, heartbeat(id(1, 2), 1));
    }
    assert_eq!(member.reads[0].result, Err(Refusal::NotLeader(Some(NodeId(2)))));
}

#[test]
fn a_refused_question_names_no_index() {
    let mut member = follower();
    member.read(1);
    let id = question(&mut member);
    member.hear(2, 1, Message::ReadIndexReply { id, index: None });
    assert!(member.reads[0].result.is_err());
}

#[test]
fn without_a_leader_a_read_is_refused_at_once() {
    let mut member = Member::of(3);
    member.read(1);
    assert_eq!(member.reads[0].result, Err(Refusal::NotLeader(None)));
}

#[test]
fn a_follower_answers_a_new_round_before_its_disk_has_the_entries() {
    // On a slow disk reads would otherwise wait for the sync of writes they have nothing to do with.
    let mut member = follower();
    let Message::Append(mut append) = append(id(1, 2), &[1], 1) else { unreachable!() };
    append.round = 4;
    member.hear(2, 1, Message::Append(append));
    assert!(matches!(member.said()[..], [(2, 1, Message::Accepted { matched: 3, durable: 2, round: 4, .. })]));
}
