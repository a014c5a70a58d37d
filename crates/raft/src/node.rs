//! One member's core: its state, its inputs, its output. Elections, following and leading have files of their own.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Batch, Config, Entry, Envelope, HardState, Index, LogId, Membership, Message, NodeId, Output, Payload, ReadDone, ReadId, Refusal,
    Report, RoleName, Room, Seq, StateHash, Term,
    durable::Durable,
    log::Log,
    message::Append,
    planted::{Bug, is_planted},
    progress::{Mode, Progress},
    reads::Reader,
    rng::Rng,
    role::{Follower, Leader, Role, Transfer},
};

/// Messages waiting for one's own disk, beyond which more are dropped.
const WITHHELD_MAX_MESSAGES: usize = 1_024;

/// One member of a cluster. See the crate's prose for what it promises.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) hard: HardState,
    /// The batch that carries the newest hard state; it is durable once completed.
    pub(crate) hard_seq: Seq,
    pub(crate) log: Log,
    pub(crate) durable: Durable,
    pub(crate) commit: Index,
    /// The last entry seen to be committed and durable here.
    pub(crate) settled: LogId,
    /// Configurations by the index of their entry, ascending: the newest committed one, then those in doubt. The last one is in
    /// force; truncation restores the one before.
    pub(crate) memberships: Vec<(Index, Membership)>,
    pub(crate) role: Role,
    pub(crate) room: Room,
    pub(crate) whole: Index,
    pub(crate) hash: Option<StateHash>,
    pub(crate) garbage: bool,
    pub(crate) now: u64,
    pub(crate) election_due: u64,
    /// Real candidacies lost in a row.
    pub(crate) failed_candidacies: u32,
    /// Tick of the last append from a leader of the current or an earlier term.
    pub(crate) leader_heard: Option<u64>,
    /// After a stalled sync: no campaign until this batch is durable.
    pub(crate) stalled_on: Option<Seq>,
    /// A vote was given: the election timer restarts once this batch is durable.
    pub(crate) voted_in: Option<Seq>,
    pub(crate) rng: Rng,
    pub(crate) read_counter: u64,
    /// Written since the last output.
    pub(crate) pending: Batch,
    pub(crate) next_seq: Seq,
    /// Messages that wait for the hard state they speak of.
    pub(crate) withheld: BTreeMap<Seq, Vec<Envelope>>,
    pub(crate) out: Output,
}

/// What a member finds on its disk at start.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub hard: HardState,
    pub mark: LogId,
    pub last: LogId,
    /// First index of each run of one term behind the mark, ascending.
    pub terms: Vec<(Index, Term)>,
    /// The newest entries, ending at `last`.
    pub tail: Vec<Entry>,
    /// Applied to the state machine, hence committed.
    pub applied: Index,
    /// The configuration in force at `applied`, then every one in the log behind it, with the index of its entry; ascending.
    pub memberships: Vec<(Index, Membership)>,
}

/// A look at the core, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub role: RoleName,
    pub term: Term,
    pub leader: Option<NodeId>,
    pub last: LogId,
    pub durable: Index,
    pub commit: Index,
    pub refusing: bool,
    /// As leader.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub id: NodeId,
    /// Known to be durable there.
    pub durable: Index,
    /// In this leadership, repeats included.
    pub entries_sent: u64,
    /// Ticks since it was heard; none if it was not in this leadership.
    pub heard: Option<u64>,
    pub report: Option<Report>,
    /// It lacks entries that the log no longer has.
    pub needs_snapshot: bool,
    /// Its disk has lost what it had acknowledged in this term.
    pub forgot: bool,
}

impl Node {
    /// A follower with everything found on the disk, all of which must have been synced by this process.
    pub fn new(config: Config, found: Recovered) -> Node {
        assert!(found.mark.index <= found.applied && found.applied <= found.last.index, "applied outside of the log");
        assert!(found.memberships.is_sorted_by_key(|(index, _)| *index) && !found.memberships.is_empty(), "configurations in order");
        assert!(found.hard.term >= found.last.term, "a term in the log that was never voted on");
        let (min, max) = (config.election_min_ticks, config.election_max_ticks);
        assert!(0 < min && min <= max, "election timeouts are drawn from {min}..={max}");
        let mut node = Node {
            rng: Rng::new(config.seed),
            config,
            hard: if is_planted(Bug::RestartWithoutVote) { HardState { vote: None, ..found.hard } } else { found.hard },
            hard_seq: Seq(0),
            durable: Durable::new(found.last.index),
            settled: found.mark,
            log: Log::new(found.mark, found.terms, found.last, found.tail),
            commit: found.applied,
            memberships: found.memberships,
            role: Role::Follower(Follower::default()),
            room: Room::Unknown,
            whole: 0,
            hash: None,
            garbage: false,
            now: 0,
            election_due: 0,
            failed_candidacies: 0,
            leader_heard: None,
            stalled_on: None,
            voted_in: None,
            read_counter: 0,
            pending: Batch::default(),
            next_seq: Seq(1),
            withheld: BTreeMap::new(),
            out: Output::default(),
        };
        node.restart_election_timer();
        node
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.now += 1;
        match &mut self.role {
            Role::Leader(_) => self.lead_on(),
            Role::Follower(follower) => {
                let overdue = follower.reads.overdue(self.now.saturating_sub(self.config.election_max_ticks));
                self.refuse_reads(overdue);
                self.campaign_if_due();
            }
            _ => self.campaign_if_due(),
        }
    }

