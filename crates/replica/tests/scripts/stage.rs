//! One member on a stage: its disk syncs and applies at once unless told otherwise, its peers agree to everything when asked to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::{
    Append, Config, Entry, Envelope, Fetch, HardState, Index, LogId, Membership, Message, NodeId, Payload, Report, Room, Seq, StateHash,
    Term,
};
use replica::{
    ApplyJob, Command, Condition, Effects, Input, Keep, Key, Limits, Operation, Replica, Reply, Stamp, Suspect, Ticket, Value,
    state::{self, Position, Rules},
};
use storage::{Formation, LogImage, MemState, Started, StateStore};

pub const ME: NodeId = NodeId(1);

/// The member of every story; its peers are 2, 3 and so on.
pub struct Stage {
    pub replica: Replica,
    pub state: MemState,
    pub rules: Rules,
    pub sent: Vec<Envelope>,
    /// Started and not yet completed.
    pub writing: VecDeque<Seq>,
    pub syncs: bool,
    /// A job on the state that the story has to answer: a switch, or one that was held back.
    pub job: Option<ApplyJob>,
    pub applies: bool,
    pub flushes: u64,
    pub checkpoints: u64,
    pub fetch: Option<Fetch>,
    pub suspect: Option<Suspect>,
    pub alarms: u64,
    pub collected: Vec<Index>,
    /// What a peer says of itself, unless it is healthy and lacks no blob.
    pub reports: BTreeMap<u64, Report>,
    /// Peers that answer nothing.
    pub silent: BTreeSet<u64>,
    replies: Vec<(Ticket, Reply)>,
}

impl Stage {
    pub fn new(voters: &[u64], limits: Limits) -> Stage {
        let membership = Membership::of_voters(voters.iter().map(|id| NodeId(*id)));
        let image = LogImage {
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
        };
        let position = Position { applied: LogId::ZERO, hash: [0; 32], collect: 0, membership: None };
        Stage {
            replica: Replica::open(Config::with_defaults(ME, 7, 1), limits, image, position).unwrap(),
            state: MemState::new(),
            rules: Rules::default(),
            sent: Vec::new(),
            writing: VecDeque::new(),
            syncs: true,
            job: None,
            applies: true,
            flushes: 0,
            checkpoints: 0,
            fetch: None,
            suspect: None,
            alarms: 0,
            collected: Vec::new(),
            reports: BTreeMap::new(),
            silent: BTreeSet::new(),
            replies: Vec::new(),
        }
    }

    /// Elected, with peers that agree to everything.
    pub fn leader(voters: &[u64], limits: Limits) -> Stage {
        let mut stage = Stage::new(voters, limits);
        stage.lead();
        stage
    }

    /// A log that keeps so few entries behind the applied position.
    pub fn keeping(entries: u64) -> Limits {
        Limits { keep: Keep { bytes: u64::MAX, entries }, ..Limits::default() }
    }

    pub fn lead(&mut self) {
        self.give(Input::Room(Room::Enough));
        for _ in 0..300 {
            self.tick();
        }
        assert!(self.replica.node().is_settled_leader());
    }

    /// Time passes, and everybody answers.
    pub fn tick(&mut self) {
        self.give(Input::Tick);
        self.peers_agree();
    }

    pub fn give(&mut self, input: Input) {
        self.replica.handle(input);
        self.go_on();
    }

    pub fn go_on(&mut self) {
        loop {
            let Effects { persist, send, apply, replies, flush, checkpoint, fetch, suspect, alarm, collected, .. } = self.replica.effects();
            self.sent.extend(send);
            self.replies.extend(replies);
            self.flushes += u64::from(flush);
            self.checkpoints += u64::from(checkpoint);
            self.fetch = fetch;
            self.suspect = suspect;
            self.alarms += u64::from(alarm.is_some());
            self.collected.extend(collected);
            self.writing.extend(persist.map(|(seq, _)| seq));
            if apply.is_some() {
                self.job = apply;
            }
            if let Some(seq) = self.writing.front().copied().filter(|_| self.syncs) {
                self.writing.pop_front();
                self.replica.handle(Input::Persisted(seq));
            } else if !self.apply() {
                return;
            }
        }
    }

    fn apply(&mut self) -> bool {
        match self.job.take_if(|job| self.applies && matches!(job, ApplyJob::Entries(_))) {
            Some(ApplyJob::Entries(entries)) => {
                self.replica.handle(Input::Applied(state::apply_by(&self.rules, &self.state, &entries).unwrap()));
                true
            }
            _ => false,
        }
    }

    /// The state is flushed, as asked.
    pub fn flush(&mut self) {
        self.state.flush().unwrap();
        self.give(Input::Flushed(self.state.applied_durable().unwrap()));
    }

    pub fn hear(&mut self, from: u64, term: u64, message: Message) {
        self.give(Input::Message(Envelope { from: NodeId(from), to: ME, term: Term(term), message }));
    }

    pub fn peers_agree(&mut self) {
        while !self.sent.is_empty() {
            for Envelope { to, term, message, .. } in std::mem::take(&mut self.sent) {
                let answer = match message {
                    _ if self.silent.contains(&to.0) => continue,
                    Message::PreVote { .. } => Message::PreVoteReply { granted: true, asked: term },
                    Message::Vote { .. } => Message::VoteReply { granted: true },
                    Message::Append(append) => {
                        let end = append.entries.last().map_or(append.prev.index, |entry| entry.id.index);
                        let healthy = Report { boot: 1, room: Room::Enough, whole: Index::MAX, ..Report::default() };
                        let report = self.reports.get(&to.0).copied().unwrap_or(healthy);
                        Message::Accepted { matched: end, durable: end, round: append.round, report: Report { end, ..report } }
                    }
                    _ => continue,
                };
                self.hear(to.0, term.0, answer);
            }
        }
    }

    /// From now on this peer says this with every answer.
    pub fn reports_hash(&mut self, peer: u64, hash: StateHash) {
        self.reports.insert(peer, Report { boot: 1, room: Room::Enough, hash: Some(hash), ..Report::default() });
    }

    pub fn write(&mut self, ticket: Ticket, operation: Operation) {
        self.give(Input::Write { ticket, command: Command { session: None, operation }, haves: None });
    }

    /// What was answered under a ticket.
    pub fn reply(&self, ticket: Ticket) -> Option<Reply> {
        let mut all = self.replies.iter().filter(|(of, _)| *of == ticket).map(|(_, reply)| reply.clone());
        let first = all.next();
        assert_eq!(all.next(), None, "answered twice");
        first
    }

    pub fn term(&self) -> u64 {
        self.replica.node().term().0
    }

    pub fn last(&self) -> LogId {
        self.replica.status().last
    }
}

pub fn id(term: u64, index: Index) -> LogId {
    LogId::new(Term(term), index)
}

pub fn put(key: &str, value: &str) -> Operation {
    Operation::Put {
        key: Key::new(key.as_bytes()).unwrap(),
        value: Value::Inline(value.as_bytes().to_vec()),
        condition: Condition::Always,
        expires: None,
    }
}

pub fn stamped(session: u64, opened: u64, serial: u64, operation: Operation) -> Command {
    Command { session: Some(Stamp { session, opened, serial }), operation }
}

/// Another leader's no-ops of these terms behind `prev`, committed up to `commit`.
pub fn noops(prev: LogId, terms: &[u64], commit: Index) -> Message {
    let entries = (prev.index + 1..).zip(terms).map(|(index, term)| Entry { id: id(*term, index), payload: Payload::Noop }).collect();
    Message::Append(Append { prev, entries, commit, round: 0, refusing: false, offer: None, agreed: None })
}
