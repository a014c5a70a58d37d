//! Who must hold a blob before its manifest enters the log, and when blobs that nobody refers to may go.

use std::collections::BTreeSet;

use raft::{Change, Index, Intent, Message, NodeId, Report, Room, Term};
use replica::{Condition, Failure, Haves, Input, Key, Limits, Operation, Reply, Value, state};

use crate::stage::{Stage, id, noops};

fn manifest() -> Operation {
    let value = Value::Blob { hash: [5; 32], size: 1 << 30 };
    Operation::Put { key: Key::new(*b"k").unwrap(), value, condition: Condition::Always, expires: None }
}

fn upload(stage: &mut Stage, ticket: u64, collect: Index, nodes: &[u64]) -> Option<Reply> {
    let nodes: BTreeSet<NodeId> = nodes.iter().map(|id| NodeId(*id)).collect();
    let haves = Some(Haves { term: Term(stage.term()), collect, nodes });
    stage.give(Input::Write { ticket, command: replica::Command { session: None, operation: manifest() }, haves });
    stage.peers_agree();
    stage.reply(ticket)
}

const NOT_HELD: Option<Reply> = Some(Reply::NotExecuted(Failure::BlobNotHeld));

fn limits(collect_ticks: u64) -> Limits {
    Limits { collect_ticks, ..Limits::default() }
}

fn ticks(stage: &mut Stage, count: usize) {
    for _ in 0..count {
        stage.tick();
    }
}

#[test]
fn where_there_is_no_garbage_nothing_is_collected() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(20));
    let last = stage.last();
    ticks(&mut stage, 200);
    assert_eq!((stage.last(), stage.replica.collect_index()), (last, Some(0)));
}

#[test]
fn garbage_anywhere_leads_to_a_collection_now_and_then() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(100));
    stage.reports.insert(3, Report { boot: 1, room: Room::Enough, garbage: true, ..Report::default() });
    ticks(&mut stage, 505);
    assert!((4..=6).contains(&stage.collected.len()), "{:?}", stage.collected);
    assert_eq!(stage.replica.collect_index(), stage.collected.last().copied());
    assert_eq!(state::collect(&stage.state).unwrap(), *stage.collected.last().unwrap());
}

#[test]
fn whoever_leads_next_does_not_collect_again_at_once() {
    let mut stage = Stage::new(&[1, 2, 3], limits(1_000));
    let collect = replica::Command { session: None, operation: Operation::<Vec<u8>>::Collect };
    let entry = raft::Entry { id: id(1, 1), payload: raft::Payload::Command(collect.encode().into()) };
    let Message::Append(append) = noops(id(0, 0), &[], 1) else { unreachable!() };
    stage.hear(2, 1, Message::Append(raft::Append { entries: vec![entry], ..append }));
    assert_eq!(stage.collected, [1]);
    stage.give(Input::Garbage(true));
    stage.lead();
    ticks(&mut stage, 600);
    assert_eq!(stage.collected, [1]);
    ticks(&mut stage, 400);
    assert_eq!(stage.collected.len(), 2);
}

#[test]
fn every_word_from_before_a_collection_is_void_from_the_moment_it_is_in_the_log() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(10_000));
    assert!(matches!(upload(&mut stage, 10, 0, &[1, 2, 3]), Some(Reply::Written(_))));
    stage.give(Input::Garbage(true));
    let before = stage.last();
    while stage.last() == before {
        stage.give(Input::Tick);
    }
    assert_eq!(stage.collected, [], "no quorum has it yet");
    let collect = stage.last().index;
    assert_eq!(upload(&mut stage, 11, 0, &[1, 2, 3]), NOT_HELD);
    assert!(matches!(upload(&mut stage, 12, collect, &[1, 2]), Some(Reply::Written(_))));
    assert_eq!(stage.collected, [collect]);
    assert_eq!(upload(&mut stage, 13, collect - 1, &[1, 2, 3]), NOT_HELD);
    assert_eq!(upload(&mut stage, 14, collect + 1, &[1, 2, 3]), NOT_HELD, "nor any of which this log knows nothing");
}

#[test]
fn a_leader_that_may_hold_a_collection_it_has_not_applied_asks_for_nothing_yet() {
    let mut stage = Stage::new(&[1, 2, 3], limits(10_000));
    stage.give(Input::Room(Room::Enough));
    stage.applies = false;
    ticks(&mut stage, 300);
    assert!(stage.replica.node().is_settled_leader());
    assert_eq!(stage.replica.collect_index(), None);
    assert_eq!(upload(&mut stage, 10, 0, &[1, 2, 3]), NOT_HELD);
    stage.applies = true;
    stage.go_on();
    assert_eq!(stage.replica.collect_index(), Some(0));
}

/// It was proposed, cut off by another leader, and its place is behind where the present leadership began.
#[test]
fn a_collection_that_was_cut_off_is_not_waited_for_by_the_next_leadership() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(100_000));
    let before = stage.last();
    for ticket in 0..5 {
        stage.write(ticket, crate::stage::put("a", "lost"));
    }
    stage.give(Input::Garbage(true));
    while stage.last().index < before.index + 6 {
        stage.give(Input::Tick);
    }
    stage.give(Input::Garbage(false));
    let term = stage.term();
    stage.sent.clear();
    stage.hear(2, term + 1, noops(before, &[term + 1], before.index + 1));
    stage.sent.clear();
    stage.lead();
    assert_eq!(stage.replica.collect_index(), Some(0), "no log has one");
    assert!(matches!(upload(&mut stage, 10, 0, &[1, 2, 3]), Some(Reply::Written(_))));
}

#[test]
fn in_a_joint_phase_a_blob_needs_a_quorum_of_each_half() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(10_000));
    // Neither 1 nor 2 has every blob, so the joint phase lasts.
    stage.reports.insert(2, Report { boot: 1, room: Room::Enough, ..Report::default() });
    stage.give(Input::Change { ticket: 1, change: Change::AddLearner(NodeId(4), Intent::Replace(NodeId(3))) });
    ticks(&mut stage, 100);
    assert!(stage.replica.node().membership().is_joint());
    assert_eq!(upload(&mut stage, 10, 0, &[1, 4]), NOT_HELD, "two of the new three, one of the old");
    assert_eq!(upload(&mut stage, 11, 0, &[1, 3]), NOT_HELD, "and the other way round");
    assert!(matches!(upload(&mut stage, 12, 0, &[1, 3, 4]), Some(Reply::Written(_))));
}

#[test]
fn the_word_of_a_peer_that_forgot_is_none() {
    let mut stage = Stage::leader(&[1, 2, 3], limits(10_000));
    stage.write(1, crate::stage::put("a", "x"));
    stage.peers_agree();
    let (term, end) = (stage.term(), stage.last().index - 1);
    let report = Report { boot: 2, end, room: Room::Enough, ..Report::default() };
    for round in [0, 1] {
        stage.hear(2, term, Message::Accepted { matched: end, durable: end, round, report });
    }
    stage.reports.insert(2, report);
    assert_eq!(upload(&mut stage, 10, 0, &[1, 2]), NOT_HELD, "what it told before may be lost as well");
    assert!(matches!(upload(&mut stage, 11, 0, &[1, 2, 3]), Some(Reply::Written(_))));
}
