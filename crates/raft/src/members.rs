//! Who is a member, and how that changes: joint consensus (the dissertation's section 4.3), learners (4.2.1).
//!
//! Invariants:
//! - a configuration is in force from the moment its entry is in the log; truncation restores the one before;
//! - one change at a time: none while the newest configuration is joint or not committed, none before the leader's own no-op is
//!   committed (else an earlier leader's change could still be in doubt);
//! - a learner becomes a voter only after it has caught up and lacks no blob;
//! - a joint phase is left only when a quorum of the new voters has every blob of the joint entry's state: those who leave may be the
//!   only ones who have them;
//! - a leader that is no voter any more leads until that is committed, then hands over; whoever is no voter any more stands until it
//!   knows that to be committed.

use crate::{
    Change, Index, LogId, Membership, Node, NodeId, Payload, Refusal,
    planted::{Bug, is_planted},
    progress::Progress,
    role::Role,
};

/// A peer that is no longer a member is told so for this many election timeouts, then it is left alone.
const FAREWELL_ELECTION_TIMEOUTS: u64 = 10;

impl Node {
    /// Begins a change of the membership; the answer is the entry's place, not its commit. As leader only.
    pub fn change(&mut self, change: Change) -> Result<LogId, Refusal> {
        self.may_propose()?;
        if !self.may_change() {
            return Err(Refusal::Busy);
        }
        let next = self.membership().after(change).map_err(Refusal::Invalid)?;
        Ok(self.append_own(Payload::Membership(next)))
    }

    /// The configuration in force: the newest in the log, committed or not.
    pub fn membership(&self) -> &Membership {
        if is_planted(Bug::ConfigOnCommit) {
            return &self.committed_membership().1;
        }
        &self.newest_membership().1
    }

    /// The newest configuration that is committed here, and the index of its entry.
    pub fn committed_membership(&self) -> &(Index, Membership) {
        &self.memberships[0]
    }

    /// Everybody whom this member may have to speak to of its own accord, also those who are to learn that they have left.
    pub fn peers_to_reach(&self) -> Vec<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.peers.keys().copied().collect(),
            _ => self.membership().members().filter(|id| *id != self.config.id).collect(),
        }
    }

    /// Whether a change is under way.
    pub fn is_changing(&self) -> bool {
        let (index, membership) = self.newest_membership();
        membership.is_joint() || *index > self.commit
    }

    pub(crate) fn newest_membership(&self) -> &(Index, Membership) {
        self.memberships.last().expect("there is always one")
    }

    fn may_change(&self) -> bool {
        self.is_settled_leader() && !self.is_changing()
    }

    /// The leader's peers after a configuration entered its log.
    pub(crate) fn adopt_membership(&mut self) {
        let (now, me) = (self.now, self.config.id);
        let next = self.log.last().index + 1;
        let (at, membership) = self.newest_membership().clone();
        let Role::Leader(leader) = &mut self.role else { return };
        for id in membership.members().filter(|id| *id != me) {
            leader.peers.entry(id).or_insert_with(|| Progress::new(next, now)).leaves_at = None;
        }
        for (id, peer) in &mut leader.peers {
            if !membership.contains(*id) {
                peer.leaves_at.get_or_insert(at);
                peer.since = now;
            }
        }
        // Those who are left may have answered all along, and with nobody left nothing more would be heard.
        self.confirm_round();
    }

    /// Whatever the membership's next step is, if its time has come.
    pub(crate) fn move_membership_on(&mut self) {
        if !self.is_settled_leader() {
            return;
        }
        let (at, membership) = self.newest_membership();
        if *at > self.commit {
            return;
        }
        let next = match membership.is_joint() {
            true => self.new_voters_are_whole(*at).then(|| membership.settled()),
            false => self.next_promotion(),
        };
        if let Some(next) = next
            && self.may_propose().is_ok()
        {
            self.append_own(Payload::Membership(next));
        }
    }

    /// Forgets peers that have left and know it, or do not want to.
    pub(crate) fn say_farewell(&mut self) {
        let patience = FAREWELL_ELECTION_TIMEOUTS * self.config.election_max_ticks;
        let (now, commit) = (self.now, self.commit);
        let Role::Leader(leader) = &mut self.role else { return };
        // One heartbeat more than the acknowledgement tells it the commit index.
        let knows = |peer: &Progress, at: Index| peer.durable >= at && commit >= at && peer.told_commit >= at;
        leader.peers.retain(|_, peer| peer.leaves_at.is_none_or(|at| !knows(peer, at) && now - peer.since <= patience));
    }

    /// Whether it is a voter, or was one before changes that may not be committed. Its log can be the only one that a majority must not
    /// do without (the dissertation's section 4.2.2), so it stands although its own vote does not count.
    pub(crate) fn may_stand(&self) -> bool {
        self.memberships.iter().any(|(_, membership)| membership.is_voter(self.config.id))
    }

    pub(crate) fn has_left_for_good(&self) -> bool {
        self.is_settled_leader() && !self.membership().is_voter(self.config.id) && !self.is_changing()
    }

    fn new_voters_are_whole(&self, at: Index) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if is_planted(Bug::JointLeftUnwhole) {
            return true;
        }
        let whole = |id: NodeId| if id == self.config.id { self.whole } else { leader.peers.get(&id).map_or(0, Progress::whole) };
        self.membership().has_majority_of_new(|id| whole(id) >= at)
    }

    fn next_promotion(&self) -> Option<Membership> {
        let Role::Leader(leader) = &self.role else { return None };
        let ready = |id: NodeId| leader.peers.get(&id).is_some_and(|peer| self.has_caught_up(peer, leader.pace.older));
        self.membership().learners.keys().filter(|id| ready(**id)).find_map(|id| self.membership().promoting(*id))
    }

    fn has_caught_up(&self, peer: &Progress, pace: Index) -> bool {
        if is_planted(Bug::LearnerPromotedEarly) {
            return true;
        }
        peer.is_in_touch(self.now, self.config.election_max_ticks) && peer.durable >= pace && peer.whole() >= pace
    }
}
