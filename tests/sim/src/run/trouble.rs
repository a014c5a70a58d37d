//! What strikes boards and links, and how far it may go.
//!
//! A disk may forget only as long as what is left of every configuration that is or may come into force can still decide; nobody promises
//! anything beyond that. It always forgets something the anchor knows of: a loss of newer entries alone cannot be told from an earlier
//! moment.

use raft::{Membership, Message, NodeId, Payload, Room};
use replica::Input;

use super::{
    board::NextSync,
    fault::Fault,
    network::Letter,
    plan::{Settings, TICK},
    world::{Event, Phase, World},
};
use crate::properties::Verdict;

const STRIKES: [Fault; 13] = [
    Fault::OneWay,
    Fault::Partition,
    Fault::Crash,
    Fault::Crash,
    Fault::SlowSync,
    Fault::StalledSync,
    Fault::FailingSync,
    Fault::LostTail,
    Fault::BitFlip,
    Fault::DiskFull,
    Fault::Wipe,
    Fault::Pause,
    Fault::Reconfigure,
];

impl World {
    pub(super) fn strike(&mut self) -> Verdict {
        if self.phase != Phase::Safety {
            return Ok(());
        }
        let next = self.now + self.trouble_rng.between(TICK, self.plan.strike_max);
        self.queue.post(next, Event::Strike);
        if self.trouble_rng.chance(250) {
            self.network.reconnect_all();
        }
        let enabled: Vec<Fault> = STRIKES.into_iter().filter(|fault| self.plan.has(*fault)).collect();
        if enabled.is_empty() {
            return Ok(());
        }
        let fault = enabled[self.trouble_rng.index(enabled.len())];
        let leader = self.boards.iter().position(|board| board.member().is_some_and(|member| member.replica.node().is_settled_leader()));
        if self.plan.hunts_leaders && leader.is_none() {
            // It waits until there is somebody to hunt.
            return Ok(());
        }
        let fault = if self.plan.hunts_leaders && self.trouble_rng.chance(500) { Fault::Partition } else { fault };
        let board = match leader {
            // Leaders are worth more trouble than others.
            Some(leader) if self.trouble_rng.chance(if self.plan.hunts_leaders { 800 } else { 350 }) => leader,
            _ => self.trouble_rng.index(self.boards.len()),
        };
        self.hit(fault, board)?;
        // Troubles come in pairs.
        match !self.plan.hunts_leaders && self.trouble_rng.chance(400) {
            true => {
                let other = enabled[self.trouble_rng.index(enabled.len())];
                self.hit(other, board)
            }
            false => Ok(()),
        }
    }

