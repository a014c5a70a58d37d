//! The log as the core sees it: the terms of all of it, the entries of its tail.
//!
//! Invariants:
//! - `terms` covers every index behind `mark`, so any consistency check is answered without a disk;
//! - the entries in memory end at the last index; everything not yet durable is among them;
//! - entries leave memory only once durable and committed, oldest first, beyond a bound in bytes;
//! - what is at or before `mark` is committed and in the state; only the mark's own term is remembered.

use std::collections::VecDeque;

use crate::{Entry, Index, LogId, Term};

#[derive(Clone, Debug)]
pub struct Log {
    mark: LogId,
    /// `(first index, term)` of each run of one term behind `mark`, ascending.
    terms: Vec<(Index, Term)>,
    last: Index,
    tail: VecDeque<Entry>,
    tail_bytes: usize,
}

impl Log {
    /// A log found at start. `tail` holds the newest entries without gaps.
    pub fn new(mark: LogId, terms: Vec<(Index, Term)>, last: LogId, tail: Vec<Entry>) -> Log {
        assert!(last.index >= mark.index, "a log cannot end before its mark");
        assert!(tail.last().is_none_or(|entry| entry.id == last), "the tail must end where the log ends");
        let tail_bytes = tail.iter().map(Entry::size_bytes).sum();
        let log = Log { mark, terms, last: last.index, tail: tail.into(), tail_bytes };
        assert_eq!(log.last(), last, "the terms must cover the log");
        log
    }

    /// The entry before the first one kept.
    pub fn mark(&self) -> LogId {
        self.mark
    }

    pub fn last(&self) -> LogId {
        LogId { term: self.term_at(self.last).expect("the last index is in the log"), index: self.last }
    }

