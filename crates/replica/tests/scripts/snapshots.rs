//! The log is cut behind a flushed state, and a fetched state takes the place of the own one.

use raft::{Message, Snapshot, StateHash};
use replica::{ApplyJob, Failure, Input, Limits, Reply, state};
use storage::{MemState, StateStore};

use crate::stage::{Stage, id, noops, put};

fn write_some(stage: &mut Stage, first_ticket: u64, count: u64) {
    for ticket in first_ticket..first_ticket + count {
        stage.write(ticket, put("a", "x"));
        stage.peers_agree();
    }
}

#[test]
fn the_log_is_cut_only_where_the_flushed_state_stands() {
    let mut stage = Stage::leader(&[1, 2, 3], Stage::keeping(8));
    write_some(&mut stage, 10, 4);
    stage.flush();
    let flushed = stage.replica.applied();
    assert_eq!(stage.replica.node().mark().index, 0, "short enough");
    write_some(&mut stage, 20, 40);
    assert_eq!((stage.flushes, stage.replica.node().mark().index), (1, 0), "asked once, and nothing cut before it is answered");
    stage.give(Input::Flushed(id(stage.term(), flushed)));
    assert_eq!(stage.replica.node().mark().index, flushed, "as far as that flush reached");
    stage.flush();
    let (applied, mark) = (stage.replica.applied(), stage.replica.node().mark().index);
    assert!(mark > flushed && applied - mark >= 8, "{mark} of {applied}");
}

#[test]
fn who_asks_for_a_cut_gets_it_after_a_flush() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    write_some(&mut stage, 10, 5);
    stage.give(Input::Compact { ticket: 20 });
    stage.give(Input::Compact { ticket: 21 });
    assert_eq!((stage.flushes, stage.reply(20)), (1, None));
    let applied = id(stage.term(), stage.replica.applied());
    stage.flush();
    assert_eq!((stage.reply(20), stage.reply(21)), (Some(Reply::Compacted(applied)), Some(Reply::Compacted(applied))));
    assert_eq!(stage.replica.node().mark(), applied);
}

/// A leader that has cut its log, with member 3 lacking what is gone.
fn with_a_laggard(keep: u64) -> Stage {
    let mut stage = Stage::leader(&[1, 2, 3], Stage::keeping(keep));
    stage.silent = [3].into();
    write_some(&mut stage, 10, 4);
    stage.give(Input::Compact { ticket: 99 });
    stage.flush();
    lack(&mut stage);
    stage
}

/// Member 3 says what it always says: that it lacks nearly everything.
fn lack(stage: &mut Stage) {
    let (term, mark) = (stage.term(), stage.replica.node().mark().index);
    let report = raft::Report { boot: 1, end: 1, ..raft::Report::default() };
    stage.hear(3, term, Message::Rejected { prev: mark, hint: id(term, 1), round: 0, report });
}

#[test]
fn one_copy_of_the_state_is_made_for_whoever_needs_it_and_offered() {
    let mut stage = with_a_laggard(1_000);
    (0..3).for_each(|_| lack(&mut stage));
    assert_eq!(stage.checkpoints, 1);
    let mark = id(stage.term(), stage.replica.applied());
    stage.give(Input::Checkpointed(mark));
    stage.sent.clear();
    for _ in 0..5 {
        stage.give(Input::Tick);
    }
    let offers = stage.sent.iter().filter_map(|envelope| match &envelope.message {
        Message::Append(append) if envelope.to.0 == 3 => append.offer,
        _ => None,
    });
    assert_eq!(offers.collect::<Vec<_>>(), [mark]);
}

/// Otherwise the flush, which leads to no cut, would be asked for again at once, for as long as the fetching takes.
#[test]
fn while_a_snapshot_is_fetched_the_state_is_not_flushed_over_and_over() {
    let mut stage = with_a_laggard(8);
    let mark = id(stage.term(), stage.replica.applied());
    stage.give(Input::Checkpointed(mark));
    let before = stage.flushes;
    for round in 0..20 {
        write_some(&mut stage, 1_000 + 10 * round, 10);
        lack(&mut stage);
        if stage.flushes > before + round {
            stage.flush();
        }
    }
    assert_eq!(stage.replica.node().mark(), mark, "it can go on from there");
    assert_eq!(stage.flushes, before);
    stage.silent.clear();
    let (term, at) = (stage.term(), mark.index);
    let report = raft::Report { boot: 1, end: at, ..raft::Report::default() };
    stage.hear(3, term, Message::Accepted { matched: at, durable: at, round: 0, report });
    assert_eq!(stage.flushes, before + 1, "then it is due");
    stage.flush();
    assert!(stage.replica.node().mark() > mark);
}

/// A follower that has applied two entries, and a state that is far ahead of it.
fn behind() -> (Stage, MemState) {
    let mut stage = Stage::new(&[1, 2, 3], Limits::default());
    stage.hear(2, 1, noops(id(0, 0), &[1, 1], 2));
    let ahead = MemState::new();
    let entries: Vec<_> = (1..=50).map(|index| raft::Entry { id: id(1, index), payload: raft::Payload::Noop }).collect();
    state::apply(&ahead, &entries).unwrap();
    (stage, ahead)
}

fn snapshot(stage: &Stage, of: &MemState) -> Snapshot {
    Snapshot { mark: of.applied().unwrap(), generation: stage.replica.next_generation(), membership: None }
}