    fn hit(&mut self, fault: Fault, board: usize) -> Verdict {
        let now = self.now;
        let count = self.boards.len();
        let (long, chosen) = (self.trouble_rng.between(20, 200) * TICK, self.trouble_rng.draw());
        let up = self.boards[board].process.is_some();
        let acts = match fault {
            Fault::OneWay => {
                let other = chosen as usize % count;
                let (from, to) = if chosen & 1 << 40 == 0 { (board, other) } else { (other, board) };
                self.network.set_cut(from, to, true);
                from != to
            }
            Fault::Partition => {
                let alone = self.plan.hunts_leaders || chosen & 3 << 55 == 0;
                for from in 0..count {
                    for to in 0..count {
                        // Now and then one board still hears both sides.
                        let bridge = !alone && chosen & 1 << 50 != 0 && (from == board || to == board);
                        let apart = match alone {
                            true => from == board || to == board,
                            false => (chosen >> from) & 1 != (chosen >> to) & 1,
                        };
                        self.network.set_cut(from, to, apart && !bridge);
                    }
                }
                if self.plan.hunts_leaders {
                    // What it writes meanwhile is still under way when it hears of its successor.
                    self.boards[board].next_sync = NextSync::Stalls(long);
                    let back = now + self.trouble_rng.between(15, 70) * TICK;
                    self.queue.post(back, Event::Reconnect);
                }
                alone || chosen & ((1 << count) - 1) != 0
            }
            Fault::Crash if up => {
                // Now and then it dies again and again, hardly up.
                self.boards[board].dies_again = match self.plan.relapses {
                    true => 1 + (chosen >> 2 & 7),
                    false if chosen & 3 == 0 => chosen >> 2 & 3,
                    false => 0,
                };
                return self.crash_noted(Fault::Crash, board);
            }
            Fault::SlowSync if up => {
                self.boards[board].slow_until = now + long;
                true
            }
            Fault::StalledSync if up => {
                self.boards[board].next_sync = NextSync::Stalls(long * 2);
                true
            }
            Fault::FailingSync if up => {
                // Counted when it fails.
                self.boards[board].next_sync = NextSync::Fails;
                false
            }
            Fault::LostTail => return self.forget(fault, board, chosen),
            Fault::BitFlip => return self.forget(fault, board, chosen),
            Fault::DiskFull if up => {
                let room = [Room::Enough, Room::Enough, Room::Enough, Room::Low, Room::Floor][chosen as usize % 5];
                self.boards[board].room = room;
                if room != Room::Enough {
                    self.acts.note(fault);
                    self.count(4, board as u64);
                }
                return self.feed(board, Input::Room(room));
            }
            Fault::Wipe if self.may_forget(board) => {
                self.acts.note(fault);
                self.count(4, board as u64);
                return self.wipe(board);
            }
            Fault::Pause if up => {
                self.boards[board].paused_until = now + long;
                true
            }
            Fault::Reconfigure if up => {
                self.boards[board].settings = Settings::any(&mut self.trouble_rng);
                return self.crash_noted(fault, board);
            }
            _ => false,
        };
        if acts {
            self.acts.note(fault);
            self.count(4, (fault as u64) << 8 | board as u64);
        }
        Ok(())
    }

    pub(super) fn reconnect(&mut self) {
        self.network.reconnect_all();
    }

    /// A board is up again.
    pub(super) fn dies_again(&mut self, board: usize) {
        let one = &mut self.boards[board];
        if one.dies_again > 0 && self.phase == Phase::Safety {
            one.dies_again -= 1;
            let at = self.now + self.trouble_rng.between(TICK, 16 * TICK);
            self.queue.post(at, Event::Die { board, boot: one.boots });
        }
    }

    pub(super) fn die(&mut self, board: usize, boot: u64) -> Verdict {
        match self.boards[board].boots == boot && self.boards[board].process.is_some() && self.phase == Phase::Safety {
            true => self.crash_noted(Fault::Crash, board),
            false => Ok(()),
        }
    }

    fn crash_noted(&mut self, fault: Fault, board: usize) -> Verdict {
        self.acts.note(fault);
        self.count(5, board as u64);
        self.crash(board)
    }

    /// A disk loses a part of what it had synced, and is found to have when its board starts again.
    fn forget(&mut self, fault: Fault, board: usize, chosen: u64) -> Verdict {
        let card = &self.boards[board].card;
        let (mark, reached) = (card.log.mark.index, card.anchor.reached.index);
        if reached <= mark || !self.may_forget(board) {
            return Ok(());
        }
        self.acts.note(fault);
        self.count(6, board as u64);
        // The entry at the anchor's index, or some before it.
        let first_lost = mark + 1 + chosen % (reached - mark);
        if fault == Fault::BitFlip && chosen & 1 << 60 == 0 {
            // Found by whoever reads it next.
            self.boards[board].card.rot(first_lost);
            return Ok(());
        }
        self.crash(board)?;
        let card = &mut self.boards[board].card;
        // What was under way may have cut the log.
        let mark = card.log.mark.index;
        if reached <= mark {
            return Ok(());
        }
        let first_lost = mark + 1 + chosen % (reached - mark);
        if fault == Fault::BitFlip {
            card.rot(first_lost)
        } else {
            card.forget_behind(first_lost - 1)
        }
        Ok(())
    }

