//! What members say of themselves with every answer, and what a leader makes of it.

use raft::{Change, Intent, Message, NodeId, Report, RoleName, Room, StateHash, Term};

use crate::member::{Member, accepted, heartbeat, id, report};

/// All up to `index` is durable, says boot `boot`, whose disk reaches to `end`.
fn of_boot(boot: u64, index: u64, end: u64) -> Message {
    in_round(0, boot, index, end)
}

fn in_round(round: u64, boot: u64, index: u64, end: u64) -> Message {
    Message::Accepted { matched: index, durable: index, round, report: Report { boot, ..report(Room::Enough, end) } }
}

/// A new boot says the same twice: unasked, and in answer to what it is asked then.
fn comes_back(leader: &mut Member, term: u64, boot: u64, index: u64, end: u64) {
    leader.said();
    leader.hear(2, term, of_boot(boot, index, end));
    let asked = leader.appends_to(2).last().expect("it is asked at once").round;
    leader.hear(2, term, in_round(asked, boot, index, end));
}

fn told_forgot(leader: &mut Member) -> Vec<(u64, u64)> {
    let said = leader.said().into_iter();
    said.filter_map(|(to, _, message)| if let Message::Forgot { durable } = message { Some((to, durable)) } else { None }).collect()
}

/// A leader of three with three entries, all of them acknowledged by member 2 alone, which then comes back with only one.
fn with_a_forgetful_peer() -> (Member, u64) {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.propose("y");
    leader.sync();
    leader.hear(2, term, accepted(3));
    assert_eq!(leader.node.commit(), 3);
    comes_back(&mut leader, term, 2, 1, 1);
    (leader, term)
}

#[test]
fn a_peer_whose_disk_lost_what_it_acknowledged_is_told_so_and_counted_on_no_more() {
    let (mut leader, term) = with_a_forgetful_peer();
    assert_eq!(told_forgot(&mut leader), [(2, 3)]);
    let index = leader.propose("z");
    leader.sync();
    leader.hear(2, term, of_boot(2, index, index));
    assert_eq!(leader.node.commit(), 3, "also not with what it takes in now");
    assert_eq!(told_forgot(&mut leader), [(2, 3)], "and it is told again");
    leader.hear(3, term, accepted(index));
    assert_eq!(leader.node.commit(), index);
}

#[test]
fn a_peer_that_forgot_keeps_nobody_in_office_and_confirms_no_read() {
    let (mut leader, term) = with_a_forgetful_peer();
    leader.read(7);
    for _ in 0..31 {
        leader.hear(2, term, Message::Accepted { matched: 1, durable: 1, round: 1, report: Report { boot: 2, ..report(Room::Enough, 1) } });
        assert!(leader.reads.iter().all(|done| done.result.is_err()));
        leader.ticks(1);
    }
    assert_eq!(leader.role(), RoleName::Follower);
}

#[test]
fn a_peer_that_forgot_is_no_heir() {
    let (mut leader, _) = with_a_forgetful_peer();
    leader.said();
    assert_eq!(leader.node.transfer(None), Ok(NodeId(3)));
    leader.node.transfer(Some(NodeId(2))).unwrap();
    leader.ticks(10);
    assert!(leader.said().iter().all(|(_, _, message)| *message != Message::Campaign));
}

#[test]
fn a_peer_that_forgot_does_not_help_to_leave_a_joint_phase() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.change(Change::AddLearner(NodeId(4), Intent::Replace(NodeId(3))));
    leader.sync();
    leader.all_hold(&[2, 3]);
    leader.all_hold(&[4]);
    let at = leader.last();
    leader.sync();
    let lacking =
        |index| Message::Accepted { matched: index, durable: index, round: 0, report: Report { whole: 0, ..report(Room::Enough, index) } };
    for peer in [2, 3, 4] {
        leader.hear(peer, term, lacking(at));
    }
    leader.node.set_whole(at);
    leader.settle();
    assert!(leader.node.membership().is_joint());
    let word =
        |round| Message::Accepted { matched: 1, durable: 1, round, report: Report { boot: 2, whole: at, ..report(Room::Enough, 1) } };
    leader.said();
    leader.hear(4, term, word(0));
    let asked = leader.appends_to(4).last().expect("it is asked at once").round;
    leader.hear(4, term, word(asked));
    assert!(leader.node.membership().is_joint(), "whatever it says that it has");
    leader.hear(2, term, accepted(at));
    assert!(!leader.node.membership().is_joint());
}

#[test]
fn a_peer_that_comes_back_with_all_it_acknowledged_is_fine() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.sync();
    leader.hear(2, term, accepted(2));
    leader.propose("y");
    comes_back(&mut leader, term, 2, 0, 2);
    assert!(told_forgot(&mut leader).is_empty());
    leader.sync();
    leader.hear(2, term, of_boot(2, 3, 3));
    assert_eq!(leader.node.commit(), 3);
}

#[test]
fn a_late_word_of_an_earlier_boot_counts_for_nothing() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.sync();
    comes_back(&mut leader, term, 2, 1, 1);
    leader.hear(2, term, of_boot(1, 2, 2));
    assert_eq!(leader.node.commit(), 1, "the present boot may have lost it again: nothing was promised yet");
    leader.hear(2, term, of_boot(2, 2, 2));
    assert_eq!(leader.node.commit(), 2);
}