    /// A message arrived. Its sender must have proven that it belongs to the cluster.
    pub fn receive(&mut self, envelope: Envelope) {
        assert_eq!(envelope.to, self.config.id, "a message for somebody else");
        let Envelope { from, term, message, .. } = envelope;
        if from == self.config.id {
            return;
        }
        if term > self.hard.term {
            self.adopt(term);
        }
        let current = term == self.hard.term;
        match message {
            Message::PreVote { last } => self.on_pre_vote(from, term, last),
            Message::PreVoteReply { granted, asked } => self.on_pre_vote_reply(from, granted, asked),
            Message::Vote { last } => self.on_vote(from, current, last),
            Message::VoteReply { granted } if current => self.on_vote_reply(from, granted),
            Message::Append(append) => self.on_append(from, current, append),
            Message::Accepted { matched, durable, round, report } if current => self.on_accepted(from, matched, durable, round, report),
            Message::Rejected { prev, hint, round, report } if current => self.on_rejected(from, prev, hint, round, report),
            Message::Campaign => self.on_campaign(from, current),
            Message::Forgot { durable } if current => self.on_forgot(from, durable),
            Message::ReadIndex { id } => self.on_read_index(from, current, id),
            Message::ReadIndexReply { id, index } if current => self.on_read_index_reply(from, id, index),
            // Answers of another term count for nothing.
            _ => {}
        }
    }

    /// Batch `seq` is on the disk.
    pub fn persisted(&mut self, seq: Seq) {
        assert!(seq < self.next_seq, "batch {seq:?} was never handed out");
        let before = self.durable.index();
        self.durable.complete(seq);
        let completed = self.durable.completed();
        while self.withheld.first_key_value().is_some_and(|(seq, _)| *seq <= completed) {
            let (_, messages) = self.withheld.pop_first().expect("just seen");
            self.out.send.extend(messages);
        }
        if self.voted_in.is_some_and(|seq| seq <= completed) {
            self.voted_in = None;
            self.restart_election_timer();
        }
        if self.stalled_on.is_some_and(|seq| seq <= completed) {
            self.stalled_on = None;
        }
        self.own_vote_durable();
        match &mut self.role {
            Role::Leader(leader) => {
                while leader.syncs.front().is_some_and(|(seq, _, _)| *seq <= completed) {
                    leader.syncs.pop_front();
                }
                self.advance_commit();
            }
            Role::Follower(_) if self.durable.index() > before => self.acknowledge(),
            _ => {}
        }
    }

    /// Appends a command to the log of the leader; the answer is the entry's place, not its commit.
    pub fn propose(&mut self, command: Arc<[u8]>) -> Result<LogId, Refusal> {
        self.may_propose().map(|()| self.append_own(Payload::Command(command)))
    }

    /// Asks for a read index; the answer comes in a later output under `token`.
    pub fn read(&mut self, token: u64) {
        match &mut self.role {
            Role::Leader(leader) => leader.rounds.join(Reader::Own(token)),
            Role::Follower(follower) if follower.leader.is_some() => follower.reads.join(token),
            _ => self.refuse_reads(vec![token]),
        }
    }

    /// How much space the disk has left.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// The applied index up to which no blob that the state refers to is missing here.
    pub fn set_whole(&mut self, whole: Index) {
        self.whole = whole;
    }

    /// The newest state hash that is compared between members.
    pub fn set_state_hash(&mut self, hash: StateHash) {
        self.hash = Some(hash);
    }

    /// Whether this disk holds blobs that nothing refers to.
    pub fn set_garbage(&mut self, garbage: bool) {
        self.garbage = garbage;
    }

    pub fn has_garbage(&self) -> bool {
        self.garbage
    }

    /// As leader: what a majority of the voters has reported.
    pub fn set_agreed(&mut self, agreed: StateHash) {
        if let Role::Leader(leader) = &mut self.role {
            leader.agreed = Some(agreed);
        }
    }

