//! One member on a stage: the story speaks for its peers and for its disk.

use std::collections::VecDeque;

use raft::{
    Append, Batch, Change, Config, Entry, Envelope, Fetch, HardState, Index, LogId, Membership, Message, NeedEntries, Node, NodeId,
    Payload, ReadDone, ReadId, Recovered, Report, RoleName, Room, Seq, Snapshot, StateHash, Term,
};

/// The member of every story; its peers are 2, 3 and so on.
pub const ME: u64 = 1;

pub struct Member {
    pub node: Node,
    /// Started and not yet completed, oldest first.
    pub writing: VecDeque<(Seq, Batch)>,
    pub reads: Vec<ReadDone>,
    pub need: Vec<NeedEntries>,
    pub apply_through: Index,
    /// What is still to be fetched, as of the last input.
    pub fetch: Option<Fetch>,
    pub need_snapshot: bool,
    pub forgot: Option<Index>,
    pub contradicted: Option<LogId>,
    pub agreed: Option<StateHash>,
    sent: Vec<Envelope>,
}

impl Member {
    /// A blank member of a cluster with `voters` voters, itself included.
    pub fn of(voters: u64) -> Member {
        Member::with(voters, &[], |_| {})
    }

    /// A member that finds entries of these terms on its disk, with settings that differ from the defaults.
    pub fn with(voters: u64, terms: &[u64], change: impl FnOnce(&mut Config)) -> Member {
        let membership = Membership::of_voters((1..=voters).map(NodeId));
        let term = Term(terms.last().copied().unwrap_or(0));
        Member::found(membership, HardState { term, vote: None }, log(terms), change)
    }

    pub fn found(membership: Membership, hard: HardState, log: Vec<Entry>, change: impl FnOnce(&mut Config)) -> Member {
        let mut config = Config::with_defaults(NodeId(ME), 7, 1);
        change(&mut config);
        let last = log.last().map_or(LogId::ZERO, |entry| entry.id);
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for entry in &log {
            if terms.last().map(|(_, term)| *term) != Some(entry.id.term) {
                terms.push((entry.id.index, entry.id.term));
            }
        }
        let in_log = log.iter().filter_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some((entry.id.index, membership.clone())),
            _ => None,
        });
        let memberships = std::iter::once((0, membership)).chain(in_log).collect();
        Member::start(config, Recovered { hard, mark: LogId::ZERO, last, terms, tail: log, applied: 0, memberships })
    }

    /// A member whose log begins behind `mark`, which is applied, and ends there.
    pub fn cut_at(mark: LogId, membership: Membership) -> Member {
        let hard = HardState { term: mark.term, vote: None };
        let memberships = vec![(0, membership)];
        let found = Recovered { hard, mark, last: mark, terms: Vec::new(), tail: Vec::new(), applied: mark.index, memberships };
        Member::start(Config::with_defaults(NodeId(ME), 7, 1), found)
    }

    fn start(config: Config, found: Recovered) -> Member {
        Member {
            node: Node::new(config, found),
            writing: VecDeque::new(),
            reads: Vec::new(),
            need: Vec::new(),
            apply_through: 0,
            fetch: None,
            need_snapshot: false,
            forgot: None,
            contradicted: None,
            agreed: None,
            sent: Vec::new(),
        }
    }

    /// Takes what the last input led to.
    pub fn settle(&mut self) {
        let out = self.node.output();
        self.writing.extend(out.persist);
        self.sent.extend(out.send);
        self.reads.extend(out.reads);
        self.need.extend(out.need_entries);
        self.apply_through = out.apply_through;
        self.fetch = out.fetch;
        self.need_snapshot = out.need_snapshot;
        self.forgot = self.forgot.or(out.forgot);
        self.contradicted = self.contradicted.or(out.contradicted);
        self.agreed = out.agreed;
    }

    pub fn hear(&mut self, from: u64, term: u64, message: Message) {
        self.node.receive(Envelope { from: NodeId(from), to: NodeId(ME), term: Term(term), message });
        self.settle();
    }

    pub fn ticks(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.node.tick();
            self.settle();
        }
    }

    /// Lets time pass until the member says something; how many ticks that took.
    pub fn ticks_until_it_speaks(&mut self) -> u64 {
        assert!(self.sent.is_empty(), "something is unheard: {:?}", self.sent);
        (1..100_000)
            .find(|_| {
                self.ticks(1);
                !self.sent.is_empty()
            })
            .expect("it never spoke")
    }

    /// The disk completes everything under way, and what follows from it.
    pub fn sync(&mut self) {
        while let Some((seq, _)) = self.writing.front() {
            let seq = *seq;
            self.sync_only(seq);
        }
    }

    /// The disk completes this batch alone, perhaps ahead of earlier ones.
    pub fn sync_only(&mut self, seq: Seq) {
        self.writing.retain(|(writing, _)| *writing != seq);
        self.node.persisted(seq);
        self.settle();
    }

    pub fn propose(&mut self, command: &str) -> Index {
        let id = self.node.propose(command.as_bytes().into()).expect("the leader takes it");
        self.settle();
        id.index
    }

    /// Begins a change of the membership; the index of its entry.
    pub fn change(&mut self, change: Change) -> Index {
        let id = self.node.change(change).expect("the leader takes it");
        self.settle();
        id.index
    }

    pub fn install(&mut self, mark: LogId) -> bool {
        let installed = self.node.install(Snapshot { mark, generation: 1, membership: None });
        self.settle();
        installed
    }

    /// The log is cut as far as it is committed.
    pub fn cut(&mut self) -> LogId {
        let index = self.node.commit();
        let mark = LogId::new(self.node.term_at(index).expect("committed"), index);
        self.node.compact(mark);
        self.settle();
        mark
    }

    /// Each of these peers says that it has the whole log, and every blob.
    pub fn all_hold(&mut self, peers: &[u64]) {
        let (term, last) = (self.node.term().0, self.last());
        for peer in peers {
            self.hear(*peer, term, accepted(last));
        }
    }

    pub fn read(&mut self, token: u64) {
        self.node.read(token);
        self.settle();
    }

    /// Everything said since last asked: to whom, in which term, what.
    pub fn said(&mut self) -> Vec<(u64, u64, Message)> {
        self.sent.drain(..).map(|envelope| (envelope.to.0, envelope.term.0, envelope.message)).collect()
    }

    /// Of what was said since last asked, the appends to one peer.
    pub fn appends_to(&mut self, peer: u64) -> Vec<Append> {
        let said = self.said().into_iter().filter(|(to, _, _)| *to == peer);
        said.filter_map(|(_, _, message)| if let Message::Append(append) = message { Some(append) } else { None }).collect()
    }

    pub fn role(&self) -> RoleName {
        self.node.status().role
    }

    /// Wins the next election with the vote of member 2, on a disk that keeps up. Returns the term.
    pub fn elect(&mut self) -> u64 {
        while self.role() != RoleName::PreCandidate && self.role() != RoleName::Leader {
            self.ticks(1);
            self.sync();
        }
        let before = self.node.term().0;
        self.hear(2, before, Message::PreVoteReply { granted: true, asked: Term(before) });
        self.hear(3, before, Message::PreVoteReply { granted: true, asked: Term(before) });
        self.sync();
        let term = self.node.term().0;
        self.hear(2, term, Message::VoteReply { granted: true });
        self.hear(3, term, Message::VoteReply { granted: true });
        assert!(self.node.is_leader(), "the election was to be won");
        self.said();
        term
    }

    /// A leader of three whose no-op is durable everywhere; nothing unheard. Returns the term.
    pub fn lead(&mut self) -> u64 {
        let term = self.elect();
        self.sync();
        let last = self.last();
        for peer in [2, 3] {
            self.hear(peer, term, accepted(last));
        }
        assert!(self.node.is_settled_leader());
        self.said();
        term
    }

    pub fn last(&self) -> Index {
        self.node.status().last.index
    }

    /// The terms of the log, first to last.
    pub fn terms(&self) -> Vec<u64> {
        (1..=self.last()).map(|index| self.node.term_at(index).expect("in the log").0).collect()
    }
}

