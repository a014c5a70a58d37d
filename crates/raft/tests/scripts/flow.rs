//! How much is under way: windows, bounds, and peers that lag behind what memory holds.

use raft::{EntriesRead, NodeId, Refusal};

use crate::member::{Member, accepted, entry, held, id, rejected};

fn command(bytes: usize) -> std::sync::Arc<[u8]> {
    vec![7; bytes].into()
}

#[test]
fn appends_are_pipelined_without_waiting_for_answers() {
    let mut leader = Member::of(3);
    leader.lead();
    let indices: Vec<u64> = (0..5).map(|_| leader.propose("x")).collect();
    let sent: Vec<u64> = leader.appends_to(2).iter().map(|append| append.prev.index + 1).collect();
    assert_eq!(sent, indices);
}

#[test]
fn proposals_of_one_turn_share_an_append_and_a_sync() {
    let mut leader = Member::of(3);
    leader.lead();
    for _ in 0..5 {
        leader.node.propose(command(10)).expect("the leader takes it");
    }
    leader.settle();
    assert_eq!(leader.appends_to(2).iter().map(|append| append.entries.len()).collect::<Vec<_>>(), [5]);
    assert_eq!(leader.writing.len(), 1);
}

#[test]
fn an_append_is_bounded_and_a_single_larger_entry_goes_alone() {
    let mut leader = Member::with(3, &[], |config| config.append_max_bytes = 1_000);
    leader.lead();
    for bytes in [400, 400, 400, 5_000, 10] {
        leader.node.propose(command(bytes)).expect("the leader takes it");
    }
    leader.settle();
    assert_eq!(leader.appends_to(2).iter().map(|append| append.entries.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
}

#[test]
fn what_is_in_flight_to_one_peer_is_bounded_until_it_is_durable_there() {
    let mut leader = Member::with(3, &[], |config| config.inflight_max_bytes = 3_000);
    let term = leader.lead();
    let last = (0..10).map(|_| leader.node.propose(command(1_000)).expect("the leader takes it").index).last();
    leader.settle();
    leader.said();
    for _ in 0..10 {
        leader.node.propose(command(1_000)).expect("the leader takes it");
        leader.settle();
    }
    assert_eq!(leader.appends_to(2), [], "the first ten filled the window");
    leader.hear(2, term, held(last.unwrap(), 1));
    assert_eq!(leader.appends_to(2), [], "received is not durable");
    leader.hear(2, term, accepted(last.unwrap()));
    let sent: usize = leader.appends_to(2).iter().map(|append| append.entries.len()).sum();
    assert_eq!(sent, 10);
    assert_eq!(leader.appends_to(3), []);
}

#[test]
fn beyond_the_bound_on_uncommitted_bytes_proposals_are_refused() {
    let mut leader = Member::with(3, &[], |config| config.uncommitted_max_bytes = 4_000);
    let term = leader.lead();
    let taken = (0..100).take_while(|_| leader.node.propose(command(1_000)).is_ok()).count();
    assert_eq!(taken, 4);
    assert_eq!(leader.node.propose(command(1)), Err(Refusal::Overloaded));
    leader.settle();
    leader.sync();
    leader.hear(2, term, accepted(3));
    let more = (0..100).take_while(|_| leader.node.propose(command(1_000)).is_ok()).count();
    assert_eq!(more, 2, "two were committed");
}

#[test]
fn the_bound_holds_across_elections_and_is_fully_given_back() {
    // What an earlier leader left uncommitted weighs on the new one, until its no-op commits it.
    let mut leader = Member::with(3, &[1; 100], |config| config.uncommitted_max_bytes = 4_000);
    let term = leader.elect();
    assert_eq!(leader.node.propose(command(1)), Err(Refusal::Overloaded));
    leader.sync();
    leader.hear(2, term, accepted(leader.last()));
    let taken = (0..100).take_while(|_| leader.node.propose(command(1_000)).is_ok()).count();
    assert_eq!(taken, 4);
}

#[test]
fn a_follower_names_the_leader_when_it_refuses_a_proposal() {
    let mut member = Member::of(3);
    assert_eq!(member.node.propose(command(1)), Err(Refusal::NotLeader(None)));
    member.hear(2, 1, crate::member::heartbeat(id(0, 0), 0));
    assert_eq!(member.node.propose(command(1)), Err(Refusal::NotLeader(Some(raft::NodeId(2)))));
}

/// A leader of three that keeps nothing in memory but what it must, with member 3 missing everything.
fn with_a_laggard() -> (Member, u64) {
    let mut leader = Member::with(3, &[1; 20], |config| config.cache_max_bytes = 0);
    let term = leader.elect();
    leader.sync();
    leader.hear(2, term, accepted(21));
    assert_eq!(leader.apply_through, 21);
    leader.said();
    leader.hear(3, term, rejected(20, id(0, 0)));
    assert_eq!(leader.appends_to(3)[0].prev.index, 0);
    leader.hear(3, term, held(0, 0));
    assert_eq!(leader.appends_to(3), []);
    (leader, term)
}

/// What is not durable yet is in memory and nowhere else: a reader of the disk would not find it and take the log for damaged.
#[test]
fn only_durable_entries_are_asked_of_the_disk() {
    let mut leader = Member::with(3, &[1; 20], |config| config.cache_max_bytes = 0);
    let term = leader.elect();
    leader.sync();
    leader.hear(2, term, accepted(21));
    for _ in 0..5 {
        leader.propose("not synced yet");
    }
    assert!(!leader.writing.is_empty());
    leader.hear(3, term, rejected(20, id(0, 0)));
    leader.hear(3, term, held(0, 0));
    assert_eq!(leader.need.iter().map(|need| (need.first, need.last)).collect::<Vec<_>>(), [(1, 21)]);
}

#[test]
fn a_peer_behind_the_memory_is_served_from_the_disk() {
    let (mut leader, term) = with_a_laggard();
    let need = leader.need[0];
    assert_eq!((need.peer.0, need.term.0, need.first, need.last), (3, term, 1, 21));
    leader.propose("meanwhile");
    assert_eq!(leader.need.len(), 1, "asked once");
    let entries: Vec<_> = (1..=8).map(|index| entry(1, index)).collect();
    leader.node.entries_read(EntriesRead { peer: need.peer, term: need.term, entries });
    leader.settle();
    let sent = leader.appends_to(3);
    assert_eq!((sent[0].prev.index, sent[0].entries.len()), (0, 8));
    assert_eq!(leader.need[1].first, 9, "and the next piece is asked for");
}

#[test]
fn what_was_read_for_an_earlier_leadership_is_dropped() {
    let (mut leader, term) = with_a_laggard();
    let need = leader.need[0];
    leader.ticks(31);
    let again = leader.elect();
    assert!(again > term);
    leader.hear(3, again, rejected(21, id(0, 0)));
    leader.hear(3, again, held(0, 0));
    leader.said();
    assert_eq!((leader.need[1].first, leader.need[1].term.0), (1, again), "the peer is where it was, and asked for anew");
    let entries = vec![entry(1, 1)];
    leader.node.entries_read(EntriesRead { peer: need.peer, term: need.term, entries: entries.clone() });
    leader.settle();
    assert_eq!(leader.appends_to(3), [], "but in between another leader may have replaced what was read");
    leader.node.entries_read(EntriesRead { peer: need.peer, term: leader.need[1].term, entries });
    leader.settle();
    assert_eq!(leader.appends_to(3).len(), 1);
}

#[test]
fn what_was_read_for_a_place_where_the_peer_no_longer_is_gets_dropped() {
    let (mut leader, term) = with_a_laggard();
    let need = leader.need[0];
    leader.hear(3, term, held(5, 5));
    leader.said();
    leader.node.entries_read(EntriesRead { peer: need.peer, term: need.term, entries: vec![entry(1, 1)] });
    leader.settle();
    assert_eq!(leader.appends_to(3), []);
    assert_eq!(leader.need[1].first, 6);
}

#[test]
fn over_a_new_stream_nothing_is_sent_twice() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let lost = leader.propose("sent into a stream that broke");
    leader.said();
    leader.node.reconnected(NodeId(2));
    let written_meanwhile = leader.propose("written before the peer answered");
    let asked = leader.appends_to(2);
    assert!(asked.iter().all(|append| append.entries.is_empty()), "first it is asked where to go on: {asked:?}");
    leader.hear(2, term, rejected(asked[0].prev.index, id(term, lost - 1)));
    leader.hear(2, term, accepted(lost - 1));
    let sent: Vec<u64> = leader.appends_to(2).iter().flat_map(|append| append.entries.iter().map(|entry| entry.id.index)).collect();
    assert_eq!(sent, [lost, written_meanwhile]);
}
