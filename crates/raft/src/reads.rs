//! Read rounds: how a leader proves that it still leads, without a clock (the dissertation's section 6.4, ReadIndex).
//!
//! Invariants:
//! - a read joins only a round whose first message leaves after the read arrived: while one round is open, the next
//!   collects. An answer to an earlier message would prove leadership only for a time before the read;
//! - nothing is confirmed before the leader's own no-op is committed: until then its commit index may lack entries that
//!   an earlier leader has acknowledged;
//! - answers are counted by round number within one term; another boot's or another term's answers never match. Numbers given out while a
//!   round is open, to find out who is there, make its answers no less good: what proves it is an answer to it or to anything asked later;
//! - the readers of others that wait are bounded, each member's and all together; beyond it a question is refused, as if nobody led.

use std::collections::BTreeMap;

use crate::{
    Index, NodeId, ReadId,
    planted::{Bug, is_planted},
};

/// Questions of one other member that wait for a round, and of all. A follower asks once for all reads that came together, so it has about as
/// many under way as turns of its own fit into one round trip.
pub const QUESTIONS_MAX: usize = 1_024;
pub const QUESTIONS_OF_ALL_MAX: usize = 8_192;

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
    /// How many of those who wait are questions of this member.
    questions: BTreeMap<NodeId, usize>,
}

#[derive(Clone, Debug)]
struct Round {
    number: u64,
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

    /// The number of the round that waits for its answers.
    pub fn open_round(&self) -> Option<u64> {
        self.open.as_ref().map(|round| round.number)
    }

    pub fn join(&mut self, reader: Reader) {
        match &mut self.open {
            Some(round) if is_planted(Bug::ReadJoinsOpenRound) => round.readers.push(reader),
            _ => self.waiting.push(reader),
        }
    }

    /// Another member asks. False: too many wait already.
    pub fn take_question(&mut self, from: NodeId, id: ReadId) -> bool {
        if self.questions.values().sum::<usize>() >= QUESTIONS_OF_ALL_MAX {
            return false;
        }
        let asked = self.questions.entry(from).or_default();
        if *asked >= QUESTIONS_MAX {
            return false;
        }
        *asked += 1;
        self.join(Reader::Peer(from, id));
        true
    }

    /// Opens a round for all who wait, unless one is open. True if every voter is to be asked now.
    pub fn open(&mut self, commit: Index) -> bool {
        if self.open.is_some() || self.waiting.is_empty() {
            return false;
        }
        self.latest += 1;
        self.questions.clear();
        self.open = Some(Round { number: self.latest, index: commit, readers: std::mem::take(&mut self.waiting) });
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
        self.questions.clear();
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
