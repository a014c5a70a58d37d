//! A log as a batch describes it: the meaning of a persist in a few lines, written apart from the engines.

use std::collections::VecDeque;

use raft::{Batch, Entry, HardState, Index, LogId, Membership, Payload, Term};
use storage::{Formation, LogImage};

#[derive(Clone, Debug, Default)]
pub struct LogModel {
    pub hard: HardState,
    pub mark: LogId,
    pub generation: u64,
    /// Behind the mark, without gaps.
    pub entries: VecDeque<Entry>,
    /// Those of the entries that are configurations, by index.
    configs: Vec<(Index, Membership)>,
    /// The configuration at the mark, as far as known.
    base: Option<(Index, Membership)>,
}

impl LogModel {
    pub fn apply(&mut self, batch: &Batch) {
        self.hard = batch.hard.unwrap_or(self.hard);
        if let Some(install) = batch.install {
            if self.holds(install.mark) {
                self.drop_through(install.mark);
            } else {
                self.entries.clear();
                self.configs.clear();
                self.mark = install.mark;
            }
            self.generation = install.generation;
        }
        if let Some(from) = batch.truncate {
            self.entries.truncate(from.saturating_sub(self.mark.index + 1) as usize);
            self.configs.retain(|(index, _)| *index < from);
        }
        for entry in &batch.entries {
            assert_eq!(entry.id.index, self.last().index + 1, "a batch continues the log");
            if let Payload::Membership(membership) = &entry.payload {
                self.configs.push((entry.id.index, membership.clone()));
            }
            self.entries.push_back(entry.clone());
        }
        if let Some(cut) = batch.cut {
            assert!(self.holds(cut), "a log is cut at an entry that it holds");
            self.drop_through(cut);
        }
    }

    pub fn last(&self) -> LogId {
        self.entries.back().map_or(self.mark, |entry| entry.id)
    }

    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.mark.index + 1)? as usize)
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.mark.index { Some(self.mark.term) } else { self.entry(index).map(|entry| entry.id.term) }
    }

    pub fn holds(&self, id: LogId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// Whether the entry is here, or in the state that took its place.
    pub fn covers(&self, id: LogId) -> bool {
        id.index < self.mark.index || self.holds(id)
    }

    /// The configuration in force.
    pub fn membership(&self) -> Option<&(Index, Membership)> {
        self.configs.last().or(self.base.as_ref())
    }

    pub fn configs(&self) -> &[(Index, Membership)] {
        &self.configs
    }

    pub fn set_base(&mut self, base: Option<(Index, Membership)>) {
        self.base = base;
    }

    /// Forgets everything behind an index, as a disk that loses its tail.
    pub fn lose_behind(&mut self, index: Index) {
        self.entries.truncate(index.saturating_sub(self.mark.index) as usize);
        self.configs.retain(|(at, _)| *at <= index);
    }

    /// As a start finds it.
    pub fn image(&self, formation: &Formation, tail_bytes_max: usize) -> LogImage {
        let mut terms: Vec<(Index, Term)> = Vec::new();
        let mut memberships = Vec::new();
        for entry in &self.entries {
            if terms.last().map(|(_, term)| *term) != Some(entry.id.term) {
                terms.push((entry.id.index, entry.id.term));
            }
            if let Payload::Membership(membership) = &entry.payload {
                memberships.push((entry.id, membership.clone()));
            }
        }
        let mut bytes = 0;
        let kept = self.entries.iter().rev().enumerate().take_while(|(place, entry)| {
            bytes += entry.size_bytes();
            *place == 0 || bytes <= tail_bytes_max
        });
        let kept = kept.count();
        LogImage {
            hard: self.hard,
            mark: self.mark,
            generation: self.generation,
            last: self.last(),
            terms,
            tail: self.entries.iter().skip(self.entries.len() - kept).cloned().collect(),
            memberships,
            formation: formation.clone(),
        }
    }

    /// Entries from `first` on, at least one if it is there.
    pub fn read(&self, first: Index, last: Index, max_bytes: usize) -> Vec<Entry> {
        let Some(skip) = first.checked_sub(self.mark.index + 1) else { return Vec::new() };
        let mut bytes = 0;
        let wanted = self.entries.iter().skip(skip as usize).take_while(|entry| {
            let first_one = bytes == 0;
            bytes += entry.size_bytes();
            entry.id.index <= last && (first_one || bytes <= max_bytes)
        });
        wanted.cloned().collect()
    }

    fn drop_through(&mut self, mark: LogId) {
        while self.entries.front().is_some_and(|entry| entry.id.index <= mark.index) {
            self.entries.pop_front();
        }
        while self.configs.first().is_some_and(|(index, _)| *index <= mark.index) {
            self.base = Some(self.configs.remove(0));
        }
        self.mark = mark;
    }
}
