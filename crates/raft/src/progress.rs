//! What a leader knows of one peer.

use std::collections::VecDeque;

use crate::{
    Index, Report, Room,
    planted::{Bug, is_planted},
};

#[derive(Clone, Debug)]
pub struct Progress {
    /// Highest index this peer told us is durable there, in this term.
    pub durable: Index,
    /// Next index to send.
    pub next: Index,
    pub mode: Mode,
    /// Sent and not yet known durable: `(last index, bytes)`.
    inflight: VecDeque<(Index, usize)>,
    inflight_bytes: usize,
    /// Tick at which the peer was last heard in this term.
    pub heard: Option<u64>,
    /// Latest read round that the peer answered.
    pub round: u64,
    /// What it said of itself last.
    pub report: Option<Report>,
    /// Boots before the present one. What they say late counts for nothing.
    past_boots: Vec<u64>,
    /// Another boot than the present one was heard; it is the present one once it answers this round.
    claim: Option<(u64, u64)>,
    /// A stretch of time, and how many boots not heard before were asked in it.
    asked: (u64, u32),
    /// Its disk lost what it had acknowledged in this term: it counts for nothing any more.
    pub forgot: bool,
    /// The tick at which it became a peer of this leadership.
    pub since: u64,
    /// No longer a member, and this index tells it so.
    pub leaves_at: Option<Index>,
    /// The highest commit index that it was sent.
    pub told_commit: Index,
    /// Waiting for entries from the disk.
    pub reading: bool,
    /// Entries sent in this leadership, repeats included.
    pub entries_sent: u64,
}

/// How appends flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Where the logs agree is unknown: one empty append at each heartbeat until the peer accepts one.
    Probe,
    /// Entries are sent as they come, up to the window.
    Replicate,
    /// It needs entries that the log no longer has; a snapshot is offered with each heartbeat.
    Snapshot,
}

/// What a peer's word is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Counts,
    /// Of a boot that is no more, or that has yet to answer what it was asked.
    Late,
    /// Of a boot not heard before: ask it, in a new round.
    Unproven,
}

/// Boots of one peer remembered in one leadership; of a peer that restarts more often the oldest are taken for new ones.
const PAST_BOOTS_MAX: usize = 64;
/// New boots of one peer that are asked between two heartbeats. A peer that makes up one after the other is asked no more often: an answer to
/// each would keep both ends busy at the speed of the network.
pub const BOOTS_ASKED_MAX: u32 = 4;

impl Progress {
    /// A new leader's guess: the peer has all we have.
    pub fn new(next: Index, since: u64) -> Progress {
        Progress {
            durable: 0,
            next,
            mode: Mode::Probe,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard: None,
            round: 0,
            report: None,
            past_boots: Vec::new(),
            claim: None,
            asked: (0, 0),
            forgot: false,
            since,
            leaves_at: None,
            told_commit: 0,
            reading: false,
            entries_sent: 0,
        }
    }

    /// Entries up to `last` are on their way.
    pub fn sent(&mut self, last: Index, count: usize, bytes: usize) {
        self.next = last + 1;
        self.entries_sent += count as u64;
        self.inflight.push_back((last, bytes));
        self.inflight_bytes += bytes;
    }

    /// The peer accepted up to `matched` and holds `durable` for good.
    pub fn accepted(&mut self, matched: Index, durable: Index) {
        self.durable = self.durable.max(durable);
        if self.mode != Mode::Replicate {
            self.mode = Mode::Replicate;
            self.next = matched + 1;
            self.forget_inflight();
        }
        self.next = self.next.max(matched + 1).max(self.durable + 1);
        while self.inflight.front().is_some_and(|(last, _)| *last <= self.durable) {
            self.inflight_bytes -= self.inflight.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The peer lacks what we took for granted: ask again from `next`. False if that is what was asked already.
    pub fn probe_from(&mut self, next: Index) -> bool {
        let asked = (self.mode == Mode::Probe).then_some(self.next);
        self.mode = Mode::Probe;
        self.next = next.max(self.durable + 1);
        self.forget_inflight();
        asked != Some(self.next)
    }

    /// The entries it needs next are gone from the log, which begins behind `mark`.
    pub fn needs_snapshot(&mut self, mark: Index) {
        self.mode = Mode::Snapshot;
        self.next = mark + 1;
        self.forget_inflight();
    }

    /// Takes what a peer says of itself in an answer to round `round`, when `latest` is the latest. The first word that counts of a new boot
    /// tells whether the disk kept what an earlier one had acknowledged.
    ///
    /// Words come late and in any order, so a boot not heard before may be one from before the present one: it counts only once it has
    /// answered a question that was asked after it was first heard. Whoever is no more answers none. One that is not asked yet because too many
    /// were, `stretch` after `stretch` of time, says the same again with the next heartbeat.
    pub fn hears(&mut self, report: Report, round: u64, latest: u64, stretch: u64) -> Word {
        if self.past_boots.contains(&report.boot) {
            return Word::Late;
        }
        match self.report {
            Some(before) if before.boot != report.boot => match self.claim {
                Some((boot, since)) if boot == report.boot && round >= since => {
                    self.claim = None;
                    self.past_boots.push(before.boot);
                    if self.past_boots.len() > PAST_BOOTS_MAX {
                        self.past_boots.remove(0);
                    }
                    self.forgot |= report.end < self.durable && !is_planted(Bug::SuspectCounted);
                }
                Some((boot, _)) if boot == report.boot => return Word::Late,
                _ => {
                    if !self.may_ask(stretch) {
                        return Word::Late;
                    }
                    self.claim = Some((report.boot, latest + 1));
                    return Word::Unproven;
                }
            },
            _ => {}
        }
        self.report = Some(report);
        Word::Counts
    }

    /// What commit counting uses.
    pub fn standing(&self) -> Index {
        if self.forgot { 0 } else { self.durable }
    }

    /// Whether it has been heard within the `window` of ticks before `now`, and is to be trusted.
    pub fn is_in_touch(&self, now: u64, window: u64) -> bool {
        !self.forgot && self.heard.is_some_and(|at| now - at <= window)
    }

    pub fn room(&self) -> Room {
        self.report.filter(|_| !self.forgot).map_or(Room::Unknown, |report| report.room)
    }

    pub fn whole(&self) -> Index {
        self.report.filter(|_| !self.forgot).map_or(0, |report| report.whole)
    }

    pub fn window_open(&self, max_bytes: usize) -> bool {
        self.mode == Mode::Replicate && !self.reading && self.inflight_bytes < max_bytes
    }

    fn may_ask(&mut self, stretch: u64) -> bool {
        let before = if self.asked.0 == stretch { self.asked.1 } else { 0 };
        self.asked = (stretch, before.saturating_add(1));
        before < BOOTS_ASKED_MAX
    }

    fn forget_inflight(&mut self) {
        self.inflight.clear();
        self.inflight_bytes = 0;
    }
}
