//! Leadership changes hands: on request, for a disk that hangs, for want of room.

use raft::{HardState, Intent, Membership, Message, NodeId, Refusal, RoleName, Room, Term};

use crate::member::{Member, accepted, append, heartbeat, held, id, report, voters};

fn campaigns(member: &mut Member) -> Vec<u64> {
    member.said().into_iter().filter(|(_, _, message)| *message == Message::Campaign).map(|(to, _, _)| to).collect()
}

#[test]
fn the_heir_is_told_to_stand_only_once_it_has_everything_on_its_disk() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let last = leader.propose("x");
    assert_eq!(leader.node.transfer(Some(NodeId(2))), Ok(NodeId(2)));
    assert_eq!(leader.node.propose(b"y"[..].into()), Err(Refusal::NotLeader(Some(NodeId(2)))), "or it would never have everything");
    leader.settle();
    leader.hear(3, term, accepted(last));
    leader.hear(2, term, held(last, last - 1));
    leader.ticks(5);
    assert_eq!(campaigns(&mut leader), []);
    leader.hear(2, term, accepted(last));
    assert_eq!(campaigns(&mut leader), [2]);
    leader.ticks(5);
    assert_eq!(campaigns(&mut leader), [2], "the word may have been lost");
}

#[test]
fn a_hand_over_that_takes_too_long_is_given_up_and_proposals_are_taken_again() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.node.transfer(Some(NodeId(2))).unwrap();
    for _ in 0..30 {
        assert!(leader.node.propose(b"y"[..].into()).is_err());
        leader.ticks(1);
        leader.hear(3, term, accepted(2));
    }
    leader.ticks(1);
    assert_eq!(leader.propose("y"), 3);
    leader.said();
    leader.hear(2, term, accepted(3));
    assert_eq!(campaigns(&mut leader), [], "and it stays given up");
}

#[test]
fn leadership_goes_to_voters_in_touch_and_to_the_one_that_has_most() {
    let membership = Membership { learners: [(NodeId(6), Intent::Stay)].into(), ..voters(&[1, 2, 3, 4, 5]) };
    let mut leader = Member::found(membership, HardState::default(), Vec::new(), |_| {});
    let term = leader.elect();
    assert!(matches!(leader.node.transfer(None), Err(Refusal::Invalid(_))), "nobody has been heard");
    assert!(matches!(leader.node.transfer(Some(NodeId(6))), Err(Refusal::Invalid(_))), "a learner");
    assert!(matches!(leader.node.transfer(Some(NodeId(9))), Err(Refusal::Invalid(_))), "a stranger");
    assert_eq!(leader.node.transfer(Some(NodeId(1))), Ok(NodeId(1)), "itself: it is done");
    leader.hear(5, term, accepted(1));
    for _ in 0..31 {
        leader.ticks(1);
        leader.hear(2, term, held(1, 0));
        leader.hear(3, term, accepted(1));
        leader.hear(6, term, accepted(1));
    }
    assert_eq!(leader.node.transfer(None), Ok(NodeId(3)), "2 has less, and 5 has not been heard for long");
}

#[test]
fn whoever_does_not_lead_hands_nothing_over() {
    let mut member = Member::of(3);
    assert_eq!(member.node.transfer(None), Err(Refusal::NotLeader(None)));
    member.hear(3, 1, heartbeat(id(0, 0), 0));
    assert_eq!(member.node.transfer(None), Err(Refusal::NotLeader(Some(NodeId(3)))));
}

#[test]
fn told_by_its_leader_a_voter_stands_at_once() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 1), 1));
    member.said();
    member.hear(2, 1, Message::Campaign);
    assert_eq!(member.writing[0].1.hard, Some(HardState { term: Term(2), vote: Some(NodeId(1)) }));
    assert_eq!(member.said(), [], "but no sooner than its vote is durable");
    member.sync();
    let request = Message::Vote { last: id(1, 1) };
    assert_eq!(member.said(), [(2, 2, request.clone()), (3, 2, request)]);
    member.hear(2, 1, Message::Campaign);
    assert_eq!(member.node.term(), Term(2), "told again, it stands still");
}

#[test]
fn nobody_else_can_make_a_voter_stand() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, Message::Campaign);
    assert_eq!(member.node.term(), Term(1), "not known to lead");
    member.hear(2, 1, heartbeat(id(1, 1), 1));
    member.hear(3, 1, Message::Campaign);
    assert_eq!(member.node.term(), Term(1), "not the leader");
    member.hear(3, 2, heartbeat(id(1, 1), 1));
    member.sync();
    member.hear(2, 1, Message::Campaign);
    assert_eq!((member.role(), member.node.term()), (RoleName::Follower, Term(2)), "not the leader any more");
}

