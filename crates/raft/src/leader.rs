//! Leading: replication, commit, read rounds, stepping down.
//!
//! Invariants:
//! - only entries of the own term are committed by counting (the paper's section 5.4.2); the leader counts itself at its
//!   own durable index;
//! - what is sent to a peer and not yet durable there is bounded in bytes;
//! - a leader that does not hear a quorum for an election timeout steps down (CheckQuorum), as does one whose disk stalls
//!   while another voter's does not;
//! - new data is refused unless the leader and a quorum have reported room in this term.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    Append, EntriesRead, Entry, Index, LogId, Message, NeedEntries, Node, NodeId, Payload, ReadId, Report, Room,
    planted::{Bug, is_planted},
    progress::{Mode, Progress, Word},
    reads::Rounds,
    role::{Leader, Pace, Role},
};

impl Node {
    /// Entries that [`crate::Output::need_entries`] asked for. Dropped if term or role changed meanwhile.
    pub fn entries_read(&mut self, read: EntriesRead) {
        let term = self.hard.term;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&read.peer) else { return };
        if read.term != term {
            return;
        }
        peer.reading = false;
        if peer.mode == Mode::Replicate && read.entries.first().is_some_and(|entry| entry.id.index == peer.next) {
            self.send_entries(read.peer, read.entries);
        }
    }

    /// A new stream to a peer: what was under way on the old one may be lost. Nothing is sent until it is known where to go on.
    pub fn reconnected(&mut self, id: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(&id)
        {
            peer.probe_from(peer.next);
            self.probe(id);
        }
    }

    pub(crate) fn become_leader(&mut self) {
        let last = self.log.last().index;
        let me = self.config.id;
        let peers: BTreeMap<NodeId, Progress> =
            self.membership().members().filter(|id| *id != me).map(|id| (id, Progress::new(last + 1, self.now))).collect();
        let uncommitted_bytes = self.log.bytes_within(self.commit + 1, last);
        self.failed_candidacies = 0;
        self.role = Role::Leader(Leader {
            peers,
            noop: last + 1,
            rounds: Rounds::default(),
            heartbeat_due: self.now,
            uncommitted_bytes,
            syncs: VecDeque::new(),
            transfer: None,
            seeks_heir_at: self.now,
            offer: None,
            agreed: None,
            pace: Pace { older: last + 1, newer: last + 1, at: self.now },
        });
        // The first thing peers hear is an empty append: it ends their candidacies and finds where the logs agree.
        self.heartbeat();
        self.append_own(Payload::Noop);
    }

    pub(crate) fn append_own(&mut self, payload: Payload) -> LogId {
        let entry = Entry { id: LogId::new(self.hard.term, self.log.last().index + 1), payload };
        let id = entry.id;
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes += entry.size_bytes();
        }
        self.push_entry(entry);
        id
    }

    pub(crate) fn lead_on(&mut self) {
        if !self.hears_quorum() {
            self.become_follower(None);
            return;
        }
        if self.disk_stalls() || self.has_left_for_good() {
            self.abdicate();
            return;
        }
        self.seek_heir_with_room();
        self.say_farewell();
        let (now, commit, window) = (self.now, self.commit, self.config.election_min_ticks);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.transfer = leader.transfer.filter(|transfer| now < transfer.until);
        if now >= leader.pace.at + window {
            leader.pace = Pace { older: leader.pace.newer, newer: commit.max(leader.noop), at: now };
        }
        if now >= leader.heartbeat_due {
            self.heartbeat();
            self.tell_heir();
        }
    }

    pub(crate) fn on_accepted(&mut self, from: NodeId, matched: Index, durable: Index, round: u64, report: Report) {
        if durable > self.log.last().index || matched > self.log.last().index {
            // Only a member with another history would say so; it is not counted.
            return;
        }
        let mark = self.log.mark().index;
        if let Some(peer) = self.heard(from, round, report) {
            peer.accepted(matched, durable);
            if peer.next <= mark {
                peer.needs_snapshot(mark);
            }
            self.advance_commit();
            self.confirm_round();
            self.tell_heir();
        }
    }

    pub(crate) fn on_rejected(&mut self, from: NodeId, prev: Index, hint: LogId, round: u64, report: Report) {
        let agreed = self.log.last_agreeing(hint.index, hint.term).index;
        let mark = self.log.mark().index;
        let Some(peer) = self.heard(from, round, report) else { return };
        let stale = match peer.mode {
            Mode::Probe => prev.checked_add(1) != Some(peer.next),
            Mode::Replicate => prev <= peer.durable,
            // The same answer, until it has fetched the snapshot.
            Mode::Snapshot => hint.index < mark,
        };
        // Whoever holds the entry at the mark hints at it or behind it.
        if !stale && hint.index < mark {
            peer.needs_snapshot(mark);
            self.probe(from);
            self.confirm_round();
            return;
        }
        // A probe that taught nothing is repeated by the next heartbeat, not at once: a disk that forgot what it had
        // acknowledged would keep both ends busy at the speed of the network.
        if !stale && peer.probe_from(agreed + 1) {
            self.probe(from);
        }
        self.confirm_round();
    }

    pub(crate) fn on_read_index(&mut self, from: NodeId, current: bool, id: ReadId) {
        let taken = match &mut self.role {
            Role::Leader(leader) => current && leader.rounds.take_question(from, id),
            _ => false,
        };
        if !taken {
            self.send(from, Message::ReadIndexReply { id, index: None });
        }
    }

    pub(crate) fn advance_commit(&mut self) {
        let me = self.config.id;
        let own = if is_planted(Bug::LeaderCountsUnsynced) { self.log.last().index } else { self.durable.index() };
        let Role::Leader(leader) = &self.role else { return };
        let reached = self.membership().quorum_value(|id| if id == me { own } else { leader.peers.get(&id).map_or(0, Progress::standing) });
        let of_own_term = self.log.term_at(reached) == Some(self.hard.term) || is_planted(Bug::PriorTermByCounting);
        if reached <= self.commit || !of_own_term {
            return;
        }
        let committed_bytes = self.log.bytes_within(self.commit + 1, reached);
        self.advance_commit_to(reached);
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(committed_bytes);
        }
    }

    /// Whether new data is refused: room counts only as far as reported in this term.
    pub(crate) fn refusing(&self) -> bool {
        let me = self.config.id;
        let Role::Leader(leader) = &self.role else { return false };
        let room_of = |id: NodeId| if id == me { self.room } else { leader.peers.get(&id).map_or(Room::Unknown, Progress::room) };
        self.room != Room::Enough || !self.membership().has_quorum(|id| room_of(id) == Room::Enough)
    }

    /// Opens a read round if reads wait, as leader; asks the leader, as follower.
    pub(crate) fn flush_reads(&mut self) {
        let commit = self.commit;
        let settled = self.is_settled_leader() || is_planted(Bug::ReadIndexBeforeNoop);
        let opened = match &mut self.role {
            Role::Leader(leader) => settled && leader.rounds.open(commit),
            Role::Follower(_) => {
                self.forward_reads();
                false
            }
            _ => false,
        };
        if opened {
            self.heartbeat();
            self.confirm_round();
        }
    }

    /// Sends each peer what it lacks, as far as its window is open.
    pub(crate) fn flush_appends(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let peers: Vec<NodeId> = leader.peers.keys().copied().collect();
        for peer in peers {
            self.replicate_to(peer);
        }
    }

    fn replicate_to(&mut self, id: NodeId) {
        let last = self.log.last().index;
        let durable = self.durable.index();
        let (window, max) = (self.config.inflight_max_bytes, self.config.append_max_bytes);
        let refusing = self.refusing();
        loop {
            let Role::Leader(leader) = &mut self.role else { return };
            let Some(peer) = leader.peers.get_mut(&id) else { return };
            // A peer below its floor would not take them; asking over and over would only fill the network.
            let unwelcome = peer.room() == Room::Floor && !refusing;
            if peer.next > last || unwelcome || !peer.window_open(window) {
                return;
            }
            match self.log.entries(peer.next, last, max) {
                Some(entries) => self.send_entries(id, entries),
                None => {
                    peer.reading = true;
                    let (term, first) = (self.hard.term, peer.next);
                    // Entries leave memory only once they are durable; what is not is in memory and nowhere else.
                    assert!(first <= durable, "entry {first} is neither in memory nor durable");
                    self.out.need_entries.push(NeedEntries { peer: id, term, first, last: durable, max_bytes: max });
                }
            }
        }
    }

    fn send_entries(&mut self, id: NodeId, entries: Vec<Entry>) {
        let Some((first, last)) = entries.first().zip(entries.last()).map(|(first, last)| (first.id.index, last.id.index)) else { return };
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        let append = self.append_after(first - 1, entries);
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(&id)
        {
            peer.sent(last, append.entries.len(), bytes);
        }
        self.append_to(id, append);
    }

    fn heartbeat(&mut self) {
        let due = self.now + self.config.heartbeat_ticks;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.heartbeat_due = due;
        let peers: Vec<NodeId> = leader.peers.keys().copied().collect();
        for peer in peers {
            self.probe(peer);
        }
    }

    /// An empty append right before the next entry: a heartbeat, and the question whether the logs agree up to there.
    fn probe(&mut self, id: NodeId) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(peer) = leader.peers.get(&id) else { return };
        let offer = leader.offer.filter(|offer| peer.mode == Mode::Snapshot && offer.index >= self.log.mark().index);
        let append = Append { offer, ..self.append_after(peer.next - 1, Vec::new()) };
        self.append_to(id, append);
    }

    fn append_after(&self, prev: Index, entries: Vec<Entry>) -> Append {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader appends") };
        let term = self.log.term_at(prev).expect("a peer's next index is never before the mark or behind the end");
        Append {
            prev: LogId::new(term, prev),
            entries,
            commit: self.commit,
            round: leader.rounds.latest(),
            refusing: self.refusing(),
            offer: None,
            agreed: leader.agreed,
        }
    }

    fn heard(&mut self, from: NodeId, round: u64, report: Report) -> Option<&mut Progress> {
        let now = self.now;
        let stretch = now / self.config.heartbeat_ticks.max(1);
        let Role::Leader(leader) = &mut self.role else { return None };
        let latest = leader.rounds.latest();
        let peer = leader.peers.get_mut(&from)?;
        match peer.hears(report, round.min(latest), latest, stretch) {
            Word::Counts => {}
            Word::Late => return None,
            Word::Unproven => {
                leader.rounds.renew();
                self.probe(from);
                return None;
            }
        }
        if peer.forgot {
            let durable = peer.durable;
            self.send(from, Message::Forgot { durable });
            return None;
        }
        let Role::Leader(leader) = &mut self.role else { return None };
        // Another leadership's rounds cannot appear in this term's answers; one beyond the latest is nonsense.
        let latest = leader.rounds.latest();
        let peer = leader.peers.get_mut(&from)?;
        peer.heard = Some(now);
        peer.round = peer.round.max(round.min(latest));
        Some(peer)
    }

    pub(crate) fn confirm_round(&mut self) {
        let me = self.config.id;
        let Role::Leader(leader) = &self.role else { return };
        let Some(asked) = leader.rounds.open_round() else { return };
        let answered = |id: NodeId| id == me || leader.peers.get(&id).is_some_and(|peer| peer.round >= asked && !peer.forgot);
        let proven = self.membership().has_quorum(answered) || is_planted(Bug::ReadWithoutRound);
        if !proven {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let Some((index, readers)) = leader.rounds.confirm() else { return };
        for reader in readers {
            self.answer_read(reader, Some(index));
        }
    }

    fn hears_quorum(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let (me, window) = (self.config.id, self.config.election_max_ticks);
        let heard =
            |id: NodeId| id == me || leader.peers.get(&id).is_some_and(|peer| self.now - peer.heard.unwrap_or(peer.since) <= window);
        self.membership().has_quorum(heard)
    }

    /// The oldest own sync hangs, while another voter has on its disk what this sync is to write.
    fn disk_stalls(&mut self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let Some((seq, since, first)) = leader.syncs.front().copied() else { return false };
        let hangs = self.now - since > self.config.disk_stall_ticks;
        let overtaken = leader.peers.iter().any(|(id, peer)| self.membership().is_voter(*id) && peer.standing() >= first);
        if hangs && overtaken {
            self.stalled_on = Some(seq);
        }
        hangs && overtaken
    }
}
