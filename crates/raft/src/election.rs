//! How a leader is found: timeout, PreVote, candidacy, votes.
//!
//! Invariants:
//! - a vote is for one candidate a term and leaves only once durable; the own one counts only then, too;
//! - a candidate's timer starts when its own vote is durable, a voter's restarts when its vote is: on a slow card the
//!   sync would otherwise eat the timeout and every election would be overtaken by the next;
//! - no new candidacy while an own hard state is on its way to the disk;
//! - each lost candidacy (not a lost pre-vote) doubles the next timeout, up to a bound, until a leader is heard. One overtaken
//!   by a higher term is lost, too: on slow disks candidates overtake each other before any of them times out.

use std::collections::BTreeSet;

use crate::{
    HardState, LogId, Message, Node, NodeId, Term,
    planted::{Bug, is_planted},
    role::Role,
};

/// Doubling stops here in any case; the bound in ticks is reached long before.
const BACKOFF_MAX_DOUBLINGS: u32 = 16;

impl Node {
    pub(crate) fn restart_election_timer(&mut self) {
        let (min, max) = (self.config.election_min_ticks, self.config.election_max_ticks);
        let cap = self.config.backoff_max_ticks.max(max);
        // The whole range is scaled, also at the cap: candidates that waited equally long would split the votes for ever.
        let longest = (max << self.failed_candidacies.min(BACKOFF_MAX_DOUBLINGS)).min(cap);
        self.election_due = self.now + self.rng.between(longest * min / max, longest);
    }

    pub(crate) fn campaign_if_due(&mut self) {
        if self.now < self.election_due || !self.hard_is_durable() || self.stalled_on.is_some() {
            return;
        }
        if !self.may_stand() {
            return;
        }
        self.become_follower(None);
        self.role = Role::PreCandidate { granted: BTreeSet::from([self.config.id]) };
        self.restart_election_timer();
        let last = self.log.last();
        self.ask_voters(Message::PreVote { last });
        self.stand_if_encouraged();
    }

    pub(crate) fn on_pre_vote(&mut self, from: NodeId, term: Term, last: LogId) {
        // While a leader is heard nobody is encouraged to unseat it (CheckQuorum's other half).
        let led = self.is_leader() || self.leader_heard.is_some_and(|at| self.now - at < self.config.election_min_ticks);
        let granted = term == self.hard.term && !led && last >= self.log.last();
        self.send(from, Message::PreVoteReply { granted, asked: term });
    }

    pub(crate) fn on_pre_vote_reply(&mut self, from: NodeId, granted: bool, asked: Term) {
        if let Role::PreCandidate { granted: votes } = &mut self.role
            && granted
            && asked == self.hard.term
        {
            votes.insert(from);
            self.stand_if_encouraged();
        }
    }

    pub(crate) fn on_vote(&mut self, from: NodeId, current: bool, last: LogId) {
        let free = self.hard.vote.is_none_or(|vote| vote == from);
        let granted = current && free && last >= self.log.last();
        if granted && self.hard.vote.is_none() {
            self.set_hard(HardState { term: self.hard.term, vote: Some(from) });
            self.voted_in = Some(self.hard_seq);
            if matches!(self.role, Role::PreCandidate { .. }) {
                self.become_follower(None);
            }
        }
        self.send(from, Message::VoteReply { granted });
    }

    pub(crate) fn on_vote_reply(&mut self, from: NodeId, granted: bool) {
        if let Role::Candidate { granted: votes } = &mut self.role
            && granted
        {
            votes.insert(from);
            self.lead_if_elected();
        }
    }

    /// Called when a persist completed: perhaps the own vote was in it.
    pub(crate) fn own_vote_durable(&mut self) {
        let id = self.config.id;
        if !self.hard_is_durable() {
            return;
        }
        if let Role::Candidate { granted } = &mut self.role
            && granted.insert(id)
        {
            self.restart_election_timer();
            self.lead_if_elected();
        }
    }

    fn stand_if_encouraged(&mut self) {
        let Role::PreCandidate { granted } = &self.role else { return };
        if self.membership().has_quorum(|id| granted.contains(&id)) {
            self.stand();
        }
    }

    /// A real candidacy, in the next term.
    pub(crate) fn stand(&mut self) {
        self.set_hard(HardState { term: self.hard.term.next(), vote: Some(self.config.id) });
        self.role = Role::Candidate { granted: BTreeSet::new() };
        let last = self.log.last();
        self.ask_voters(Message::Vote { last });
        if is_planted(Bug::OwnVoteBeforeSync) {
            self.role = Role::Candidate { granted: BTreeSet::from([self.config.id]) };
            self.lead_if_elected();
        }
    }

    fn lead_if_elected(&mut self) {
        let Role::Candidate { granted } = &self.role else { return };
        if self.membership().has_quorum(|id| granted.contains(&id)) {
            self.become_leader();
        }
    }

    fn ask_voters(&mut self, question: Message) {
        let me = self.config.id;
        let voters: Vec<NodeId> = self.membership().members().filter(|id| *id != me && self.membership().is_voter(*id)).collect();
        for voter in voters {
            self.send(voter, question.clone());
        }
    }
}