    /// Term of the entry at `index`; `None` outside of the log. Index 0 has term 0.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.mark.index {
            return Some(self.mark.term);
        }
        if index < self.mark.index || index > self.last {
            return None;
        }
        let run = self.terms.partition_point(|(first, _)| *first <= index);
        Some(self.terms[run - 1].1)
    }

    pub fn holds(&self, id: LogId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The last index at or before `index` whose term is at most `term`: where two logs may still agree.
    pub fn last_agreeing(&self, index: Index, term: Term) -> LogId {
        let index = index.min(self.last);
        let runs = self.terms.partition_point(|(first, _)| *first <= index);
        let mut end = index;
        for (first, of) in self.terms[..runs].iter().rev() {
            if *of <= term {
                return LogId::new(*of, end);
            }
            end = first - 1;
        }
        self.mark
    }

    /// Adds an entry behind the last.
    pub fn push(&mut self, entry: Entry) {
        assert_eq!(entry.id.index, self.last + 1, "the log has no gaps");
        let before = self.last().term;
        assert!(entry.id.term >= before, "terms in a log never go back");
        if self.terms.last().map(|(_, term)| *term) != Some(entry.id.term) {
            self.terms.push((entry.id.index, entry.id.term));
        }
        self.last = entry.id.index;
        self.tail_bytes += entry.size_bytes();
        self.tail.push_back(entry);
    }

    /// Removes `from` and all behind it.
    pub fn truncate(&mut self, from: Index) {
        assert!(from > self.mark.index, "nothing at or before the mark is ever removed");
        while self.tail.back().is_some_and(|entry| entry.id.index >= from) {
            self.tail_bytes -= self.tail.pop_back().map_or(0, |entry| entry.size_bytes());
        }
        while self.terms.last().is_some_and(|(first, _)| *first >= from) {
            self.terms.pop();
        }
        self.last = self.last.min(from - 1);
    }

    /// Forgets everything up to and including `mark`, which the log holds.
    pub fn cut(&mut self, mark: LogId) {
        assert!(mark.index > self.mark.index && self.holds(mark), "a log is cut at an entry that it holds");
        while self.tail.front().is_some_and(|entry| entry.id.index <= mark.index) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |entry| entry.size_bytes());
        }
        let first = mark.index + 1;
        let behind = self.terms.partition_point(|(start, _)| *start <= first);
        let in_force = self.terms[behind - 1].1;
        self.terms.drain(..behind);
        if first <= self.last {
            self.terms.insert(0, (first, in_force));
        }
        self.mark = mark;
    }

    /// Starts anew behind `mark`, whatever was there.
    pub fn restart_at(&mut self, mark: LogId) {
        *self = Log::new(mark, Vec::new(), mark, Vec::new());
    }

    /// Entries `first..=last` up to `max_bytes`, at least one; `None` if the first is no longer in memory.
    pub fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Option<Vec<Entry>> {
        if first > last {
            return Some(Vec::new());
        }
        let front = self.tail.front()?.id.index;
        let skip = usize::try_from(first.checked_sub(front)?).ok()?;
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.tail.iter().skip(skip) {
            bytes += entry.size_bytes();
            if entry.id.index > last || (bytes > max_bytes && !entries.is_empty()) {
                break;
            }
            entries.push(entry.clone());
        }
        Some(entries)
    }

    /// Bytes of those entries in `first..=last` that are in memory.
    pub fn bytes_within(&self, first: Index, last: Index) -> usize {
        let skip = self.tail.front().map_or(0, |entry| first.saturating_sub(entry.id.index));
        self.tail.iter().skip(skip as usize).take_while(|entry| entry.id.index <= last).map(Entry::size_bytes).sum()
    }

    /// Lets entries up to `through` go until the rest fits `max_bytes`.
    pub fn evict(&mut self, through: Index, max_bytes: usize) {
        while self.tail_bytes > max_bytes && self.tail.front().is_some_and(|entry| entry.id.index <= through) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |entry| entry.size_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    fn entry(term: u64, index: Index) -> Entry {
        Entry { id: LogId::new(Term(term), index), payload: Payload::Noop }
    }

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::new(LogId::ZERO, Vec::new(), LogId::ZERO, Vec::new());
        for (i, term) in terms.iter().enumerate() {
            log.push(entry(*term, i as Index + 1));
        }
        log
    }

    #[test]
    fn every_index_has_its_term_also_after_a_truncation() {
        let mut log = log(&[1, 1, 2, 4, 4]);
        let terms: Vec<_> = (0..=6).map(|i| log.term_at(i).map(|t| t.0)).collect();
        assert_eq!(terms, [Some(0), Some(1), Some(1), Some(2), Some(4), Some(4), None]);
        log.truncate(3);
        assert_eq!(log.last(), LogId::new(Term(1), 2));
        log.push(entry(5, 3));
        assert!(log.holds(LogId::new(Term(5), 3)) && !log.holds(LogId::new(Term(2), 3)));
    }

    #[test]
    fn a_cut_log_knows_its_mark_and_all_behind_it() {
        for cut in 1..=5 {
            let mut log = log(&[1, 1, 2, 4, 4]);
            let before: Vec<_> = (0..=6).map(|i| log.term_at(i)).collect();
            log.cut(LogId { term: before[cut].unwrap(), index: cut as Index });
            let after: Vec<_> = (0..=6).map(|i| log.term_at(i)).collect();
            assert_eq!(after[..cut], vec![None; cut]);
            assert_eq!(after[cut..], before[cut..], "cut at {cut}");
            log.push(entry(4, 6));
            assert_eq!(log.last(), LogId::new(Term(4), 6));
            assert_eq!(log.entries(cut as Index, 6, usize::MAX), None);
        }
    }

    #[test]
    fn agreement_is_sought_a_term_at_a_time() {
        let log = log(&[1, 1, 3, 3, 5]);
        assert_eq!(log.last_agreeing(5, Term(5)), LogId::new(Term(5), 5));
        assert_eq!(log.last_agreeing(5, Term(4)), LogId::new(Term(3), 4));
        assert_eq!(log.last_agreeing(9, Term(2)), LogId::new(Term(1), 2));
        assert_eq!(log.last_agreeing(5, Term(0)), LogId::ZERO);
    }

    #[test]
    fn entries_leave_memory_only_up_to_a_bound_and_their_terms_stay() {
        let mut log = log(&[1, 1, 1, 1]);
        log.evict(2, 0);
        assert_eq!(log.entries(2, 4, usize::MAX), None);
        assert_eq!(log.entries(3, 4, usize::MAX).map(|e| e.len()), Some(2));
        assert_eq!(log.entries(3, 4, 1).map(|e| e.len()), Some(1), "one entry goes however large");
        assert_eq!(log.term_at(1), Some(Term(1)));
    }
}
