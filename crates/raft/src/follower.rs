//! Following a leader: taking its entries, acknowledging what is durable, forwarding reads.
//!
//! Invariants:
//! - an acknowledgement is the smaller of the durable index and the last index matched by appends accepted in this
//!   term: what the disk holds beyond that may differ from the leader's log;
//! - the commit index follows the leader's only as far as matched in this term, for the same reason;
//! - a late append never truncates what a newer one of the same leader added: only a conflict does.

use crate::{
    Append, Entry, Index, LogId, Message, Node, NodeId, ReadId, Room, Term,
    planted::{Bug, is_planted},
    role::Role,
};

impl Node {
    pub(crate) fn on_append(&mut self, from: NodeId, current: bool, append: Append) {
        if !current {
            // A deposed leader learns of the newer term from the envelope.
            let hint = self.log.last_agreeing(append.prev.index, Term(0));
            self.send(from, Message::Rejected { prev: append.prev.index, hint, round: append.round, report: self.report() });
            return;
        }
        if self.is_leader() {
            // Two leaders of one term: a member has forgotten its vote. Not ours to settle; whoever is right keeps its quorum.
            return;
        }
        self.follow(from);
        self.consider_offer(from, append.offer);
        self.out.agreed = append.agreed.or(self.out.agreed);
        let (prev, entries) = self.behind_mark(append.prev, append.entries);
        if !self.log.holds(prev) {
            let hint = self.log.last_agreeing(prev.index.saturating_sub(1), prev.term);
            self.note_round(append.round);
            self.send(from, Message::Rejected { prev: prev.index, hint, round: append.round, report: self.report() });
            return;
        }
        // Below the floor only a leader that refuses new data is listened to: what it still sends fits the reserve.
        let lacks_room = self.room == Room::Floor && !append.refusing;
        let mut matched = prev.index;
        let had_entries = !entries.is_empty();
        for entry in entries {
            if !self.log.holds(entry.id) {
                if lacks_room {
                    break;
                }
                if matches!(&self.role, Role::Follower(follower) if entry.id.index <= follower.matched) {
                    // A leader never takes back what it sent in its term. Whoever does is not listened to.
                    return;
                }
                if entry.id.index <= self.commit {
                    // No leader of ours lacks a committed entry, unless so many disks forgot that nothing is promised any more. Whoever still
                    // holds it must not be the one to destroy it.
                    self.out.contradicted = Some(entry.id);
                    return;
                }
                if entry.id.index <= self.log.last().index {
                    self.truncate(entry.id.index);
                }
                self.push_entry(entry.clone());
            }
            matched = entry.id.index;
        }
        if is_planted(Bug::StaleAppendTruncates) && had_entries && matched < self.log.last().index && matched >= self.commit {
            self.truncate(matched + 1);
        }
        let last = self.log.last().index;
        let Role::Follower(follower) = &mut self.role else { return };
        follower.matched = follower.matched.max(matched);
        let known = if is_planted(Bug::CommitBeyondMatched) { last } else { follower.matched };
        let commit = append.commit.min(known).max(self.commit);
        self.advance_commit_to(commit);
        // An append with new entries is answered when they are durable, unless it also asks whether we still follow.
        let new_round = self.note_round(append.round);
        let nothing_to_wait_for = !had_entries || self.acknowledged() >= matched;
        if new_round || nothing_to_wait_for {
            self.acknowledge();
        }
    }

    /// Tells the leader how far our log is its log, and how much of that is on the disk.
    pub(crate) fn acknowledge(&mut self) {
        let durable = self.acknowledged();
        if let Role::Follower(follower) = &self.role
            && let Some(leader) = follower.leader
        {
            let accepted = Message::Accepted { matched: follower.matched, durable, round: follower.round, report: self.report() };
            self.send(leader, accepted);
        }
    }

    /// The leader's word that this disk has lost what it acknowledged. Only the driver can act on it: this member must never speak again.
    pub(crate) fn on_forgot(&mut self, from: NodeId, durable: Index) {
        if self.leader() == Some(from) {
            self.out.forgot = Some(durable);
        }
    }

    pub(crate) fn on_read_index_reply(&mut self, from: NodeId, id: ReadId, index: Option<Index>) {
        let Role::Follower(follower) = &mut self.role else { return };
        let own = id.node == self.config.id && (id.boot == self.config.boot || is_planted(Bug::ReusedReadId));
        if follower.leader != Some(from) || !own {
            return;
        }
        let tokens = follower.reads.answered(id.counter);
        match index {
            Some(index) => {
                let done = tokens.into_iter().map(|token| crate::ReadDone { token, result: Ok(index) });
                self.out.reads.extend(done);
            }
            None => self.refuse_reads(tokens),
        }
    }

    /// Sends the leader one question for all reads that came since the last.
    pub(crate) fn forward_reads(&mut self) {
        let id = self.read_id();
        let now = self.now;
        if let Role::Follower(follower) = &mut self.role
            && let Some(leader) = follower.leader
            && follower.reads.ask(id.counter, now)
        {
            self.send(leader, Message::ReadIndex { id });
        }
    }

    /// An append that begins before the log does, as if it began at the mark: all before is committed, hence the leader's, too.
    fn behind_mark(&self, prev: LogId, mut entries: Vec<Entry>) -> (LogId, Vec<Entry>) {
        let mark = self.log.mark();
        if prev.index >= mark.index {
            return (prev, entries);
        }
        entries.retain(|entry| entry.id.index > mark.index);
        (mark, entries)
    }

    fn acknowledged(&self) -> Index {
        match &self.role {
            Role::Follower(follower) if is_planted(Bug::AckBeyondDurable) => follower.matched,
            Role::Follower(_) if is_planted(Bug::AckBeyondMatched) => self.durable.index(),
            Role::Follower(follower) => follower.matched.min(self.durable.index()),
            _ => 0,
        }
    }

    fn follow(&mut self, leader: NodeId) {
        if self.leader() != Some(leader) {
            self.become_follower(Some(leader));
        }
        self.failed_candidacies = 0;
        self.leader_heard = Some(self.now);
        self.restart_election_timer();
    }

    /// True if this is the first that is heard of the round.
    fn note_round(&mut self, round: u64) -> bool {
        match &mut self.role {
            Role::Follower(follower) if round > follower.round => {
                follower.round = round;
                true
            }
            _ => false,
        }
    }
}