pub fn id(term: u64, index: Index) -> LogId {
    LogId::new(Term(term), index)
}

pub fn entry(term: u64, index: Index) -> Entry {
    Entry { id: id(term, index), payload: Payload::Command(format!("{index}@{term}").into_bytes().into()) }
}

/// A log with entries of these terms.
pub fn log(terms: &[u64]) -> Vec<Entry> {
    (1..).zip(terms).map(|(index, term)| entry(*term, index)).collect()
}

/// An append of entries of these terms after `prev`.
pub fn append(prev: LogId, terms: &[u64], commit: Index) -> Message {
    let entries = (prev.index + 1..).zip(terms).map(|(index, term)| entry(*term, index)).collect();
    Message::Append(Append { prev, entries, commit, round: 0, refusing: false, offer: None, agreed: None })
}

/// An append of one configuration after `prev`.
pub fn append_membership(prev: LogId, term: u64, membership: &Membership, commit: Index) -> Message {
    let entries = vec![Entry { id: id(term, prev.index + 1), payload: Payload::Membership(membership.clone()) }];
    Message::Append(Append { prev, entries, commit, round: 0, refusing: false, offer: None, agreed: None })
}

/// A heartbeat of a leader whose log is cut, and that has a snapshot to offer.
pub fn offering(mark: LogId, offer: LogId) -> Message {
    Message::Append(Append {
        prev: mark,
        entries: Vec::new(),
        commit: mark.index,
        round: 0,
        refusing: false,
        offer: Some(offer),
        agreed: None,
    })
}

pub fn voters(ids: &[u64]) -> Membership {
    Membership::of_voters(ids.iter().map(|id| NodeId(*id)))
}

pub fn heartbeat(prev: LogId, commit: Index) -> Message {
    append(prev, &[], commit)
}

/// All of the log up to `index` is there, and durable.
pub fn accepted(index: Index) -> Message {
    held(index, index)
}

pub fn held(matched: Index, durable: Index) -> Message {
    answered(matched, durable, 0)
}

pub fn answered(matched: Index, durable: Index, round: u64) -> Message {
    Message::Accepted { matched, durable, round, report: report(Room::Enough, durable) }
}

/// What a healthy peer says of itself: its log ends here.
pub fn report(room: Room, end: Index) -> Report {
    Report { boot: 1, end, room, whole: end, hash: None, garbage: false }
}

pub fn rejected(prev: Index, hint: LogId) -> Message {
    Message::Rejected { prev, hint, round: 0, report: report(Room::Enough, u64::MAX) }
}

pub fn granted() -> Message {
    Message::VoteReply { granted: true }
}

pub fn read_id(node: u64, boot: u64, counter: u64) -> ReadId {
    ReadId { node: NodeId(node), boot, counter }
}

/// The acknowledgement in what was said: `(matched, durable)`. The last one, if there are several.
pub fn acknowledged(said: &[(u64, u64, Message)]) -> Option<(Index, Index)> {
    said.iter().rev().find_map(|(_, _, message)| match message {
        Message::Accepted { matched, durable, .. } => Some((*matched, *durable)),
        _ => None,
    })
}
