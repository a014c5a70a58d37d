//! Read rounds: how a leader proves that it still leads, without a clock (the dissertation's section 6.4, ReadIndex).
//!
//! Invariants:
//! - a read joins only a round whose first message leaves after the read arrived: while one round is open, the next
//!   collects. An answer to an earlier message would prove leadership only for a time before the read;
//! - nothing is confirmed before the leader's own no-op is committed: until then its commit index may lack entries that
//!   an earlier leader has acknowledged;
//! - answers are counted by round number within one term; another boot's or another term's answers never match.

use std::collections::BTreeMap;

use crate::{
    Index, NodeId, ReadId,
    planted::{Bug, is_planted},
};

/// Who waits for a read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A token of our own driver.
    Own(u64),
    /// Another member asked on its clients' behalf.
    Peer(NodeId, ReadId),
}

/// The rounds of one leadership.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Number of the latest round opened; 0 before the first.
    latest: u64,
    open: Option<Round>,
    waiting: Vec<Reader>,
}

#[derive(Clone, Debug)]
struct Round {
    index: Index,
    readers: Vec<Reader>,
}

impl Rounds {
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// From now on only answers to what is asked later count.
    pub fn renew(&mut self) {
        self.latest += 1;
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn join(&mut self, reader: Reader) {
        match &mut self.open {
            Some(round) if is_planted(Bug::ReadJoinsOpenRound) => round.readers.push(reader),
            _ => self.waiting.push(reader),
        }
    }

    /// Opens a round for all who wait, unless one is open. True if every voter is to be asked now.
    pub fn open(&mut self, commit: Index) -> bool {
        if self.open.is_some() || self.waiting.is_empty() {
            return false;
        }
        self.latest += 1;
        self.open = Some(Round { index: commit, readers: std::mem::take(&mut self.waiting) });
        true
    }

    /// A quorum answered the open round: who waited for it, and the read index.
    pub fn confirm(&mut self) -> Option<(Index, Vec<Reader>)> {
        self.open.take().map(|round| (round.index, round.readers))
    }

    /// The leadership ends: everybody who still waits.
    pub fn drain(&mut self) -> Vec<Reader> {
        let mut readers = self.confirm().map_or(Vec::new(), |(_, readers)| readers);
        readers.append(&mut self.waiting);
        readers
    }
}

/// A follower's reads: what collects for the next question, and the questions under way.
#[derive(Clone, Debug, Default)]
pub struct Forwarded {
    waiting: Vec<u64>,
    /// By counter: the tick of asking, and the tokens that wait for the answer.
    asked: BTreeMap<u64, (u64, Vec<u64>)>,
}

impl Forwarded {
    pub fn join(&mut self, token: u64) {
        self.waiting.push(token);
    }

    /// True if a question is to be sent now under this counter.
    pub fn ask(&mut self, counter: u64, now: u64) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        self.asked.insert(counter, (now, std::mem::take(&mut self.waiting)));
        true
    }

    pub fn answered(&mut self, counter: u64) -> Vec<u64> {
        self.asked.remove(&counter).map_or(Vec::new(), |(_, tokens)| tokens)
    }

    /// Tokens whose question was asked before `since`: the question or its answer got lost.
    pub fn overdue(&mut self, since: u64) -> Vec<u64> {
        let mut tokens = Vec::new();
        while self.asked.first_key_value().is_some_and(|(_, (asked, _))| *asked < since) {
            tokens.append(&mut self.asked.pop_first().map_or(Vec::new(), |(_, (_, tokens))| tokens));
        }
        tokens
    }

    pub fn drain(&mut self) -> Vec<u64> {
        let mut tokens = self.overdue(u64::MAX);
        tokens.append(&mut self.waiting);
        tokens
    }
}
