//! Who leads, and when a vote counts.

use std::collections::BTreeSet;

use raft::{HardState, Membership, Message, NodeId, RoleName, Term};

use crate::member::{Member, accepted, append, granted, heartbeat, id, log};

fn pre_vote_yes(term: u64) -> Message {
    Message::PreVoteReply { granted: true, asked: Term(term) }
}

fn is_pre_vote(message: &Message) -> bool {
    matches!(message, Message::PreVote { .. })
}

/// Brings a blank member of three to where its own vote for term 1 is on its way to the disk.
fn candidate(member: &mut Member) {
    member.ticks_until_it_speaks();
    let term = member.node.term().0;
    assert!(member.said().iter().all(|(_, _, message)| is_pre_vote(message)));
    member.hear(2, term, pre_vote_yes(term));
    assert_eq!(member.role(), RoleName::Candidate);
}

#[test]
fn a_member_that_hears_nobody_asks_again_and_again_without_raising_its_term() {
    let mut member = Member::with(3, &[1, 1], |_| {});
    for _ in 0..10 {
        let ticks = member.ticks_until_it_speaks();
        assert!((15..=30).contains(&ticks), "a lost pre-vote does not slow the next one down: {ticks}");
        let said = member.said();
        assert_eq!(said.iter().map(|(to, term, _)| (*to, *term)).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
        assert!(said.iter().all(|(_, _, message)| *message == Message::PreVote { last: id(1, 2) }));
    }
    assert!(member.writing.is_empty(), "nothing of it goes to the disk");
}

#[test]
fn the_vote_request_waits_for_the_own_vote_on_the_disk() {
    let mut member = Member::of(3);
    candidate(&mut member);
    assert_eq!(member.writing[0].1.hard, Some(HardState { term: Term(1), vote: Some(NodeId(1)) }));
    member.ticks(500);
    assert_eq!(member.said(), [], "neither a request before the sync nor a new candidacy while it lasts");
    member.sync();
    let request = Message::Vote { last: id(0, 0) };
    assert_eq!(member.said(), [(2, 1, request.clone()), (3, 1, request)]);
}

#[test]
fn the_candidates_timer_starts_with_its_durable_vote() {
    let mut member = Member::of(3);
    candidate(&mut member);
    member.ticks(500);
    member.sync();
    member.said();
    member.ticks(14);
    assert_eq!(member.said(), [], "the sync does not eat the time for the votes to come in");
    member.hear(3, 1, granted());
    assert!(member.node.is_leader());
}

#[test]
fn the_own_vote_counts_only_once_durable() {
    let mut alone = Member::of(1);
    alone.ticks(100);
    assert_eq!(alone.role(), RoleName::Candidate);
    assert!(!alone.node.is_leader(), "a single voter has no quorum before its own vote is durable");
    alone.sync();
    assert!(alone.node.is_leader());
}

#[test]
fn a_single_voter_commits_at_its_own_sync() {
    let mut alone = Member::of(1);
    alone.elect();
    alone.sync();
    let index = alone.propose("alone");
    assert_eq!((alone.node.commit(), alone.apply_through), (1, 1));
    alone.sync();
    assert_eq!((alone.node.commit(), alone.apply_through), (index, index));
    alone.read(9);
    assert_eq!(alone.reads[0].result, Ok(index));
}

#[test]
fn a_vote_is_withheld_until_it_is_durable() {
    let mut member = Member::of(3);
    member.hear(2, 1, Message::Vote { last: id(0, 0) });
    member.hear(2, 1, Message::Vote { last: id(0, 0) });
    assert_eq!(member.said(), [], "not at the second asking either");
    member.sync();
    assert!(member.said().iter().all(|(to, term, message)| (*to, *term) == (2, 1) && *message == granted()));
}

#[test]
fn a_vote_overtaken_by_a_higher_term_never_leaves() {
    let mut member = Member::of(3);
    member.hear(2, 1, Message::Vote { last: id(0, 0) });
    member.hear(3, 2, Message::Vote { last: id(0, 0) });
    member.sync();
    assert_eq!(member.said(), [(3, 2, granted())]);
}

#[test]
fn there_is_one_vote_a_term() {
    let mut member = Member::of(3);
    member.hear(2, 1, Message::Vote { last: id(0, 0) });
    member.hear(3, 1, Message::Vote { last: id(5, 9) });
    member.sync();
    assert_eq!(member.said(), [(2, 1, granted()), (3, 1, Message::VoteReply { granted: false })]);
}

#[test]
fn a_vote_holds_across_a_restart() {
    let voters = Membership::of_voters([1, 2, 3].map(NodeId));
    let hard = HardState { term: Term(4), vote: Some(NodeId(2)) };
    let mut member = Member::found(voters, hard, Vec::new(), |_| {});
    member.hear(3, 4, Message::Vote { last: id(3, 9) });
    member.hear(2, 4, Message::Vote { last: id(0, 0) });
    assert_eq!(member.said(), [(3, 4, Message::VoteReply { granted: false }), (2, 4, granted())]);
}

#[test]
fn the_longer_log_of_an_older_term_gets_no_vote() {
    let mut member = Member::with(3, &[1, 3], |_| {});
    member.hear(2, 4, Message::Vote { last: id(2, 9) });
    member.hear(3, 4, Message::Vote { last: id(3, 2) });
    member.sync();
    assert_eq!(member.said(), [(2, 4, Message::VoteReply { granted: false }), (3, 4, granted())]);
}

#[test]
fn the_voters_timer_restarts_when_its_vote_is_durable() {
    let mut member = Member::of(3);
    member.hear(2, 1, Message::Vote { last: id(0, 0) });
    member.ticks(500);
    assert_eq!(member.role(), RoleName::Follower, "no candidacy while the vote is on its way to the disk");
    member.sync();
    member.said();
    member.ticks(14);
    assert_eq!(member.role(), RoleName::Follower, "the candidate is left the time to win");
    member.ticks(17);
    assert_eq!(member.role(), RoleName::PreCandidate);
}

#[test]
fn whoever_hears_a_leader_encourages_nobody() {
    let mut member = Member::of(3);
    member.hear(2, 1, heartbeat(id(0, 0), 0));
    member.sync();
    member.said();
    member.hear(3, 1, Message::PreVote { last: id(9, 9) });
    assert_eq!(member.said(), [(3, 1, Message::PreVoteReply { granted: false, asked: Term(1) })]);
    member.ticks(15);
    member.said();
    member.hear(3, 1, Message::PreVote { last: id(9, 9) });
    assert!(member.said().contains(&(3, 1, pre_vote_yes(1))), "once it is silent, why not");
}

#[test]
fn a_leader_encourages_nobody_and_a_settled_cluster_keeps_its_term() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.hear(3, term, Message::PreVote { last: id(9, 9) });
    assert_eq!(leader.said(), [(3, term, Message::PreVoteReply { granted: false, asked: Term(term) })]);
    assert!(leader.node.is_leader());
}

