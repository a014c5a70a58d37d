//! What becomes of requests at one member; its peers are played by hand.

use std::collections::BTreeSet;

use raft::{Append, Config, Entry, Envelope, HardState, Index, LogId, Membership, Message, NodeId, Payload, Report, Room, Term};
use replica::{
    ApplyJob, Command, Condition, Effects, Error, Failure, Haves, Input, Key, Limits, Operation, Replica, Reply, Ticket, Value,
    state::{self, Outcome, Position},
};
use storage::{Formation, LogImage, MemState, Started};

const ME: NodeId = NodeId(1);

fn image(voters: &[u64]) -> LogImage {
    let membership = Membership::of_voters(voters.iter().map(|id| NodeId(*id)));
    LogImage {
        hard: HardState::default(),
        mark: LogId::ZERO,
        last: LogId::ZERO,
        terms: Vec::new(),
        tail: Vec::new(),
        memberships: Vec::new(),
        generation: 0,
        formation: Formation {
            node: ME,
            cluster_name: "home".into(),
            promised: None,
            started: Some(Started { cluster_id: [1; 16], membership }),
        },
    }
}

/// A log of no-ops with these terms.
fn image_of_terms(terms: &[u64]) -> LogImage {
    let tail: Vec<Entry> = terms.iter().zip(1..).map(|(term, index)| Entry { id: id(*term, index), payload: Payload::Noop }).collect();
    let runs = tail.iter().enumerate().filter(|(i, entry)| *i == 0 || tail[i - 1].id.term != entry.id.term);
    let last = tail.last().map_or(LogId::ZERO, |entry| entry.id);
    LogImage {
        terms: runs.map(|(_, entry)| (entry.id.index, entry.id.term)).collect(),
        hard: HardState { term: last.term, vote: None },
        last,
        tail,
        ..image(&[1])
    }
}

fn id(term: u64, index: Index) -> LogId {
    LogId::new(Term(term), index)
}

fn open(config: Config, image: LogImage, applied: LogId) -> Result<Replica, Error> {
    Replica::open(config, Limits::default(), image, Position { applied, hash: [0; 32], collect: 0, membership: None })
}

/// A member on a disk that syncs and applies at once.
struct Stage {
    replica: Replica,
    state: MemState,
    replies: Vec<(Ticket, Reply)>,
    sent: Vec<Envelope>,
    syncs: bool,
}

impl Stage {
    fn new(voters: &[u64]) -> Stage {
        let replica = open(Config::with_defaults(ME, 7, 1), image(voters), LogId::ZERO).unwrap();
        Stage { replica, state: MemState::new(), replies: Vec::new(), sent: Vec::new(), syncs: true }
    }

    /// Elected by peers that agree to everything and have this much room.
    fn leader(voters: &[u64], room: Room, peers_room: Room) -> Stage {
        let mut stage = Stage::new(voters);
        stage.give(Input::Room(room));
        for _ in 0..200 {
            stage.give(Input::Tick);
            stage.peers_agree(peers_room);
        }
        assert!(stage.replica.node().is_settled_leader());
        stage
    }

    fn give(&mut self, input: Input) {
        self.replica.handle(input);
        loop {
            let Effects { persist, send, apply, replies, .. } = self.replica.effects();
            self.sent.extend(send);
            self.replies.extend(replies);
            let persisted = persist.filter(|_| self.syncs).map(|(seq, _)| Input::Persisted(seq));
            let applied = apply.map(|job| {
                let ApplyJob::Entries(entries) = job else { panic!("a short log is in memory") };
                Input::Applied(state::apply(&self.state, &entries).unwrap())
            });
            if persisted.is_none() && applied.is_none() {
                return;
            }
            persisted.into_iter().chain(applied).for_each(|input| self.replica.handle(input));
        }
    }

    fn hear(&mut self, from: u64, term: u64, message: Message) {
        self.give(Input::Message(Envelope { from: NodeId(from), to: ME, term: Term(term), message }));
    }

    fn peers_agree(&mut self, room: Room) {
        while let Some(Envelope { to, term, message, .. }) = self.sent.pop() {
            let answer = match message {
                Message::PreVote { .. } => Message::PreVoteReply { granted: true, asked: term },
                Message::Vote { .. } => Message::VoteReply { granted: true },
                Message::Append(append) => {
                    let end = append.entries.last().map_or(append.prev.index, |entry| entry.id.index);
                    Message::Accepted {
                        matched: end,
                        durable: end,
                        round: append.round,
                        report: Report { boot: 1, end, room, ..Report::default() },
                    }
                }
                _ => continue,
            };
            self.hear(to.0, term.0, answer);
        }
    }

    fn write(&mut self, ticket: Ticket, operation: Operation, haves: Option<Haves>) {
        self.give(Input::Write { ticket, command: Command { session: None, operation }, haves });
    }

    /// What was answered under a ticket.
    fn reply(&self, ticket: Ticket) -> Option<Reply> {
        let mut all = self.replies.iter().filter(|(of, _)| *of == ticket).map(|(_, reply)| reply.clone());
        let first = all.next();
        assert_eq!(all.next(), None, "answered twice");
        first
    }

