//! Handing leadership over (the dissertation's section 3.10).
//!
//! Invariants:
//! - the one who is to lead has every entry on its disk when it is told to stand: no proposal is taken meanwhile, so its log is as
//!   good as ours, and a quorum that would vote for us votes for it;
//! - a hand-over that takes longer than an election is given up; nothing is lost but time.

use crate::{
    Message, Node, NodeId, Refusal, Room,
    planted::{Bug, is_planted},
    progress::Progress,
    role::{Role, Transfer},
};

/// From one attempt to hand over for want of room to the next.
const SEEK_HEIR_ELECTION_TIMEOUTS: u64 = 20;

impl Node {
    /// Hands leadership to a voter, the best one if none is named. The answer is who it will be, if all goes well.
    pub fn transfer(&mut self, to: Option<NodeId>) -> Result<NodeId, Refusal> {
        if !self.is_leader() {
            return Err(Refusal::NotLeader(self.leader()));
        }
        let to = match to {
            Some(to) if to == self.config.id => return Ok(to),
            Some(to) if self.membership().voters.contains(&to) => to,
            Some(_) => return Err(Refusal::Invalid("it is not a voter")),
            None => self.best_heir(|_| true).ok_or(Refusal::Invalid("no other voter is in touch"))?,
        };
        let until = self.now + self.config.election_max_ticks;
        if let Role::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { to, until });
        }
        self.tell_heir();
        Ok(to)
    }

    /// Tells the one who is to lead to stand, as soon as it has everything.
    pub(crate) fn tell_heir(&mut self) {
        let last = self.log.last().index;
        let Role::Leader(leader) = &self.role else { return };
        let Some(Transfer { to, .. }) = leader.transfer else { return };
        let complete = |durable| durable == last || is_planted(Bug::StaleHeir);
        if leader.peers.get(&to).is_some_and(|peer| complete(peer.durable) && !peer.forgot) {
            self.send(to, Message::Campaign);
        }
    }

    /// Steps down, in favour of one who can lead at once if there is one.
    pub(crate) fn abdicate(&mut self) {
        let last = self.log.last().index;
        if let Some(heir) = self.best_heir(|peer| peer.durable == last) {
            self.send(heir, Message::Campaign);
        }
        self.become_follower(None);
    }

    /// A leader short of room looks for one who is not. It takes nothing while it hands over, so between two attempts that fail there
    /// is time to delete.
    pub(crate) fn seek_heir_with_room(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if self.now < leader.seeks_heir_at
            || self.room == Room::Enough
            || self.room == Room::Unknown
            || leader.transfer.is_some()
            || !self.is_settled_leader()
        {
            return;
        }
        if let Some(heir) = self.best_heir(|peer| peer.room() == Room::Enough) {
            // It cannot fail: the heir is a voter.
            let _ = self.transfer(Some(heir));
            let pause = SEEK_HEIR_ELECTION_TIMEOUTS * self.config.election_max_ticks;
            if let Role::Leader(leader) = &mut self.role {
                leader.seeks_heir_at = self.now + pause;
            }
        }
    }

    pub(crate) fn on_campaign(&mut self, from: NodeId, current: bool) {
        let told_by_leader = matches!(&self.role, Role::Follower(follower) if follower.leader == Some(from));
        let fit = self.hard_is_durable() && self.stalled_on.is_none() && self.may_stand();
        if current && told_by_leader && fit {
            self.become_follower(None);
            self.stand();
        }
    }

    /// The voter of those `fit` that has the most of the log, among those in touch.
    fn best_heir(&self, fit: impl Fn(&Progress) -> bool) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let voters = leader.peers.iter().filter(|(id, _)| self.membership().voters.contains(id));
        let able = voters.filter(|(_, peer)| peer.is_in_touch(self.now, self.config.election_max_ticks) && fit(peer));
        able.max_by_key(|(_, peer)| peer.durable).map(|(id, _)| *id)
    }
}
