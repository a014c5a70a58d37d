//! Changes of the membership, hand-overs, states that differ, and members that must not speak again.

use raft::{Append, Change, Intent, Membership, Message, NodeId, Report, Room, StateHash};
use replica::{Failure, Input, Limits, Reply, Suspect, state};

use crate::stage::{Stage, id, noops, put};

fn digest_here(stage: &Stage) -> u64 {
    let hash = stage.replica.state_hash();
    u64::from_be_bytes(hash[..8].try_into().unwrap())
}

#[test]
fn a_change_is_answered_once_applied_and_one_at_a_time() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    let change = Change::AddLearner(NodeId(4), Intent::Stay);
    stage.give(Input::Change { ticket: 10, change });
    stage.give(Input::Change { ticket: 11, change: Change::Remove(NodeId(3)) });
    assert_eq!((stage.reply(10), stage.reply(11)), (None, Some(Reply::NotExecuted(Failure::Busy))));
    stage.peers_agree();
    assert_eq!(stage.reply(10), Some(Reply::Changed(stage.last())));
    let (index, membership) = state::membership(&stage.state).unwrap().expect("the state knows it");
    assert_eq!((index, membership.learners.len()), (stage.last().index, 1));
    stage.give(Input::Change { ticket: 12, change: Change::Remove(NodeId(9)) });
    assert!(matches!(stage.reply(12), Some(Reply::NotExecuted(Failure::Invalid(_)))));
}

#[test]
fn a_change_whose_place_another_entry_took_was_not_made() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    let (term, before) = (stage.term(), stage.last());
    stage.give(Input::Change { ticket: 10, change: Change::AddLearner(NodeId(4), Intent::Stay) });
    stage.hear(2, term + 1, noops(before, &[term + 1], before.index + 1));
    assert_eq!(stage.reply(10), Some(Reply::NotExecuted(Failure::Overwritten)));
    assert_eq!(state::membership(&stage.state).unwrap(), None);
}

#[test]
fn an_id_is_removed_when_the_final_configuration_without_it_is_applied_and_no_sooner() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    stage.give(Input::Whole(1_000));
    stage.give(Input::Change { ticket: 10, change: Change::Remove(NodeId(3)) });
    let applied_at_last = |stage: &Stage| (stage.replica.applied(), state::is_removed(&stage.state, NodeId(3)).unwrap());
    let joint_at = stage.last().index;
    assert_eq!(applied_at_last(&stage), (joint_at - 1, false));
    stage.silent = [2].into();
    stage.peers_agree();
    assert!(stage.replica.node().membership().is_joint());
    stage.silent.clear();
    // The leader asks again with its heartbeats.
    for _ in 0..50 {
        stage.tick();
    }
    assert_eq!(*stage.replica.node().membership(), Membership::of_voters([NodeId(1), NodeId(2)]));
    assert_eq!(applied_at_last(&stage), (joint_at + 1, true));
    assert!(!state::is_removed(&stage.state, NodeId(2)).unwrap());
}

#[test]
fn a_hand_over_is_answered_with_the_heir_and_writes_name_it_meanwhile() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    stage.silent = [2].into();
    stage.write(9, put("a", "x"));
    stage.give(Input::Transfer { ticket: 10, to: Some(NodeId(2)) });
    assert_eq!(stage.reply(10), Some(Reply::Transferring(NodeId(2))));
    stage.write(11, put("a", "y"));
    assert_eq!(stage.reply(11), Some(Reply::NotExecuted(Failure::NotLeader(Some(NodeId(2))))));
    stage.give(Input::Transfer { ticket: 12, to: Some(NodeId(9)) });
    assert!(matches!(stage.reply(12), Some(Reply::NotExecuted(Failure::Invalid(_)))));
    let mut follower = Stage::new(&[1, 2, 3], Limits::default());
    follower.give(Input::Transfer { ticket: 10, to: None });
    assert_eq!(follower.reply(10), Some(Reply::NotExecuted(Failure::NotLeader(None))));
}

/// A leader of `voters` whose state was compared at its newest entry.
fn compared(voters: &[u64]) -> (Stage, StateHash) {
    let mut stage = Stage::new(voters, Limits::default());
    stage.rules.hash_period = 1;
    stage.lead();
    stage.write(10, put("a", "x"));
    stage.peers_agree();
    let own = StateHash { index: stage.replica.applied(), digest: digest_here(&stage) };
    (stage, own)
}

fn ticks(stage: &mut Stage, count: usize) {
    for _ in 0..count {
        stage.tick();
    }
}