    /// Everything that followed from the inputs since the last call.
    pub fn output(&mut self) -> Output {
        self.move_membership_on();
        self.flush_reads();
        self.flush_appends();
        let mut out = std::mem::take(&mut self.out);
        out.need_snapshot = self.needs_checkpoint();
        out.apply_through = if is_planted(Bug::ApplyBeyondDurable) { self.commit } else { self.commit.min(self.durable.index()) };
        if let Some(term) = self.log.term_at(out.apply_through) {
            self.settled = self.settled.max(LogId::new(term, out.apply_through));
        }
        if !self.pending.is_empty() {
            let batch = std::mem::take(&mut self.pending);
            let seq = self.next_seq;
            self.next_seq = seq.next();
            if let (Role::Leader(leader), Some(first)) = (&mut self.role, batch.entries.first()) {
                leader.syncs.push_back((seq, self.now, first.id.index));
            }
            out.persist = Some((seq, batch));
        }
        self.log.evict(out.apply_through, self.config.cache_max_bytes);
        self.check_invariants();
        out
    }

    /// Entries `first..=last` if still in memory, up to `max_bytes`, at least one.
    pub fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Option<Vec<Entry>> {
        self.log.entries(first, last, max_bytes)
    }

    pub fn id(&self) -> NodeId {
        self.config.id
    }

    pub fn term(&self) -> Term {
        self.hard.term
    }

    pub fn hard_state(&self) -> HardState {
        self.hard
    }