#[test]
fn a_staged_state_is_in_force_only_after_the_log_names_it() {
    let (mut stage, ahead) = behind();
    stage.syncs = false;
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    assert_eq!((stage.job.clone(), stage.writing.len()), (None, 1));
    stage.hear(2, 1, noops(id(1, 50), &[1], 51));
    assert_eq!(stage.job, None, "what is behind the mark is not for the old state");
    stage.syncs = true;
    stage.go_on();
    assert_eq!(stage.job, Some(ApplyJob::Switch { generation: 1 }));
    assert_eq!(stage.replica.applied(), 2, "until the switch is made");
    stage.state = ahead;
    stage.job = None;
    stage.give(Input::Switched(state::position(&stage.state).unwrap()));
    assert_eq!(stage.replica.applied(), 51, "and then it goes on at once");
    assert_eq!(stage.replica.state_hash(), state::state_hash(&stage.state).unwrap());
}

#[test]
fn a_state_staged_for_another_generation_or_already_passed_is_ignored() {
    let (mut stage, ahead) = behind();
    stage.give(Input::Staged(Snapshot { generation: 7, ..snapshot(&stage, &ahead) }));
    stage.give(Input::Staged(Snapshot { mark: id(1, 2), ..snapshot(&stage, &ahead) }));
    assert_eq!((stage.job.clone(), stage.replica.next_generation()), (None, 1));
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    assert_eq!(stage.replica.next_generation(), 2, "once");
}

#[test]
fn entries_that_were_being_applied_when_the_state_was_staged_are_finished_first() {
    let (mut stage, ahead) = behind();
    stage.applies = false;
    stage.hear(2, 1, noops(id(1, 2), &[1, 1], 4));
    assert!(matches!(stage.job, Some(ApplyJob::Entries(_))));
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    stage.applies = true;
    stage.go_on();
    assert_eq!((stage.replica.applied(), stage.job.clone()), (4, Some(ApplyJob::Switch { generation: 1 })));
}

#[test]
fn entries_that_were_to_be_read_from_the_log_may_be_gone_then() {
    let (mut stage, ahead) = behind();
    stage.applies = false;
    stage.hear(2, 1, noops(id(1, 2), &[1, 1], 4));
    stage.job = None;
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    assert_eq!(stage.job, None);
    stage.give(Input::NothingApplied);
    assert_eq!(stage.job, Some(ApplyJob::Switch { generation: 1 }));
}

#[test]
fn while_one_state_is_put_into_force_nothing_is_fetched_flushed_or_cut() {
    let (mut stage, ahead) = behind();
    stage.state.flush().unwrap();
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    stage.give(Input::Compact { ticket: 10 });
    stage.give(Input::Flushed(id(1, 2)));
    let Message::Append(append) = noops(id(1, 60), &[], 60) else { unreachable!() };
    stage.hear(2, 1, Message::Append(raft::Append { offer: Some(id(1, 60)), ..append.clone() }));
    assert_eq!((stage.fetch, stage.flushes), (None, 0));
    stage.state = ahead;
    stage.give(Input::Switched(state::position(&stage.state).unwrap()));
    assert!(stage.replica.node().mark().index == 50);
    stage.hear(2, 1, Message::Append(raft::Append { offer: Some(id(1, 60)), ..append }));
    assert_eq!(stage.fetch.map(|fetch| fetch.mark), Some(id(1, 60)));
}

#[test]
fn what_became_of_writes_that_a_snapshot_skips_stays_unknown() {
    let mut stage = Stage::leader(&[1, 2, 3], Limits::default());
    let (term, last) = (stage.term(), stage.last());
    stage.write(10, put("a", "in doubt"));
    stage.give(Input::Change { ticket: 11, change: raft::Change::Remove(raft::NodeId(3)) });
    stage.hear(2, term + 1, noops(last, &[], last.index));
    let ahead = MemState::new();
    let entries: Vec<_> = (1..=50).map(|index| raft::Entry { id: id(term + 1, index), payload: raft::Payload::Noop }).collect();
    state::apply(&ahead, &entries).unwrap();
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    assert_eq!((stage.reply(10), stage.reply(11)), (None, None));
    stage.state = ahead;
    stage.give(Input::Switched(state::position(&stage.state).unwrap()));
    assert_eq!((stage.reply(10), stage.reply(11)), (Some(Reply::Unknown), Some(Reply::Unknown)), "their answers are not in it");
}

#[test]
fn reads_that_waited_for_an_index_in_the_snapshot_are_answered_from_it() {
    let (mut stage, ahead) = behind();
    stage.hear(2, 1, noops(id(1, 50), &[], 50));
    stage.give(Input::Read { ticket: 10 });
    let asked = stage.sent.iter().find_map(|envelope| if let Message::ReadIndex { id } = envelope.message { Some(id) } else { None });
    stage.hear(2, 1, Message::ReadIndexReply { id: asked.expect("the leader is asked"), index: Some(40) });
    assert_eq!(stage.reply(10), None);
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    stage.state = ahead;
    stage.give(Input::Switched(state::position(&stage.state).unwrap()));
    assert_eq!(stage.reply(10), Some(Reply::ReadNow));
    stage.write(11, put("a", "x"));
    assert_eq!(stage.reply(11), Some(Reply::NotExecuted(Failure::NotLeader(Some(raft::NodeId(2))))));
}

#[test]
fn hashes_made_by_the_old_state_are_still_held_against_it() {
    let mut stage = Stage::new(&[1, 2, 3], Limits::default());
    stage.rules.hash_period = 1;
    stage.hear(2, 1, noops(id(0, 0), &[1, 1], 2));
    let (_, ahead) = behind();
    stage.give(Input::Staged(snapshot(&stage, &ahead)));
    stage.state = ahead;
    stage.give(Input::Switched(state::position(&stage.state).unwrap()));
    let Message::Append(append) = noops(id(1, 50), &[], 50) else { unreachable!() };
    stage.hear(2, 1, Message::Append(raft::Append { agreed: Some(StateHash { index: 2, digest: 1 }), ..append }));
    assert!(stage.suspect.is_some(), "whatever made it differ is still there");
}
