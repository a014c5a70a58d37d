//! What is committed, and who counts.

use raft::{HardState, Membership, NodeId, Term};

use crate::member::{Member, accepted, acknowledged, append, heartbeat, held, id, log};

#[test]
fn the_leaders_own_entry_counts_at_its_own_sync() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let index = leader.propose("x");
    leader.hear(2, term, accepted(index));
    assert_eq!(leader.node.commit(), 1, "one disk of three");
    leader.sync();
    assert_eq!((leader.node.commit(), leader.apply_through), (index, index));
}

#[test]
fn a_quorum_without_the_leaders_disk_commits_but_the_leader_applies_only_what_it_holds() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let index = leader.propose("x");
    leader.hear(2, term, accepted(index));
    leader.hear(3, term, accepted(index));
    assert_eq!((leader.node.commit(), leader.apply_through), (index, 1));
    leader.sync();
    assert_eq!(leader.apply_through, index);
}

#[test]
fn what_a_peer_has_matched_does_not_count_before_it_is_durable_there() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    let index = leader.propose("x");
    leader.sync();
    leader.hear(2, term, held(index, 1));
    assert_eq!(leader.node.commit(), 1);
    leader.hear(2, term, held(index, index));
    assert_eq!(leader.node.commit(), index);
}

/// The paper's figure 8: entry 2 of term 2 reaches a majority in term 4, and could still be overwritten by a leader of term 3's
/// entry. Only an entry of term 4 on a majority settles it.
#[test]
fn entries_of_earlier_terms_are_not_committed_by_counting() {
    let voters = Membership::of_voters((1..=5).map(NodeId));
    let hard = HardState { term: Term(3), vote: None };
    let mut s1 = Member::found(voters, hard, log(&[1, 2]), |_| {});
    let term = s1.elect();
    assert_eq!(term, 4);
    s1.sync();
    s1.hear(2, term, accepted(2));
    s1.hear(3, term, accepted(2));
    assert_eq!(s1.node.commit(), 0, "index 2 is on three disks of five, and not committed");
    s1.hear(2, term, accepted(3));
    s1.hear(3, term, accepted(3));
    assert_eq!(s1.node.commit(), 3, "the no-op of term 4 takes all before it along");
}

#[test]
fn acknowledgements_of_an_earlier_term_count_for_nothing() {
    let mut leader = Member::with(3, &[1, 1], |_| {});
    let term = leader.elect();
    leader.sync();
    leader.hear(2, term - 1, accepted(3));
    leader.hear(3, term - 1, accepted(3));
    assert_eq!(leader.node.commit(), 0);
}

#[test]
fn an_acknowledgement_beyond_the_leaders_log_is_not_counted() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.hear(2, term, accepted(99));
    leader.hear(3, term, held(99, 1));
    let index = leader.propose("x");
    leader.sync();
    assert_eq!(leader.node.commit(), index - 1);
}

#[test]
fn a_followers_commit_follows_only_as_far_as_matched_in_this_term() {
    // Indices 2 and 3 may be another history than the leader's, whose commit index already covers them.
    let mut member = Member::with(3, &[1, 1, 1], |_| {});
    member.hear(2, 2, heartbeat(id(1, 1), 3));
    assert_eq!(member.node.commit(), 1);
    member.hear(2, 2, append(id(1, 1), &[2], 3));
    assert_eq!(member.node.commit(), 2);
    assert_eq!(member.apply_through, 1, "and applies what is on its own disk");
    member.sync();
    assert_eq!(member.apply_through, 2);
}

#[test]
fn the_commit_index_never_goes_back() {
    let mut member = Member::with(3, &[1, 1, 1], |_| {});
    member.hear(2, 1, heartbeat(id(1, 3), 3));
    member.hear(2, 1, heartbeat(id(1, 2), 1));
    member.hear(3, 2, heartbeat(id(1, 3), 0));
    assert_eq!(member.node.commit(), 3);
}

#[test]
fn a_configuration_is_in_force_while_its_entry_is_in_the_log() {
    let mut member = Member::with(3, &[1], |_| {});
    let (old, new) = (member.node.membership().clone(), Membership::of_voters([2, 3, 4].map(NodeId)));
    let raft::Message::Append(mut change) = append(id(1, 1), &[2], 1) else { unreachable!() };
    change.entries[0].payload = raft::Payload::Membership(new.clone());
    member.hear(2, 2, raft::Message::Append(change));
    assert_eq!(*member.node.membership(), new, "before it is durable or committed");
    member.hear(3, 3, append(id(1, 1), &[3], 1));
    assert_eq!(*member.node.membership(), old, "and no longer once it is overwritten");
    member.sync();
    assert_eq!(acknowledged(&member.said()), Some((2, 2)));
}