#[test]
fn a_leader_whose_state_is_the_majoritys_says_so_to_all() {
    let (mut stage, own) = compared(&[1, 2, 3]);
    stage.reports_hash(2, own);
    stage.reports_hash(3, StateHash { digest: !own.digest, ..own });
    ticks(&mut stage, 20);
    assert_eq!((stage.suspect.clone(), stage.alarms), (None, 0), "the one that differs is another");
    stage.write(11, put("a", "y"));
    let agreed = stage.sent.iter().find_map(|envelope| match &envelope.message {
        Message::Append(append) => append.agreed,
        _ => None,
    });
    assert_eq!(agreed, Some(own));
}

#[test]
fn a_leader_against_which_a_majority_agrees_is_suspect_and_says_no_more() {
    let (mut stage, own) = compared(&[1, 2, 3]);
    let other = StateHash { digest: !own.digest, ..own };
    stage.reports_hash(2, other);
    stage.reports_hash(3, other);
    ticks(&mut stage, 20);
    assert_eq!(stage.suspect, Some(Suspect::StateDiffers { index: own.index }));
    stage.sent.clear();
    for _ in 0..20 {
        stage.give(Input::Tick);
    }
    assert!(stage.sent.is_empty());
}

#[test]
fn without_a_majority_there_is_an_alarm_and_nobody_is_blamed() {
    let (mut stage, own) = compared(&[1, 2, 3]);
    stage.reports_hash(2, StateHash { digest: own.digest ^ 1, ..own });
    ticks(&mut stage, 20);
    assert_eq!(stage.alarms, 0, "one is still to speak");
    stage.reports_hash(3, StateHash { digest: own.digest ^ 2, ..own });
    ticks(&mut stage, 20);
    assert!(stage.alarms > 0);
    assert_eq!(stage.suspect, None);
}

#[test]
fn the_hash_of_a_peer_that_forgot_is_not_counted() {
    let (mut stage, own) = compared(&[1, 2, 3]);
    let other = StateHash { digest: !own.digest, ..own };
    let (term, end) = (stage.term(), stage.last().index - 1);
    let forgetful = Report { boot: 2, end, room: Room::Enough, hash: Some(other), ..Report::default() };
    for round in [0, 1] {
        stage.hear(2, term, Message::Accepted { matched: end, durable: end, round, report: forgetful });
    }
    stage.reports.insert(2, forgetful);
    stage.reports_hash(3, other);
    ticks(&mut stage, 20);
    assert_eq!(stage.suspect, None, "3 alone is no majority");
}

#[test]
fn a_follower_that_differs_from_what_a_majority_has_is_suspect_and_acknowledges_nothing_more() {
    let mut stage = Stage::new(&[1, 2, 3], Limits::default());
    stage.rules.hash_period = 1;
    stage.hear(2, 1, noops(id(0, 0), &[1, 1], 2));
    assert_eq!(stage.replica.applied(), 2);
    let agreed = |index, digest| {
        let Message::Append(append) = noops(id(1, 2), &[], 2) else { unreachable!() };
        Message::Append(Append { agreed: Some(StateHash { index, digest }), ..append })
    };
    let own = digest_here(&stage);
    stage.hear(2, 1, agreed(2, own));
    stage.hear(2, 1, agreed(99, 5));
    assert_eq!(stage.suspect, None, "what it has not applied says nothing");
    stage.sent.clear();
    stage.hear(2, 1, agreed(2, !own));
    assert_eq!(stage.suspect, Some(Suspect::StateDiffers { index: 2 }));
    stage.hear(3, 9, Message::Vote { last: id(8, 99) });
    assert!(stage.sent.is_empty(), "nor does it vote: {:?}", stage.sent);
}

#[test]
fn a_member_told_that_its_disk_forgot_is_suspect() {
    let mut stage = Stage::new(&[1, 2, 3], Limits::default());
    stage.hear(2, 1, noops(id(0, 0), &[1], 0));
    stage.sent.clear();
    stage.hear(2, 1, Message::Forgot { durable: 40 });
    assert_eq!(stage.suspect, Some(Suspect::Forgot { durable: 40 }));
    stage.hear(2, 1, noops(id(1, 1), &[1], 0));
    assert!(stage.sent.is_empty());
}

#[test]
fn a_removed_leader_answers_its_own_removal_before_it_goes() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    stage.give(Input::Change { ticket: 10, change: Change::Remove(NodeId(1)) });
    ticks(&mut stage, 50);
    assert!(matches!(stage.reply(10), Some(Reply::Changed(_))));
    assert!(!stage.replica.node().is_leader());
    assert!(state::is_removed(&stage.state, NodeId(1)).unwrap());
}
