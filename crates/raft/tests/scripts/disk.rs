//! Disks that are slow, hang, or never answer.

use raft::{Message, RoleName, Term};

use crate::member::{Member, accepted, append, heartbeat, held, id};

/// A leader of three with a batch of two entries hanging on its disk.
fn stalled() -> (Member, u64) {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.propose("x");
    (leader, term)
}

/// Lets time pass while both peers answer every heartbeat with the same.
fn wait(leader: &mut Member, ticks: u64, answer: Message) {
    for _ in 0..ticks {
        leader.ticks(1);
        let term = leader.node.term().0;
        leader.hear(2, term, answer.clone());
    }
}

#[test]
fn heartbeats_keep_their_rhythm_while_no_sync_ever_completes() {
    let mut leader = Member::of(3);
    let term = leader.elect();
    let mut beats = Vec::new();
    for tick in 0..1_000u64 {
        leader.ticks(1);
        if leader.appends_to(3).iter().any(|append| append.entries.is_empty()) {
            beats.push(tick);
        }
        leader.hear(2, term, held(0, 0));
        leader.propose("more for the disk");
    }
    assert!(leader.node.is_leader());
    assert_eq!(beats.len(), 200);
    assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == 5));
}

#[test]
fn a_follower_answers_heartbeats_while_its_entries_hang() {
    let mut member = Member::with(3, &[1], |_| {});
    member.hear(2, 1, append(id(1, 1), &[1], 1));
    for _ in 0..100 {
        member.ticks(5);
        member.said();
        member.hear(2, 1, heartbeat(id(1, 2), 1));
        assert_eq!(member.said().len(), 1);
    }
    assert_eq!(member.role(), RoleName::Follower);
}

#[test]
fn a_leader_whose_disk_hangs_steps_down_once_another_voter_is_ahead() {
    let (mut leader, _) = stalled();
    wait(&mut leader, 1_000, held(2, 1));
    assert!(leader.node.is_leader(), "when every disk hangs, another leader would be no better");
    wait(&mut leader, 1, held(2, 2));
    leader.ticks(1);
    assert_eq!(leader.role(), RoleName::Follower);
}

#[test]
fn a_short_hang_does_not_depose() {
    let (mut leader, _) = stalled();
    wait(&mut leader, 200, accepted(2));
    assert!(leader.node.is_leader());
    leader.sync();
    wait(&mut leader, 1_000, accepted(2));
    assert!(leader.node.is_leader(), "and idle it never stalls");
}

#[test]
fn whoever_stepped_down_for_its_disk_stands_again_only_after_a_sync() {
    let (mut leader, term) = stalled();
    wait(&mut leader, 202, accepted(2));
    assert_eq!((leader.role(), leader.node.term()), (RoleName::Follower, Term(term)));
    leader.said();
    leader.ticks(1_000);
    assert_eq!(leader.said(), []);
    leader.sync();
    leader.ticks(31);
    assert_eq!(leader.role(), RoleName::PreCandidate);
}

#[test]
fn a_learner_ahead_of_the_leaders_disk_deposes_nobody() {
    let membership = raft::Membership {
        voters: [1, 2, 3].map(raft::NodeId).into(),
        learners: [(raft::NodeId(4), raft::Intent::Stay)].into(),
        ..raft::Membership::default()
    };
    let mut leader = Member::found(membership, raft::HardState::default(), Vec::new(), |_| {});
    let term = leader.lead();
    leader.propose("x");
    for _ in 0..1_000 {
        leader.ticks(1);
        leader.hear(2, term, held(2, 1));
        leader.hear(4, term, accepted(2));
    }
    assert!(leader.node.is_leader());
}

#[test]
fn what_waits_for_a_hanging_disk_is_bounded() {
    let mut member = Member::of(3);
    for _ in 0..100_000 {
        member.hear(2, 1, heartbeat(id(0, 0), 0));
    }
    assert_eq!(member.said(), []);
    member.sync();
    let answers = member.said().len();
    assert!((1..=4_096).contains(&answers), "{answers}");
    member.hear(2, 1, heartbeat(id(0, 0), 0));
    assert_eq!(member.said().len(), 1, "and the next question is answered as ever");
}
