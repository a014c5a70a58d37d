//! Blobs that the state refers to and this disk lacks, and how far the state is whole.
//!
//! `whole` is an applied index up to which no blob is missing. It moves only while nothing is missing, so it may lag; it never leads:
//! others rely on it when voters leave.

use std::{collections::BTreeMap, time::Duration};

use raft::Index;
use replica::state::BlobRef;
use tokio::time::Instant;

/// Blobs remembered at once; further ones are found by the search that follows.
const MISSING_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub struct Missing {
    /// When to try next.
    blobs: BTreeMap<BlobRef, Instant>,
    /// More than can be remembered, or a state not looked through yet.
    search: bool,
    applied: Index,
    whole: Index,
}

impl Missing {
    /// A state applied up to `applied` that nobody has looked through.
    pub fn unsearched(applied: Index) -> Missing {
        Missing { search: true, applied, ..Missing::default() }
    }

    pub fn note(&mut self, blob: BlobRef, wait: Duration) {
        if self.blobs.len() < MISSING_MAX {
            self.blobs.entry(blob).or_insert_with(|| Instant::now() + wait);
        } else {
            self.search = true;
        }
    }

    pub fn found(&mut self, blob: &BlobRef) {
        self.blobs.remove(blob);
    }

    pub fn try_again(&mut self, blob: BlobRef, wait: Duration) {
        self.blobs.insert(blob, Instant::now() + wait);
    }

    pub fn due(&self) -> Vec<BlobRef> {
        let now = Instant::now();
        self.blobs.iter().filter(|(_, due)| **due <= now).map(|(blob, _)| *blob).collect()
    }

    pub fn applied(&mut self, through: Index) {
        self.applied = self.applied.max(through);
    }

    pub fn search_again(&mut self) {
        self.search = true;
    }

    /// True once: the whole state is to be looked through.
    pub fn take_search(&mut self) -> bool {
        std::mem::take(&mut self.search)
    }

    /// The applied index up to which nothing is missing.
    pub fn whole(&mut self) -> Index {
        if self.is_settled() {
            self.whole = self.applied;
        }
        self.whole
    }

    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Nothing is missing, as far as can be known.
    pub fn is_settled(&self) -> bool {
        self.blobs.is_empty() && !self.search
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(byte: u8) -> BlobRef {
        BlobRef { hash: [byte; 32], size: 1 }
    }

    #[test]
    fn the_state_is_whole_only_up_to_where_nothing_was_missing() {
        let mut missing = Missing::unsearched(7);
        assert_eq!(missing.whole(), 0, "nobody has looked");
        assert!(missing.take_search() && !missing.take_search());
        assert_eq!(missing.whole(), 7);
        missing.note(blob(1), Duration::ZERO);
        missing.applied(9);
        assert_eq!(missing.whole(), 7);
        missing.found(&blob(1));
        assert_eq!(missing.whole(), 9);
    }
}