    fn term(&self) -> u64 {
        self.replica.node().term().0
    }

    fn last(&self) -> LogId {
        self.replica.status().last
    }
}

fn put(value: Value) -> Operation {
    Operation::Put { key: Key::new(*b"k").unwrap(), value, condition: Condition::Always, expires: None }
}

fn small() -> Operation {
    put(Value::Inline(b"v".to_vec()))
}

fn delete() -> Operation {
    Operation::Delete { key: Key::new(*b"k").unwrap(), condition: Condition::Always }
}

fn refused(failure: Failure) -> Option<Reply> {
    Some(Reply::NotExecuted(failure))
}

/// Another leader's empty term, committed.
fn take_over(term: u64, prev: LogId) -> Message {
    let entries = vec![Entry { id: id(term, prev.index + 1), payload: Payload::Noop }];
    Message::Append(Append { prev, entries, commit: prev.index + 1, round: 0, refusing: false, offer: None, agreed: None })
}

#[test]
fn a_write_is_answered_when_applied_and_a_read_after_it_is() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    stage.write(10, small(), None);
    stage.give(Input::Read { ticket: 11 });
    assert_eq!((stage.reply(10), stage.reply(11)), (None, None), "no quorum has it yet");
    stage.peers_agree(Room::Enough);
    assert!(matches!(stage.reply(10), Some(Reply::Written(Outcome::Done(Some(_))))));
    assert_eq!(stage.reply(11), Some(Reply::ReadNow));
}

#[test]
fn a_member_that_does_not_lead_refuses_and_names_who_does() {
    let mut stage = Stage::new(&[1, 2, 3]);
    stage.write(10, small(), None);
    stage.give(Input::Read { ticket: 11 });
    assert_eq!((stage.reply(10), stage.reply(11)), (refused(Failure::NotLeader(None)), refused(Failure::NotLeader(None))));
    stage.hear(2, 1, take_over(1, LogId::ZERO));
    stage.write(12, small(), None);
    assert_eq!(stage.reply(12), refused(Failure::NotLeader(Some(NodeId(2)))));
}

#[test]
fn a_write_whose_place_another_entry_took_was_not_executed_and_one_in_doubt_stays_open() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    let (term, before) = (stage.term(), stage.last());
    stage.write(10, small(), None);
    stage.write(11, small(), None);
    // A leader of the next term has neither; only the first one's place is filled so far.
    stage.hear(2, term + 1, take_over(term + 1, before));
    assert_eq!(stage.reply(10), refused(Failure::Overwritten));
    assert_eq!(stage.reply(11), None, "another member may still hold it and bring it back");
    stage.hear(2, term + 1, take_over(term + 1, id(term + 1, before.index + 1)));
    assert_eq!(stage.reply(11), refused(Failure::Overwritten));
}

#[test]
fn a_write_that_a_later_leader_brings_back_is_done() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    let (term, before) = (stage.term(), stage.last());
    stage.write(10, small(), None);
    let mine = stage.replica.node().entries(before.index + 1, before.index + 1, 1).unwrap();
    // Truncated here by a leader of two terms on, whose entry is never committed...
    let entries = vec![Entry { id: id(term + 2, before.index + 1), payload: Payload::Noop }];
    stage.hear(
        2,
        term + 2,
        Message::Append(Append { prev: before, entries, commit: before.index, round: 0, refusing: false, offer: None, agreed: None }),
    );
    assert_eq!(stage.reply(10), None);
    // ...and brought back by one that has it, under the name it always had.
    stage.hear(
        3,
        term + 3,
        Message::Append(Append {
            prev: before,
            entries: mine,
            commit: before.index + 1,
            round: 0,
            refusing: false,
            offer: None,
            agreed: None,
        }),
    );
    assert!(matches!(stage.reply(10), Some(Reply::Written(Outcome::Done(Some(_))))), "{:?}", stage.reply(10));
}

#[test]
fn two_leaderships_may_each_have_a_write_waiting_at_one_place() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    let (term, before) = (stage.term(), stage.last());
    (10..13).for_each(|ticket| stage.write(ticket, small(), None));
    let place = stage.last().index;
    // Another leader cuts all three off and is gone; this one leads again, and its no-op stands before its first write.
    let entries = vec![Entry { id: id(term + 1, before.index + 1), payload: Payload::Noop }];
    stage.hear(
        2,
        term + 1,
        Message::Append(Append { prev: before, entries, commit: before.index, round: 0, refusing: false, offer: None, agreed: None }),
    );
    while !stage.replica.node().is_settled_leader() {
        stage.give(Input::Tick);
        stage.peers_agree(Room::Enough);
    }
    assert_eq!([10, 11].map(|ticket| stage.reply(ticket)), [const { Some(Reply::NotExecuted(Failure::Overwritten)) }; 2]);
    stage.write(20, small(), None);
    assert_eq!(stage.last().index, place);
    assert_eq!((stage.reply(12), stage.reply(20)), (None, None));
    stage.peers_agree(Room::Enough);
    assert_eq!(stage.reply(12), refused(Failure::Overwritten));
    assert!(matches!(stage.reply(20), Some(Reply::Written(_))));
}