#[test]
fn an_answer_to_an_earlier_pre_vote_is_no_encouragement_for_a_later_term() {
    let mut member = Member::of(3);
    member.ticks_until_it_speaks();
    member.hear(3, 1, Message::PreVoteReply { granted: false, asked: Term(0) });
    member.sync();
    member.said();
    member.ticks_until_it_speaks();
    member.hear(2, 1, pre_vote_yes(0));
    assert_eq!(member.role(), RoleName::PreCandidate);
}

#[test]
fn a_vote_for_an_earlier_candidacy_does_not_count_for_this_one() {
    let mut member = Member::of(5);
    let mut stand = |term: u64| {
        member.ticks_until_it_speaks();
        member.said();
        member.hear(2, term - 1, pre_vote_yes(term - 1));
        member.hear(3, term - 1, pre_vote_yes(term - 1));
        member.sync();
        member.said();
    };
    stand(1);
    stand(2);
    member.hear(2, 1, granted());
    member.hear(3, 1, granted());
    assert_eq!(member.role(), RoleName::Candidate);
    member.hear(4, 2, granted());
    member.hear(5, 2, granted());
    assert!(member.node.is_leader());
}

#[test]
fn a_higher_term_is_always_adopted_and_deposes() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    leader.hear(3, term + 5, Message::PreVoteReply { granted: false, asked: Term(1) });
    assert_eq!((leader.role(), leader.node.term()), (RoleName::Follower, Term(term + 5)));
    assert_eq!(leader.writing[0].1.hard, Some(HardState { term: Term(term + 5), vote: None }));
}

