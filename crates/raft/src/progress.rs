//! What a leader knows of one peer.

use std::collections::VecDeque;

use crate::{Index, Room};

#[derive(Clone, Debug)]
pub struct Progress {
    /// Highest index this peer told us is durable there, in this term. What commit counting uses.
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
    pub room: Room,
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
}

impl Progress {
    /// A new leader's guess: the peer has all we have.
    pub fn new(next: Index) -> Progress {
        Progress {
            durable: 0,
            next,
            mode: Mode::Probe,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard: None,
            round: 0,
            room: Room::Unknown,
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
        if self.mode == Mode::Probe {
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

    pub fn window_open(&self, max_bytes: usize) -> bool {
        self.mode == Mode::Replicate && !self.reading && self.inflight_bytes < max_bytes
    }

    fn forget_inflight(&mut self) {
        self.inflight.clear();
        self.inflight_bytes = 0;
    }
}
