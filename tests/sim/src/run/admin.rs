//! Operators: they take boards in, replace those that are gone, move leadership, cut logs.
//!
//! They never take a voter out when what is left could not decide.

use raft::{Change, Intent, Membership, NodeId};
use replica::{Input, Reply};

use super::{
    clients::Owner,
    fault::Fault,
    plan::TICK,
    trouble::all_that_follow,
    world::{Event, Phase, World},
};
use crate::properties::Verdict;

const PAUSE_MAX_TICKS: u64 = 60;

#[derive(Debug, Default)]
pub struct Admin {
    /// Of the request under way.
    waiting_since: Option<u64>,
}

/// A request that is not answered for so long is given up.
const PATIENCE_TICKS: u64 = 300;

impl World {
    pub(super) fn administer(&mut self) -> Verdict {
        if self.phase != Phase::Safety {
            return Ok(());
        }
        let pause = self.trouble_rng.between(5, PAUSE_MAX_TICKS) * TICK;
        self.queue.post(self.now + pause, Event::Admin);
        let draw = self.trouble_rng.draw();
        let Some(leader) = self.boards.iter().position(|board| board.leads()) else { return Ok(()) };
        if self.plan.has(Fault::Compact) && draw.is_multiple_of(3) {
            let board = draw as usize / 3 % self.boards.len();
            if self.boards[board].member().is_some() {
                let ticket = self.ticket(Owner::Admin, board);
                self.count(8, board as u64);
                self.feed(board, Input::Compact { ticket })?;
            }
        }
        if self.plan.has(Fault::Transfer) && draw % 5 == 1 {
            self.acts.note(Fault::Transfer);
            let voters: Vec<NodeId> = self.ledger.membership().voters.iter().copied().collect();
            let to = (draw & 1 << 30 != 0).then(|| voters[draw as usize / 8 % voters.len()]);
            let ticket = self.ticket(Owner::Admin, leader);
            self.count(8, leader as u64);
            self.feed(leader, Input::Transfer { ticket, to })?;
        }
        let idle = self.admin.waiting_since.is_none_or(|since| self.now > since + PATIENCE_TICKS * TICK);
        if self.plan.has(Fault::Membership) && idle && self.boards[leader].leads() {
            let Some(change) = self.sensible_change(draw >> 20) else { return Ok(()) };
            self.admin.waiting_since = Some(self.now);
            let ticket = self.ticket(Owner::Change, leader);
            self.count(8, leader as u64);
            self.feed(leader, Input::Change { ticket, change })?;
        }
        Ok(())
    }

    pub(super) fn change_answered(&mut self, reply: &Reply) {
        self.admin.waiting_since = None;
        if matches!(reply, Reply::Changed(_)) {
            self.acts.note(Fault::Membership);
            self.answers.changed += 1;
        }
    }

    fn sensible_change(&mut self, draw: u64) -> Option<Change> {
        let configurations = self.configurations();
        let membership = self.ledger.membership().clone();
        let of = |ids: &[NodeId]| (!ids.is_empty()).then(|| ids[draw as usize / 16 % ids.len()]);
        let dead: Vec<NodeId> = membership.voters.iter().copied().filter(|id| !self.is_alive(*id)).collect();
        let is_known = |id: NodeId| configurations.iter().any(|other| other.contains(id));
        let strangers: Vec<NodeId> = self.boards.iter().filter(|board| board.process.is_some()).map(|board| board.id).collect();
        let strangers: Vec<NodeId> = strangers.into_iter().filter(|id| !is_known(*id) && self.is_fresh(*id)).collect();
        let voters: Vec<NodeId> = membership.voters.iter().copied().collect();
        let learners: Vec<NodeId> = membership.learners.keys().copied().filter(|id| self.is_alive(*id)).collect();
        let change = match draw % 8 {
            0 | 1 if !dead.is_empty() => Change::AddLearner(of(&strangers)?, Intent::Replace(of(&dead)?)),
            2 if !dead.is_empty() => Change::Remove(of(&dead)?),
            0 | 3 => Change::AddLearner(of(&strangers)?, Intent::Promote),
            1 => Change::AddLearner(of(&strangers)?, if draw & 1 << 30 == 0 { Intent::Stay } else { Intent::Replace(of(&voters)?) }),
            2 | 4 => Change::Remove(of(&voters)?),
            5 => Change::Promote(of(&learners)?),
            6 => Change::Replace { old: of(&voters)?, new: of(&learners)? },
            _ => Change::Remove(of(&membership.learners.keys().copied().collect::<Vec<_>>())?),
        };
        // Of every configuration that it may meet, what it leads to must still be able to decide.
        let fine = |before: &Membership| match before.settled().after(change) {
            Err(_) => true,
            Ok(next) => all_that_follow(vec![next]).iter().all(|next| self.decides_without(next, &[])),
        };
        configurations.iter().all(fine).then_some(change)
    }

    /// A node that was never a member. Ids are not used again.
    fn is_fresh(&self, id: NodeId) -> bool {
        self.ledger.memberships().iter().all(|(_, membership)| !membership.contains(id))
    }
}