#[test]
fn a_late_first_word_of_an_earlier_boot_makes_nobody_suspect_and_silences_nobody() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    leader.sync();
    comes_back(&mut leader, term, 5, 2, 2);
    assert_eq!(leader.node.commit(), 2);
    leader.said();
    // Said before the restart, in the same term, and heard only now: its log ended earlier then.
    leader.hear(2, term, of_boot(4, 0, 0));
    assert!(leader.appends_to(2).last().is_some_and(|append| append.round > 0), "whoever is there is asked");
    leader.propose("y");
    leader.sync();
    leader.hear(2, term, of_boot(5, 3, 3));
    assert_eq!(leader.node.commit(), 3);
    assert!(told_forgot(&mut leader).is_empty());
}

#[test]
fn a_peer_that_makes_up_a_boot_with_each_answer_is_asked_a_few_times_between_two_heartbeats_and_costs_the_others_nothing() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.read(7);
    let open = leader.appends_to(2).last().expect("the read's round").round;
    let mut boot = 10;
    for _ in 0..3 {
        let mut asked = 0;
        for _ in 0..1_000 {
            boot += 1;
            leader.hear(2, term, in_round(u64::MAX, boot, 1, 1));
            let said = leader.said();
            assert!(said.iter().all(|(to, ..)| *to == 2), "nobody else hears of it: {said:?}");
            asked += said.len();
        }
        assert_eq!(asked, raft::BOOTS_ASKED_MAX as usize);
        leader.ticks(5);
        leader.said();
    }
    leader.hear(3, term, Message::Accepted { matched: 1, durable: 1, round: open, report: report(Room::Enough, 1) });
    assert_eq!(
        leader.reads.iter().map(|done| (done.token, done.result)).collect::<Vec<_>>(),
        [(7, Ok(1))],
        "the round is answered all the same"
    );
}

#[test]
fn a_boot_that_was_not_asked_because_too_many_were_is_asked_after_the_next_heartbeat() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for made_up in 10..20 {
        leader.hear(2, term, of_boot(made_up, 1, 1));
    }
    leader.said();
    leader.hear(2, term, of_boot(5, 1, 1));
    assert!(leader.appends_to(2).is_empty());
    leader.ticks(5);
    comes_back(&mut leader, term, 5, 1, 1);
    leader.propose("x");
    leader.sync();
    leader.hear(2, term, of_boot(5, 2, 2));
    assert_eq!(leader.node.commit(), 2);
}

#[test]
fn a_member_believes_only_its_leader_that_it_has_forgotten_something() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(3, 1, Message::Forgot { durable: 9 });
    member.hear(2, 1, heartbeat(id(1, 1), 1));
    member.hear(3, 1, Message::Forgot { durable: 9 });
    assert_eq!(member.forgot, None);
    member.hear(2, 1, Message::Forgot { durable: 9 });
    assert_eq!(member.forgot, Some(9));
}

#[test]
fn every_answer_carries_what_the_member_knows_of_itself() {
    let mut member = Member::with(3, &[1, 1], |config| config.boot = 77);
    let hash = StateHash { index: 1_024, digest: 5 };
    member.node.set_room(Room::Low);
    member.node.set_whole(1);
    member.node.set_state_hash(hash);
    member.node.set_garbage(true);
    let own = Report { boot: 77, end: 2, room: Room::Low, whole: 1, hash: Some(hash), garbage: true };
    for prev in [id(1, 2), id(9, 9)] {
        member.hear(2, 9, heartbeat(prev, 0));
        member.sync();
        let said = member.said();
        let [(2, 9, Message::Accepted { report, .. } | Message::Rejected { report, .. })] = &said[..] else { panic!("{said:?}") };
        assert_eq!(*report, own);
    }
}

#[test]
fn what_a_majoritys_state_is_goes_out_with_every_append_of_this_leadership() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let agreed = StateHash { index: 1_024, digest: 5 };
    leader.node.set_agreed(agreed);
    leader.propose("x");
    assert_eq!(leader.appends_to(2)[0].agreed, Some(agreed));
    leader.ticks(31);
    assert_eq!(leader.role(), RoleName::Follower);
    assert!(leader.elect() > term);
    leader.propose("y");
    assert!(leader.appends_to(2).iter().all(|append| append.agreed.is_none()), "the next compares anew");
}

#[test]
fn a_follower_hands_on_what_its_leader_says_of_the_majoritys_state() {
    let mut member = Member::with(3, &[1], |_| {});
    let agreed = StateHash { index: 1_024, digest: 5 };
    let Message::Append(append) = heartbeat(id(1, 1), 1) else { unreachable!() };
    member.hear(2, 1, Message::Append(raft::Append { agreed: Some(agreed), ..append.clone() }));
    assert_eq!(member.agreed, Some(agreed));
    assert_eq!(member.node.term(), Term(1));
    member.hear(2, 0, Message::Append(raft::Append { agreed: Some(agreed), ..append }));
    assert_eq!(member.agreed, None, "not what a deposed one says");
}