    /// A new card in the board: another node, which holds nothing.
    pub(super) fn wipe(&mut self, board: usize) -> Verdict {
        let id = self.boards[board].id;
        if self.boards[board].process.is_some() {
            self.crash_for_good(board)?;
        }
        let old = self.boards[board].start_over(false);
        self.dead.insert(id, old);
        let back = self.trouble_rng.between(TICK, 100 * TICK);
        self.queue.post(self.now + back, Event::Start { board });
        Ok(())
    }

    fn may_forget(&self, board: usize) -> bool {
        let one = &self.boards[board];
        self.has_formed() && one.card.before.is_none() && self.can_do_without(board, &[])
    }

    /// A cluster that is still forming waits for all of its boards.
    pub(super) fn has_formed(&self) -> bool {
        self.ledger.end() > 0 && self.boards.iter().take(self.plan.voters).all(|board| board.card.formation.started.is_some())
    }

    /// Whether a majority of every configuration that is or may come into force is left without this board and the others named.
    pub(super) fn can_do_without(&self, board: usize, others: &[usize]) -> bool {
        let gone: Vec<NodeId> = others.iter().chain([&board]).map(|board| self.boards[*board].id).collect();
        self.configurations().iter().all(|membership| self.decides_without(membership, &gone))
    }

    /// Whether those who are left of a configuration can decide.
    pub(super) fn decides_without(&self, membership: &Membership, gone: &[NodeId]) -> bool {
        membership.has_quorum_of(|id| !gone.contains(&id) && self.is_alive(id))
    }

    /// Whether some board still has this id, and its disk has not gone bad.
    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        let board = &self.boards[super::board::place(id)];
        board.id == id && board.card.before.is_none()
    }

    /// The configuration in force, those in doubt, and what each leads to by itself.
    ///
    /// In doubt is what some log holds behind the last committed one, and what is on its way: a leader sends before it has written, and
    /// may be gone before anybody has heard.
    pub(super) fn configurations(&self) -> Vec<Membership> {
        let (committed, in_force) = self.ledger.memberships().last().expect("there is one from the start");
        let mut all = vec![in_force.clone()];
        for board in &self.boards {
            let logs = board.member().map(|member| &member.view).into_iter().chain([&board.card.log]);
            for log in logs {
                all.extend(log.configs().iter().filter(|(index, _)| index > committed).map(|(_, membership)| membership.clone()));
            }
        }
        for event in self.queue.iter() {
            let Event::Deliver { letter: Letter::Raft(envelope, _), .. } = event else { continue };
            let Message::Append(append) = &envelope.message else { continue };
            let under_way = append.entries.iter().filter(|entry| entry.id.index > *committed);
            all.extend(under_way.filter_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some(membership.clone()),
                _ => None,
            }));
        }
        all_that_follow(all)
    }
}

/// These configurations, and all that the cluster goes on to by itself from them.
pub(super) fn all_that_follow(mut all: Vec<Membership>) -> Vec<Membership> {
    let mut looked_at = 0;
    while looked_at < all.len() {
        let settled = all[looked_at].settled();
        for learner in settled.learners.keys() {
            all.extend(settled.promoting(*learner).filter(|next| !all.contains(next)));
        }
        looked_at += 1;
    }
    all
}

/// Counting of quorums, written apart from the code under test.
trait Quorum {
    fn has_quorum_of(&self, agrees: impl Fn(NodeId) -> bool) -> bool;
}

impl Quorum for Membership {
    fn has_quorum_of(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let halves = [&self.voters, &self.outgoing];
        halves.into_iter().filter(|half| !half.is_empty()).all(|half| half.iter().filter(|id| agrees(**id)).count() * 2 > half.len())
    }
}