    /// The member that leads this term, as far as known here.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.config.id),
            Role::Follower(follower) => follower.leader,
            _ => None,
        }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// A leader whose no-op is committed: what it has committed includes everything that was ever acknowledged.
    pub fn is_settled_leader(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if self.commit >= leader.noop)
    }

    /// As leader: the index of the entry that opened the term. Whoever has applied it knows all that earlier leaders committed.
    pub fn leads_since(&self) -> Option<Index> {
        match &self.role {
            Role::Leader(leader) => Some(leader.noop),
            _ => None,
        }
    }

    /// Every batch up to and including this one is on the disk.
    pub fn completed(&self) -> Seq {
        self.durable.completed()
    }

    /// The leader takes no new data for want of room, here or at a quorum. False on a node that does not lead.
    pub fn is_refusing(&self) -> bool {
        self.is_leader() && self.refusing()
    }

    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The last entry that was committed and durable here at the last output.
    pub fn settled(&self) -> LogId {
        self.settled
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    pub fn status(&self) -> Status {
        let status_of = |(id, peer): (&NodeId, &Progress)| PeerStatus {
            id: *id,
            durable: peer.durable,
            entries_sent: peer.entries_sent,
            heard: peer.heard.map(|at| self.now - at),
            report: peer.report,
            needs_snapshot: peer.mode == Mode::Snapshot,
            forgot: peer.forgot,
        };
        let peers = match &self.role {
            Role::Leader(leader) => leader.peers.iter().map(status_of).collect(),
            _ => Vec::new(),
        };
        Status {
            role: self.role.name(),
            term: self.hard.term,
            leader: self.leader(),
            last: self.log.last(),
            durable: self.durable.index(),
            commit: self.commit,
            refusing: self.is_refusing(),
            peers,
        }
    }

    /// Queues a message; it leaves once the hard state that it speaks of is durable. Behind a disk that hangs for long the newest are
    /// dropped: a network may lose them as well, and votes come first.
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        let envelope = Envelope { from: self.config.id, to, term: self.hard.term, message };
        let too_early = is_planted(Bug::TermBeforeSync)
            || is_planted(Bug::VoteBeforeSync) && matches!(envelope.message, Message::VoteReply { .. } | Message::Vote { .. });
        if self.hard_is_durable() || too_early {
            self.out.send.push(envelope);
        } else if self.withheld.values().map(Vec::len).sum::<usize>() < WITHHELD_MAX_MESSAGES {
            self.withheld.entry(self.hard_seq).or_default().push(envelope);
        }
    }

    pub(crate) fn hard_is_durable(&self) -> bool {
        self.hard_seq <= self.durable.completed()
    }

    pub(crate) fn set_hard(&mut self, hard: HardState) {
        assert!(hard.term >= self.hard.term, "terms never go back");
        assert!(hard.term > self.hard.term || self.hard.vote.is_none() || self.hard.vote == hard.vote, "one vote a term");
        if hard.term > self.hard.term {
            // What was to be said in an earlier term matters to nobody any more.
            self.withheld.clear();
        }
        self.hard = hard;
        self.hard_seq = self.next_seq;
        self.pending.hard = Some(hard);
    }

    /// A higher term was heard: whoever we were, we follow now.
    pub(crate) fn adopt(&mut self, term: Term) {
        self.set_hard(HardState { term, vote: None });
        self.become_follower(None);
    }

    pub(crate) fn become_follower(&mut self, leader: Option<NodeId>) {
        let was_leader = self.is_leader();
        let before = std::mem::replace(&mut self.role, Role::Follower(Follower { leader, ..Follower::default() }));
        match before {
            Role::Leader(mut old) => {
                for reader in old.rounds.drain() {
                    self.answer_read(reader, None);
                }
            }
            Role::Follower(mut old) => {
                let tokens = old.reads.drain();
                self.refuse_reads(tokens);
            }
            Role::Candidate { .. } => self.failed_candidacies += 1,
            Role::PreCandidate { .. } => {}
        }
        if was_leader {
            self.restart_election_timer();
        }
    }

    pub(crate) fn push_entry(&mut self, entry: Entry) {
        let membership = match &entry.payload {
            Payload::Membership(membership) => Some((entry.id.index, membership.clone())),
            _ => None,
        };
        self.durable.wrote(entry.id.index, self.next_seq);
        self.pending.entries.push(entry.clone());
        self.log.push(entry);
        if let Some(membership) = membership {
            self.memberships.push(membership);
            self.adopt_membership();
        }
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            boot: self.config.boot,
            end: self.durable.end(),
            room: self.room,
            whole: self.whole,
            hash: self.hash,
            garbage: self.garbage,
        }
    }

    pub(crate) fn may_propose(&self) -> Result<(), Refusal> {
        match &self.role {
            Role::Leader(Leader { transfer: Some(Transfer { to, .. }), .. }) => Err(Refusal::NotLeader(Some(*to))),
            Role::Leader(leader) if leader.uncommitted_bytes < self.config.uncommitted_max_bytes => Ok(()),
            Role::Leader(_) => Err(Refusal::Overloaded),
            _ => Err(Refusal::NotLeader(self.leader())),
        }
    }

    pub(crate) fn truncate(&mut self, from: Index) {
        assert!(from > self.commit, "a committed entry is never removed");
        assert!(!self.is_leader(), "a leader never removes entries");
        self.log.truncate(from);
        self.durable.truncate(from);
        while self.memberships.last().is_some_and(|(index, _)| *index >= from) {
            self.memberships.pop();
        }
        assert!(!self.memberships.is_empty(), "a committed configuration is never truncated");
        self.pending.entries.retain(|entry| entry.id.index < from);
        self.pending.truncate = Some(self.pending.truncate.map_or(from, |earlier| earlier.min(from)));
    }

    pub(crate) fn advance_commit_to(&mut self, commit: Index) {
        assert!(commit >= self.commit && commit <= self.log.last().index, "commit moves forward, within the log");
        self.commit = commit;
        let settled = self.memberships.partition_point(|(index, _)| *index <= commit);
        self.memberships.drain(..settled.saturating_sub(1));
    }

    pub(crate) fn read_id(&mut self) -> ReadId {
        self.read_counter += 1;
        ReadId { node: self.config.id, boot: self.config.boot, counter: self.read_counter }
    }

    pub(crate) fn refuse_reads(&mut self, tokens: Vec<u64>) {
        let refusal = Refusal::NotLeader(self.leader());
        self.out.reads.extend(tokens.into_iter().map(|token| ReadDone { token, result: Err(refusal) }));
    }

    pub(crate) fn answer_read(&mut self, reader: Reader, index: Option<Index>) {
        match (reader, index) {
            (Reader::Own(token), Some(index)) => self.out.reads.push(ReadDone { token, result: Ok(index) }),
            (Reader::Own(token), None) => self.refuse_reads(vec![token]),
            (Reader::Peer(peer, id), index) => self.send(peer, Message::ReadIndexReply { id, index }),
        }
    }

    pub(crate) fn append_to(&mut self, peer: NodeId, append: Append) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.peers.get_mut(&peer)
        {
            progress.told_commit = progress.told_commit.max(append.commit);
        }
        self.send(peer, Message::Append(append));
    }

    fn check_invariants(&self) {
        assert!(self.durable.index() <= self.log.last().index, "durable beyond the end of the log");
        assert!(self.commit <= self.log.last().index, "committed beyond the end of the log");
        assert!(self.hard.term >= self.log.last().term, "an entry of a term not adopted");
        assert!(self.commit >= self.log.mark().index, "the log is cut behind what is committed");
        if let Role::Leader(leader) = &self.role {
            assert!(leader.peers.values().all(|peer| peer.durable <= self.log.last().index), "a peer cannot hold what was never sent");
            assert!(leader.peers.values().all(|peer| peer.next > self.log.mark().index), "a peer waits for entries that are gone");
        }
    }
}
