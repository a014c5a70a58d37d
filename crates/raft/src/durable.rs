//! How much of the log is on the disk.
//!
//! Invariants:
//! - a batch counts only when it and every batch before it completed, in whatever order completions arrive;
//! - each index not yet durable remembers the batch that wrote it *last*. With 12@1 in flight, replaced by 12@2, replaced
//!   by 12@1 again, the first batch's completion says nothing about the third's bytes;
//! - truncation lowers the durable index at once.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    Index, Seq,
    planted::{Bug, is_planted},
};

#[derive(Clone, Debug)]
pub struct Durable {
    index: Index,
    /// How far what is on the disk reached when a snapshot was to take its place.
    replaced: Index,
    /// Indices behind `index`, ascending and without gaps: `(last index, batch that wrote it)`.
    writing: VecDeque<(Index, Seq)>,
    /// Every batch up to here completed.
    completed: Seq,
    /// Completed ahead of an earlier one.
    early: BTreeSet<Seq>,
}

impl Durable {
    /// A log found at start, durable up to `index`.
    pub fn new(index: Index) -> Durable {
        Durable { index, replaced: 0, writing: VecDeque::new(), completed: Seq(0), early: BTreeSet::new() }
    }

    /// End of the gap-free durable prefix.
    pub fn index(&self) -> Index {
        self.index
    }

    /// How far the disk reaches, whoever agrees with it. While a snapshot is on its way there, it has that or what it had before: in
    /// neither case has it forgotten anything.
    pub fn end(&self) -> Index {
        self.index.max(self.replaced)
    }

    /// Every batch up to and including this one is on the disk.
    pub fn completed(&self) -> Seq {
        self.completed
    }

    /// Entries up to `last` are part of batch `seq`.
    pub fn wrote(&mut self, last: Index, seq: Seq) {
        match self.writing.back_mut() {
            Some((end, by)) if *by == seq => *end = last,
            _ => self.writing.push_back((last, seq)),
        }
    }

    /// Batch `seq` puts a snapshot in the place of everything up to `mark`, and of all that was behind it.
    pub fn installs(&mut self, mark: Index, seq: Seq, committed: Index) {
        self.replaced = self.end().min(mark);
        // What is behind the commit index goes with the batch or before it; what is committed stays counted meanwhile.
        self.truncate(committed + 1);
        self.wrote(mark, seq);
    }

    /// Nothing at or behind `from` is there any more.
    pub fn truncate(&mut self, from: Index) {
        if is_planted(Bug::AbaCompletion) {
            // What was in flight still counts, for whatever takes its place.
            self.index = self.index.min(from - 1);
            return;
        }
        let keep = from - 1;
        if !is_planted(Bug::TruncationKeepsDurable) {
            self.index = self.index.min(keep);
        }
        while let Some((last, _)) = self.writing.back_mut() {
            if *last <= keep {
                break;
            }
            *last = keep;
            let start_before = self.writing.len().checked_sub(2).map_or(self.index, |i| self.writing[i].0);
            if start_before < keep {
                break;
            }
            self.writing.pop_back();
        }
    }

    /// Batch `seq` is on the disk.
    pub fn complete(&mut self, seq: Seq) {
        assert!(seq > self.completed && !self.early.contains(&seq), "batch {seq:?} completed twice");
        self.early.insert(seq);
        while self.early.remove(&self.completed.next()) {
            self.completed = self.completed.next();
        }
        while let Some((last, by)) = self.writing.front() {
            if *by > self.completed {
                break;
            }
            self.index = *last;
            self.writing.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_grows_only_without_gaps() {
        let mut durable = Durable::new(10);
        durable.wrote(12, Seq(1));
        durable.wrote(15, Seq(2));
        durable.complete(Seq(2));
        assert_eq!(durable.index(), 10);
        durable.complete(Seq(1));
        assert_eq!((durable.index(), durable.completed()), (15, Seq(2)));
    }

    #[test]
    fn an_index_written_again_waits_for_its_last_write() {
        let mut durable = Durable::new(11);
        durable.wrote(12, Seq(1));
        durable.truncate(12);
        durable.wrote(12, Seq(2));
        durable.truncate(12);
        durable.wrote(12, Seq(3));
        durable.complete(Seq(1));
        durable.complete(Seq(2));
        assert_eq!(durable.index(), 11);
        durable.complete(Seq(3));
        assert_eq!(durable.index(), 12);
    }

    #[test]
    fn truncation_lowers_the_prefix_at_once_and_keeps_what_is_in_flight_before_it() {
        let mut durable = Durable::new(20);
        durable.truncate(15);
        assert_eq!(durable.index(), 14);
        durable.wrote(18, Seq(1));
        durable.wrote(22, Seq(2));
        durable.truncate(20);
        durable.complete(Seq(1));
        assert_eq!(durable.index(), 18);
        durable.complete(Seq(2));
        assert_eq!(durable.index(), 19);
        durable.truncate(19);
        durable.wrote(19, Seq(3));
        durable.truncate(17);
        durable.complete(Seq(3));
        assert_eq!(durable.index(), 16);
    }
}
