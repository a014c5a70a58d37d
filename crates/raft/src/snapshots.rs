//! A log that is cut, and what takes the place of the entries that are gone (the dissertation's chapter 5).
//!
//! The bytes of a snapshot are the driver's: it makes a checkpoint of its state when a peer needs one, lets the peer fetch it, and
//! stages what it fetched itself. Here it is only a position in the log.
//!
//! Invariants:
//! - the log is cut only at a committed entry that is durable here and, by the driver's word, in the flushed state;
//! - a snapshot is installed only if it is ahead of the commit index; its position counts as committed and, once the installation is
//!   on the disk, as durable and matched: whoever leads this term or a later one holds that entry;
//! - what is installed is exactly what was offered: that position was committed in the term of the offer, which was adopted on hearing
//!   it. A later position of the same node may be of a term of which nobody here has heard, and a leader deposed in it, whom this
//!   member still follows, may hold another entry there;
//! - a snapshot says nothing of term or vote;
//! - a snapshot brings the configuration of its position; the log behind it brings newer ones.

use crate::{
    Fetch, HardState, Index, Install, LogId, Node, NodeId, Snapshot,
    planted::{Bug, is_planted},
    progress::Mode,
    role::Role,
};

impl Node {
    /// Cuts the log behind `mark`, which is applied, and flushed. A mark already passed is nothing.
    pub fn compact(&mut self, mark: LogId) {
        if mark.index <= self.log.mark().index {
            return;
        }
        assert!(mark.index <= self.commit.min(self.durable.index()), "only what is committed and durable is cut");
        assert!(self.log.holds(mark), "the state has applied another entry than the log holds");
        self.log.cut(mark);
        self.pending.cut = Some(mark);
        if let Role::Leader(leader) = &mut self.role {
            for peer in leader.peers.values_mut().filter(|peer| peer.next <= mark.index) {
                peer.needs_snapshot(mark.index);
            }
        }
    }

    /// The entry before the first one in the log.
    pub fn mark(&self) -> LogId {
        self.log.mark()
    }

    /// A checkpoint of the state at `mark` can be fetched from this node.
    pub fn snapshot_ready(&mut self, mark: LogId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.offer = Some(mark);
        }
    }

    /// The checkpoint is gone.
    pub fn snapshot_gone(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.offer = None;
        }
    }

    /// The position of the checkpoint that some peer is fetching: cut behind it, the log could not go on from there. One that is no
    /// longer heard holds up nothing: the log would grow as long as it is away.
    pub fn offer_in_use(&self) -> Option<LogId> {
        let Role::Leader(leader) = &self.role else { return None };
        leader.offer.filter(|_| self.somebody_fetches())
    }

    /// Puts a staged snapshot in the place of the log up to its mark; false if it is of no use, and is to be forgotten.
    pub fn install(&mut self, snapshot: Snapshot) -> bool {
        let Snapshot { mark, generation, membership } = snapshot;
        if mark.index <= self.commit || self.is_leader() {
            return false;
        }
        let continues = self.log.holds(mark) && !is_planted(Bug::SnapshotCutsNewer);
        if is_planted(Bug::SnapshotClearsVote) {
            self.hard = HardState { vote: None, ..self.hard };
            self.hard_seq = self.next_seq;
            self.pending.hard = Some(self.hard);
        }
        self.pending.install = Some(Install { mark, generation });
        self.pending.cut = None;
        if continues {
            self.pending.entries.retain(|entry| entry.id.index > mark.index);
            // All that was put in the place of what was truncated is in this batch, too: behind the mark it begins anew.
            self.pending.truncate = self.pending.truncate.map(|from| from.max(mark.index + 1));
            self.log.cut(mark);
        } else {
            self.pending.entries.clear();
            self.pending.truncate = Some(mark.index + 1);
            self.log.restart_at(mark);
            self.durable.installs(mark.index, self.next_seq, self.commit);
        }
        self.base_membership(mark.index, membership);
        self.commit = mark.index;
        if let Role::Follower(follower) = &mut self.role {
            follower.matched = if continues { follower.matched.max(mark.index) } else { mark.index };
        }
        true
    }

    /// What the leader offers instead of entries that it no longer has.
    pub(crate) fn consider_offer(&mut self, from: NodeId, offer: Option<LogId>) {
        if let Some(mark) = offer.filter(|mark| mark.index > self.commit) {
            self.out.fetch = Some(Fetch { from, mark });
        }
    }

    /// Whether some peer waits for a checkpoint that there is none of yet.
    pub(crate) fn needs_checkpoint(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let stale = leader.offer.is_none_or(|offer| offer.index < self.log.mark().index);
        stale && self.somebody_fetches()
    }

    fn somebody_fetches(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.peers.values().any(|peer| peer.mode == Mode::Snapshot && peer.is_in_touch(self.now, self.config.election_max_ticks))
    }

    /// The configurations that are left when the log begins at `mark`.
    fn base_membership(&mut self, mark: Index, in_snapshot: Option<(Index, crate::Membership)>) {
        let last = self.log.last().index;
        let at_start = self.memberships[0].clone();
        self.memberships.retain(|(index, _)| *index > mark && *index <= last);
        let base = in_snapshot.filter(|_| !is_planted(Bug::SnapshotWithoutMembership)).unwrap_or(at_start);
        self.memberships.insert(0, base);
    }
}