#[test]
fn nothing_is_applied_that_is_committed_but_not_on_the_own_disk() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    stage.syncs = false;
    stage.write(10, small(), None);
    stage.peers_agree(Room::Enough);
    assert_eq!(stage.replica.node().commit(), stage.last().index);
    assert_eq!(stage.reply(10), None);
}

#[test]
fn a_manifest_needs_the_word_of_a_quorum_of_members_in_this_term() {
    let mut stage = Stage::leader(&[1, 2, 3], Room::Enough, Room::Enough);
    let now = stage.term();
    let mut ticket = 10;
    let mut upload = |term: u64, nodes: &[u64]| {
        ticket += 1;
        let nodes: BTreeSet<NodeId> = nodes.iter().map(|id| NodeId(*id)).collect();
        stage.write(ticket, put(Value::Blob { hash: [5; 32], size: 1 << 30 }), Some(Haves { term: Term(term), collect: 0, nodes }));
        stage.peers_agree(Room::Enough);
        stage.reply(ticket)
    };
    assert_eq!(upload(now, &[1]), refused(Failure::BlobNotHeld));
    assert_eq!(upload(now, &[1, 8, 9]), refused(Failure::BlobNotHeld), "strangers do not count");
    assert_eq!(upload(now - 1, &[1, 2, 3]), refused(Failure::BlobNotHeld), "said in another term");
    assert_eq!(upload(now + 1, &[1, 2, 3]), refused(Failure::BlobNotHeld));
    assert!(matches!(upload(now, &[2, 3]), Some(Reply::Written(_))), "the leader itself need not be among them");
    stage.write(99, put(Value::Blob { hash: [5; 32], size: 1 }), None);
    assert_eq!(stage.reply(99), refused(Failure::BlobNotHeld));
}

#[test]
fn without_room_here_or_at_a_quorum_puts_are_refused_and_deletes_pass() {
    for (own, peers, takes_puts) in [
        (Room::Enough, Room::Enough, true),
        (Room::Low, Room::Enough, false),
        (Room::Floor, Room::Enough, false),
        (Room::Unknown, Room::Enough, false),
        (Room::Enough, Room::Low, false),
        (Room::Enough, Room::Unknown, false),
    ] {
        let mut stage = Stage::leader(&[1, 2, 3], own, peers);
        stage.write(10, small(), None);
        stage.write(11, delete(), None);
        stage.peers_agree(peers);
        match takes_puts {
            true => assert!(matches!(stage.reply(10), Some(Reply::Written(_)))),
            false => assert_eq!(stage.reply(10), refused(Failure::NoRoom), "{own:?} {peers:?}"),
        }
        assert!(matches!(stage.reply(11), Some(Reply::Written(_))), "{own:?} {peers:?}");
    }
}

#[test]
fn too_much_that_waits_for_its_commit_is_refused_as_overload() {
    let config = Config { uncommitted_max_bytes: 1_000, ..Config::with_defaults(ME, 7, 1) };
    let mut stage = Stage { replica: open(config, image(&[1, 2]), LogId::ZERO).unwrap(), ..Stage::new(&[1, 2]) };
    stage.give(Input::Room(Room::Enough));
    for _ in 0..200 {
        stage.give(Input::Tick);
        stage.peers_agree(Room::Enough);
    }
    for ticket in 0..100 {
        stage.write(ticket, small(), None);
    }
    assert_eq!(stage.reply(99), refused(Failure::Overloaded));
    stage.peers_agree(Room::Enough);
    assert!(matches!(stage.reply(0), Some(Reply::Written(_))));
    stage.write(100, small(), None);
    stage.peers_agree(Room::Enough);
    assert!(matches!(stage.reply(100), Some(Reply::Written(_))), "it passes");
}

#[test]
fn a_state_and_a_log_that_contradict_each_other_are_refused() {
    let open = |image, applied| open(Config::with_defaults(ME, 7, 1), image, applied);
    let log = || image_of_terms(&[1, 1, 3, 3]);
    for applied in [LogId::ZERO, id(1, 1), id(1, 2), id(3, 3), id(3, 4)] {
        assert_eq!(open(log(), applied).unwrap().applied(), applied.index);
    }
    assert!(matches!(open(log(), id(3, 5)), Err(Error::LogTooShort { .. })));
    assert!(matches!(open(image(&[1]), id(1, 1)), Err(Error::LogTooShort { .. })));
    assert!(matches!(open(log(), id(2, 3)), Err(Error::LogDiffers { .. })));
    let forgetful = LogImage { hard: HardState { term: Term(2), vote: None }, ..log() };
    let error = open(forgetful, id(1, 2)).unwrap_err();
    assert!(matches!(error, Error::TermTooOld { .. }) && error.to_string().contains("new node"), "{error}");
}
