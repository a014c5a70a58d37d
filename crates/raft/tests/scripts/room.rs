//! Space on the disks: who refuses new data, who still takes entries.

use raft::{Append, Message, Room};

use crate::member::{Member, acknowledged, append, id, report};

fn roomy(index: u64, room: Room) -> Message {
    Message::Accepted { matched: index, durable: index, round: 0, report: report(room, index) }
}

#[test]
fn a_new_leader_refuses_until_it_and_a_quorum_have_reported_room() {
    let mut leader = Member::of(5);
    let term = leader.elect();
    leader.sync();
    leader.node.set_room(Room::Enough);
    assert!(leader.node.is_refusing());
    leader.hear(2, term, roomy(1, Room::Enough));
    leader.hear(3, term, roomy(1, Room::Low));
    assert!(leader.node.is_refusing(), "two of five");
    leader.hear(4, term, roomy(1, Room::Enough));
    assert!(!leader.node.is_refusing());
    leader.hear(4, term, roomy(1, Room::Floor));
    assert!(leader.node.is_refusing(), "what was reported last counts");
}

#[test]
fn a_leader_without_room_refuses_whatever_the_others_have() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for peer in [2, 3] {
        leader.hear(peer, term, roomy(1, Room::Enough));
    }
    leader.node.set_room(Room::Low);
    assert!(leader.node.is_refusing());
    leader.node.set_room(Room::Enough);
    assert!(!leader.node.is_refusing());
}

#[test]
fn a_refusing_leader_says_so_and_goes_on_committing() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("a delete");
    let append = &leader.appends_to(2)[0];
    assert!(append.refusing && append.entries.len() == 1);
    leader.sync();
    leader.hear(2, term, roomy(2, Room::Low));
    assert_eq!(leader.node.commit(), 2);
}

#[test]
fn below_the_floor_entries_are_taken_only_from_a_refusing_leader() {
    let mut member = Member::with(3, &[1], |_| {});
    member.node.set_room(Room::Floor);
    let Message::Append(two_more) = append(id(1, 1), &[1, 1], 1) else { unreachable!() };
    member.hear(2, 1, Message::Append(two_more.clone()));
    assert_eq!((member.last(), member.writing.len()), (1, 0));
    let said = member.said();
    let [(2, 1, Message::Accepted { matched: 1, durable: 1, round: 0, report })] = said[..] else { panic!("it only lags: {said:?}") };
    assert_eq!(report.room, Room::Floor);
    member.hear(2, 1, Message::Append(Append { refusing: true, ..two_more }));
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((3, 3)));
}

#[test]
fn below_the_floor_what_is_there_already_is_still_acknowledged() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    member.node.set_room(Room::Floor);
    member.hear(2, 1, append(id(0, 0), &[1, 1, 1], 0));
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
}

#[test]
fn a_peer_below_its_floor_is_not_sent_what_it_would_not_take() {
    let mut leader = Member::of(3);
    leader.node.set_room(Room::Enough);
    let term = leader.lead();
    assert!(!leader.node.is_refusing());
    leader.hear(3, term, roomy(1, Room::Floor));
    leader.propose("x");
    assert_eq!(leader.appends_to(3), []);
    leader.ticks(5);
    assert!(leader.appends_to(3).iter().all(|append| append.entries.is_empty()), "heartbeats go on");
    leader.hear(3, term, roomy(1, Room::Enough));
    assert_eq!(leader.appends_to(3)[0].entries.len(), 1);
}