#[test]
fn a_deposed_leader_learns_of_the_newer_term() {
    let mut member = Member::with(3, &[1, 2], |_| {});
    member.hear(2, 1, append(id(1, 1), &[1], 1));
    assert!(matches!(member.said()[..], [(2, 2, Message::Rejected { .. })]));
    assert_eq!((member.terms(), member.node.commit()), (vec![1, 2], 0), "and changes nothing");
}

#[test]
fn a_candidate_that_hears_the_winner_follows() {
    let mut member = Member::of(3);
    candidate(&mut member);
    member.sync();
    member.hear(3, 1, heartbeat(id(0, 0), 0));
    assert_eq!((member.role(), member.node.leader()), (RoleName::Follower, Some(NodeId(3))));
    member.hear(2, 1, granted());
    assert_eq!(member.role(), RoleName::Follower, "a late vote changes nothing");
}

/// Loses candidacies one after the other; how long each waited for its votes.
fn lost_candidacies(member: &mut Member, count: usize) -> Vec<u64> {
    candidate(member);
    (0..count)
        .map(|_| {
            member.sync();
            member.said();
            let ticks = member.ticks_until_it_speaks();
            member.said();
            let term = member.node.term().0;
            member.hear(2, term, pre_vote_yes(term));
            ticks
        })
        .collect()
}

#[test]
fn each_lost_candidacy_doubles_the_timeout_until_a_leader_is_heard() {
    let mut member = Member::of(3);
    for (lost, ticks) in lost_candidacies(&mut member, 6).into_iter().enumerate() {
        let doubled = (15 << lost)..=(30 << lost);
        assert!(doubled.contains(&ticks), "after {lost} lost: {ticks}");
    }
    member.sync();
    let term = member.node.term().0;
    member.hear(3, term, heartbeat(id(0, 0), 0));
    member.said();
    assert!((15..=30).contains(&member.ticks_until_it_speaks()));
}

#[test]
fn at_the_bound_of_the_doubling_timeouts_still_differ() {
    // Two candidates that wait equally long split the votes for ever.
    let mut member = Member::with(3, &[], |config| config.backoff_max_ticks = 100);
    let waited = lost_candidacies(&mut member, 30);
    assert!(waited.iter().all(|ticks| *ticks <= 100));
    let at_the_bound: BTreeSet<u64> = waited[10..].iter().copied().collect();
    assert!(at_the_bound.len() > 5, "{at_the_bound:?}");
    assert!(at_the_bound.iter().all(|ticks| *ticks >= 50));
}

#[test]
fn a_candidacy_overtaken_by_a_higher_term_was_lost_too() {
    // On slow disks candidates overtake each other before any timer runs out; without this none would ever wait longer.
    let mut member = Member::of(3);
    candidate(&mut member);
    member.sync();
    member.hear(3, 2, Message::Vote { last: id(0, 0) });
    member.sync();
    member.said();
    assert!((30..=60).contains(&member.ticks_until_it_speaks()));
}