#[test]
fn a_learner_and_one_whose_vote_hangs_do_not_stand_when_told() {
    let membership = Membership { learners: [(NodeId(1), Intent::Promote)].into(), ..voters(&[2, 3]) };
    let mut learner = Member::found(membership, HardState::default(), Vec::new(), |_| {});
    let mut hanging = Member::of(3);
    for member in [&mut learner, &mut hanging] {
        member.hear(2, 1, heartbeat(id(0, 0), 0));
    }
    learner.sync();
    for member in [&mut learner, &mut hanging] {
        member.hear(2, 1, Message::Campaign);
        assert_eq!((member.role(), member.node.term()), (RoleName::Follower, Term(1)));
    }
}

#[test]
fn the_leader_makes_way_when_its_heir_stands() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.node.transfer(Some(NodeId(2))).unwrap();
    leader.hear(2, term + 1, Message::Vote { last: id(term, 1) });
    leader.sync();
    let granted = (2, term + 1, Message::VoteReply { granted: true });
    assert!(leader.said().contains(&granted));
    leader.hear(2, term + 1, append(id(term, 1), &[term + 1], 1));
    assert_eq!((leader.role(), leader.node.leader()), (RoleName::Follower, Some(NodeId(2))));
}

#[test]
fn no_change_of_the_members_begins_while_leadership_is_handed_over() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.change(raft::Change::AddLearner(NodeId(4), Intent::Promote));
    leader.sync();
    leader.all_hold(&[2, 3]);
    leader.node.transfer(Some(NodeId(2))).unwrap();
    leader.settle();
    leader.said();
    leader.all_hold(&[4]);
    assert_eq!(leader.last(), 2, "a promotion would be one entry more that the heir lacks");
    leader.ticks(30);
    leader.hear(3, term, accepted(2));
    leader.ticks(1);
    leader.all_hold(&[4]);
    assert!(leader.node.membership().is_joint(), "it waits");
}

#[test]
fn a_leader_whose_disk_hangs_hands_over_to_one_that_has_all_it_sent() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    for _ in 0..202 {
        leader.said();
        leader.ticks(1);
        leader.hear(2, term, held(2, 1));
        leader.hear(3, term, accepted(2));
    }
    assert_eq!(leader.role(), RoleName::Follower);
    leader.hear(3, term, Message::Campaign);
    assert_eq!((leader.node.term(), leader.role()), (Term(term), RoleName::Follower), "its own disk still hangs");
}

#[test]
fn the_last_word_of_a_leader_whose_disk_hangs_is_for_its_heir() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.hear(3, term, accepted(2));
    while leader.node.is_leader() {
        leader.said();
        leader.hear(2, term, held(2, 1));
        leader.hear(3, term, accepted(2));
        leader.ticks(1);
    }
    assert_eq!(campaigns(&mut leader), [3]);
}

fn roomy(index: u64, room: Room) -> Message {
    Message::Accepted { matched: index, durable: index, round: 0, report: report(room, index) }
}

#[test]
fn a_leader_without_room_hands_over_to_a_voter_that_has() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.hear(2, term, roomy(1, Room::Low));
    leader.hear(3, term, roomy(1, Room::Low));
    leader.node.set_room(Room::Low);
    leader.ticks(5);
    assert_eq!(campaigns(&mut leader), [], "nobody would do better");
    leader.hear(3, term, roomy(1, Room::Enough));
    leader.ticks(5);
    assert!(campaigns(&mut leader).iter().all(|heir| *heir == 3));
    assert!(leader.node.propose(b"x"[..].into()).is_err(), "the hand-over is under way");
}

#[test]
fn between_two_attempts_to_find_room_elsewhere_there_is_time_to_delete() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.node.set_room(Room::Low);
    let mut taken = 0;
    for _ in 0..1_000 {
        leader.ticks(1);
        // Member 3 has room, but its log never gets complete.
        leader.hear(2, term, roomy(1, Room::Low));
        leader.hear(3, term, Message::Accepted { matched: 1, durable: 0, round: 0, report: report(Room::Enough, 1) });
        taken += u64::from(leader.node.propose(b"a delete"[..].into()).is_ok());
    }
    assert!(leader.node.is_leader());
    assert!(taken > 900, "{taken} of 1,000");
}
