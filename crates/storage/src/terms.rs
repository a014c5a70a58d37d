//! Which entries a log holds, told by their terms.
//!
//! Both engines keep this beside what they store, so that they agree without reading a disk on what an installed snapshot leaves
//! of the log, and so that a batch that does not fit the log is seen before any of it is written.
//!
//! Invariant: the runs cover the log from behind its mark to its end, each starting with the first entry of its term. While a start
//! reads a log whose oldest part is gone, they may begin later; [`Terms::is_whole`] tells.

use raft::{Index, LogId, Term};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    mark: LogId,
    last: Index,
    /// Where each run of one term starts.
    runs: Vec<(Index, Term)>,
}

impl Terms {
    /// A log that ends at `last`, of whose entries nothing is known.
    pub fn new(mark: LogId, last: Index) -> Terms {
        Terms { mark, last, runs: Vec::new() }
    }

    /// The entry before the first one.
    pub fn mark(&self) -> LogId {
        self.mark
    }

    /// The last index, or the mark's if there is no entry.
    pub fn last(&self) -> Index {
        self.last
    }

    /// The entry at `index`, the mark included.
    pub fn at(&self, index: Index) -> Option<LogId> {
        if index == self.mark.index {
            return Some(self.mark);
        }
        let runs = self.runs.partition_point(|(start, _)| *start <= index);
        (runs > 0 && index <= self.last).then(|| LogId::new(self.runs[runs - 1].1, index))
    }

    /// Whether the term of every entry is known.
    pub fn is_whole(&self) -> bool {
        self.last == self.mark.index || self.runs.first().is_some_and(|(start, _)| *start == self.mark.index + 1)
    }

    pub fn push(&mut self, id: LogId) {
        assert_eq!(id.index, self.last + 1, "an entry that leaves a gap in the log");
        self.last = id.index;
        if self.runs.last().map(|(_, term)| *term) != Some(id.term) {
            self.runs.push((id.index, id.term));
        }
    }

    /// Forgets `from` and all behind it.
    pub fn truncate(&mut self, from: Index) {
        assert!(from > self.mark.index, "truncation at {from} reaches behind the log's mark {}", self.mark);
        self.last = self.last.min(from - 1);
        while self.runs.last().is_some_and(|(start, _)| *start > self.last) {
            self.runs.pop();
        }
    }

    /// Forgets all up to `id`, which the log holds. Nothing happens at or below the mark.
    pub fn cut(&mut self, id: LogId) {
        if id.index <= self.mark.index {
            return;
        }
        assert_eq!(self.at(id.index), Some(id), "a cut at an entry that the log does not hold");
        self.move_mark(id);
    }

    /// A snapshot takes the place of the log up to `mark`. Whether the entries behind it stay: only if the log holds the entry at
    /// the mark, as otherwise its entries may be of another history.
    pub fn install(&mut self, mark: LogId) -> bool {
        assert!(mark.index >= self.mark.index, "a snapshot at {mark} goes back behind the log's mark {}", self.mark);
        let stays = self.at(mark.index) == Some(mark);
        match stays {
            true => self.move_mark(mark),
            false => *self = Terms::new(mark, mark.index),
        }
        stays
    }

    /// Moves the mark forward to an entry that is there.
    pub fn move_mark(&mut self, mark: LogId) {
        self.mark = mark;
        let first = mark.index + 1;
        let gone = self.runs.partition_point(|(start, _)| *start <= first).saturating_sub(1);
        self.runs.drain(..gone);
        match self.runs.first_mut() {
            _ if self.last == mark.index => self.runs.clear(),
            Some((start, _)) => *start = first.max(*start),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: Index, term: u64) -> LogId {
        LogId::new(Term(term), index)
    }

    /// Entries 1 to 9, three of each term.
    fn nine() -> Terms {
        let mut terms = Terms::new(LogId::ZERO, 0);
        (1..=9u64).for_each(|index| terms.push(id(index, index.div_ceil(3))));
        terms
    }

    #[test]
    fn each_entry_has_its_term() {
        let terms = nine();
        assert_eq!((1..=9).map(|index| terms.at(index).unwrap().term.0).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!((terms.at(0), terms.at(10)), (Some(LogId::ZERO), None));
    }

    #[test]
    fn both_ends_can_be_forgotten() {
        let mut terms = nine();
        terms.cut(id(4, 2));
        terms.truncate(7);
        assert!(terms.is_whole());
        assert_eq!((3..=7).map(|index| terms.at(index)).collect::<Vec<_>>(), [None, Some(id(4, 2)), Some(id(5, 2)), Some(id(6, 2)), None]);
        terms.cut(id(6, 2));
        terms.push(id(7, 9));
        assert_eq!((terms.at(6), terms.at(7), terms.last()), (Some(id(6, 2)), Some(id(7, 9)), 7));
        terms.cut(id(4, 2));
        assert_eq!(terms.mark(), id(6, 2), "a cut that came late changes nothing");
    }

    #[test]
    fn a_snapshot_leaves_only_what_follows_the_very_entry_at_its_mark() {
        let mut terms = nine();
        assert!(terms.install(id(5, 2)));
        assert_eq!((terms.last(), terms.at(6)), (9, Some(id(6, 2))));
        assert!(terms.install(id(5, 2)), "its own mark is known too");
        assert!(!nine().install(id(5, 3)));
        assert!(!nine().install(id(12, 3)));
        assert!(!terms.install(id(8, 4)));
        assert_eq!(terms, Terms::new(id(8, 4), 8));
    }

    #[test]
    #[should_panic(expected = "a cut at an entry that the log does not hold")]
    fn a_cut_at_another_entry_is_our_bug() {
        nine().cut(id(5, 1));
    }

    #[test]
    fn what_was_never_seen_is_not_whole() {
        let mut terms = Terms::new(LogId::ZERO, 5);
        assert!(!terms.is_whole());
        terms.push(id(6, 1));
        assert!(!terms.is_whole());
        terms.move_mark(id(5, 1));
        assert!(terms.is_whole());
    }
}