#[test]
fn a_learner_follows_and_votes_and_stands_only_when_nobody_was_heard_for_long() {
    let membership =
        Membership { voters: [2, 3].map(NodeId).into(), learners: [(NodeId(1), raft::Intent::Stay)].into(), ..Membership::default() };
    let mut learner = Member::found(membership, HardState::default(), log(&[]), |_| {});
    learner.hear(2, 1, append(id(0, 0), &[1], 0));
    learner.sync();
    learner.said();
    learner.ticks(120);
    assert_eq!((learner.role(), learner.said()), (RoleName::Follower, vec![]));
    learner.ticks(30);
    assert!(learner.said().iter().all(|(_, _, message)| is_pre_vote(message)));
    assert_eq!(learner.role(), RoleName::PreCandidate);
    // Who counts it is the candidate's configuration, which may be newer than ours.
    learner.hear(3, 2, Message::Vote { last: id(1, 1) });
    learner.sync();
    assert_eq!(learner.said(), [(3, 2, granted())]);
}

/// Member 5 is to be a voter by an entry that only member 4 has, in term 1; member 5 itself has a newer entry of term 2 in its place. Nobody
/// but member 5 can win: 4 would need its vote.
#[test]
fn a_learner_that_a_stranded_configuration_counts_on_gets_the_cluster_going_and_hands_over() {
    let voters = [2, 3, 4].map(NodeId);
    let membership = Membership { voters: voters.into(), learners: [(NodeId(1), raft::Intent::Promote)].into(), ..Membership::default() };
    let mut learner = Member::found(membership, HardState { term: Term(2), vote: None }, log(&[1, 1, 2]), |_| {});
    learner.ticks(151);
    assert_eq!(learner.role(), RoleName::PreCandidate);
    for peer in [2, 3] {
        learner.hear(peer, 2, pre_vote_yes(2));
    }
    learner.sync();
    learner.hear(2, 3, granted());
    assert!(!learner.node.is_leader(), "its own vote is none");
    learner.hear(3, 3, granted());
    assert!(learner.node.is_leader());
    learner.sync();
    learner.said();
    for peer in [2, 3, 4] {
        learner.hear(peer, 3, accepted(4));
    }
    assert_eq!(learner.node.commit(), 4);
    learner.ticks(2);
    assert!(learner.said().iter().any(|(_, _, message)| *message == Message::Campaign), "a voter is to lead");
    assert_eq!(learner.role(), RoleName::Follower);
}

#[test]
fn votes_and_acknowledgements_of_a_learner_are_not_counted() {
    let membership =
        Membership { voters: [1, 2, 3].map(NodeId).into(), learners: [(NodeId(4), raft::Intent::Stay)].into(), ..Membership::default() };
    let mut member = Member::found(membership, HardState::default(), log(&[]), |_| {});
    member.ticks_until_it_speaks();
    member.hear(4, 0, pre_vote_yes(0));
    assert_eq!(member.role(), RoleName::PreCandidate);
    member.hear(2, 0, pre_vote_yes(0));
    member.sync();
    member.hear(4, 1, granted());
    assert_eq!(member.role(), RoleName::Candidate);
    member.hear(2, 1, granted());
    member.sync();
    member.hear(4, 1, accepted(1));
    assert_eq!(member.node.commit(), 0);
    member.hear(2, 1, accepted(1));
    assert_eq!(member.node.commit(), 1);
}

#[test]
fn a_leader_that_hears_no_quorum_steps_down() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for _ in 0..20 {
        leader.ticks(5);
        leader.hear(3, term, accepted(1));
        assert!(leader.node.is_leader(), "one of two peers is a quorum of three");
    }
    leader.ticks(30);
    assert!(leader.node.is_leader());
    leader.ticks(1);
    assert_eq!((leader.role(), leader.node.term()), (RoleName::Follower, Term(term)));
}

#[test]
fn a_new_leader_is_given_a_timeout_to_be_answered() {
    let mut leader = Member::of(3);
    leader.elect();
    leader.ticks(30);
    assert!(leader.node.is_leader());
    leader.ticks(1);
    assert!(!leader.node.is_leader());
}

#[test]
fn an_idle_leader_with_an_idle_disk_stays() {
    let mut leader = Member::of(3);
    let term = leader.lead();
    for _ in 0..2_000 {
        leader.ticks(5);
        leader.hear(2, term, accepted(1));
    }
    assert!(leader.node.is_leader());
    assert!(leader.writing.is_empty(), "idle means no syncs");
}
