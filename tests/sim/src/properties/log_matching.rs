//! Two logs that hold the same entry (index and term) are equal up to there.
//!
//! By induction: wherever an entry stands, its content is the same, and so is the term of the entry before it.

use raft::{Entry, LogId, Term};

use super::{Property, Verdict, digest};

#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index: what was ever in a log there.
    seen: Vec<Vec<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    term: Term,
    before: Term,
    digest: u64,
}

impl LogMatching {
    pub fn appended(&mut self, entry: &Entry, before: Term) -> Verdict {
        let (index, term) = (entry.id.index as usize, entry.id.term);
        if self.seen.len() <= index {
            self.seen.resize_with(index + 1, Vec::new);
        }
        let digest = digest(entry);
        match self.seen[index].iter().find(|seen| seen.term == term) {
            None => {
                self.seen[index].push(Seen { term, before, digest });
                Ok(())
            }
            Some(seen) => Property::LogMatching.holds(seen.before == before && seen.digest == digest, || {
                format!("entry {} stands behind {:?} here and {before:?} there, or holds something else", entry.id, seen.before)
            }),
        }
    }

    /// The content of an entry that stands in some log.
    pub fn digest_of(&self, id: LogId) -> Option<u64> {
        self.seen.get(id.index as usize)?.iter().find(|seen| seen.term == id.term).map(|seen| seen.digest)
    }
}
