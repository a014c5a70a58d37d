//! A disk that keeps exactly what it must: batches take effect in order, once they and all before them completed.

use std::collections::VecDeque;

use raft::{Batch, Entry, HardState, Index, Install, LogId, Seq, Term};

use crate::rng::Rng;

#[derive(Default)]
pub struct Disk {
    pub hard: HardState,
    /// What is at or before it is gone from the log: the state stands for it. Kept here all the same, for the laws.
    pub mark: LogId,
    pub log: Vec<Entry>,
    /// Applied to the state machine and flushed.
    pub applied: Index,
    writing: VecDeque<Write>,
}

struct Write {
    seq: Seq,
    batch: Batch,
    /// What the snapshot in the batch stands for.
    prefix: Vec<Entry>,
    completed: bool,
}

impl Disk {
    pub fn start(&mut self, seq: Seq, batch: Batch, prefix: Vec<Entry>) {
        self.writing.push_back(Write { seq, batch, prefix, completed: false });
    }

    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Completes the oldest write under way, or now and then a later one; true as second if so.
    pub fn complete(&mut self, rng: &mut Rng, early_percent: u64) -> Option<(Seq, bool)> {
        let open: Vec<usize> = (0..self.writing.len()).filter(|i| !self.writing[*i].completed).collect();
        let oldest = *open.first()?;
        let chosen = if rng.percent(early_percent) { rng.pick(&open) } else { oldest };
        self.writing[chosen].completed = true;
        let seq = self.writing[chosen].seq;
        while self.writing.front().is_some_and(|write| write.completed) {
            self.take_effect();
        }
        Some((seq, chosen != oldest))
    }

    /// The power goes. Of what was under way a prefix may have made it, by chance; how many batches are lost.
    pub fn crash(&mut self, rng: &mut Rng) -> u64 {
        let survive = rng.below(self.writing.len() as u64 + 1);
        for _ in 0..survive {
            self.take_effect();
        }
        let lost = self.writing.len() as u64;
        self.writing.clear();
        lost
    }

    pub fn last(&self) -> LogId {
        self.log.last().map_or(LogId::ZERO, |entry| entry.id)
    }

    pub fn id_at(&self, index: Index) -> Option<LogId> {
        if index == 0 { Some(LogId::ZERO) } else { self.log.get(index as usize - 1).map(|entry| entry.id) }
    }

    /// What the log itself still holds.
    pub fn behind_mark(&self) -> &[Entry] {
        &self.log[self.mark.index as usize..]
    }

    /// First index of each run of one term behind the mark.
    pub fn terms(&self) -> Vec<(Index, Term)> {
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for entry in self.behind_mark() {
            if terms.last().map(|(_, term)| *term) != Some(entry.id.term) {
                terms.push((entry.id.index, entry.id.term));
            }
        }
        terms
    }

    fn take_effect(&mut self) {
        let Write { batch, prefix, .. } = self.writing.pop_front().expect("a write");
        let Batch { hard, install, truncate, entries, cut } = batch;
        if let Some(hard) = hard {
            let again = hard.term == self.hard.term && self.hard.vote.is_some();
            assert!(hard.term >= self.hard.term && (!again || hard.vote == self.hard.vote), "{hard:?} after {:?}", self.hard);
            self.hard = hard;
        }
        if let Some(Install { mark, .. }) = install {
            assert!(mark.index > self.applied, "a snapshot leads back");
            if self.id_at(mark.index) != Some(mark) {
                self.log = prefix;
            }
            (self.mark, self.applied) = (mark, mark.index);
        }
        if let Some(from) = truncate {
            assert!(from > self.applied, "applied entries are truncated");
            self.log.truncate(from as usize - 1);
        }
        for entry in entries {
            assert_eq!(entry.id.index, self.log.len() as Index + 1, "a gap on the disk");
            self.log.push(entry);
        }
        if let Some(mark) = cut {
            assert!(mark.index <= self.applied && self.id_at(mark.index) == Some(mark), "the log is cut where no flushed state stands");
            self.mark = mark;
        }
    }
}
