//! What a start needs to know of a log, gathered entry by entry.

use std::{collections::VecDeque, path::Path};

use raft::{Entry, HardState, Payload};

use crate::{
    Error, Formation, LogImage,
    codec::{self, LogMeta},
};

/// Builds a [`LogImage`] from a log's entries, fed in order.
pub(crate) struct ImageReader<'a> {
    path: &'a Path,
    tail_bytes_max: usize,
    tail_bytes: usize,
    tail: VecDeque<Entry>,
    image: LogImage,
}

impl<'a> ImageReader<'a> {
    /// `path` names the log in errors.
    pub fn new(path: &'a Path, tail_bytes_max: usize, hard: HardState, meta: LogMeta, formation: Formation) -> ImageReader<'a> {
        let LogMeta { generation, mark } = meta;
        let (terms, tail, memberships) = (Vec::new(), Vec::new(), Vec::new());
        let image = LogImage { hard, mark, generation, last: mark, terms, tail, memberships, formation };
        ImageReader { path, tail_bytes_max, tail_bytes: 0, tail: VecDeque::new(), image }
    }

    /// Takes the next entry. An error if one is missing before it, or if its term is older than the one before.
    pub fn push(&mut self, entry: Entry) -> Result<(), Error> {
        let image = &mut self.image;
        let damaged = |detail: String| codec::corrupt(self.path, "log", &detail);
        if entry.id.index != image.last.index + 1 {
            return Err(damaged(format!("entry {} is missing before entry {}", image.last.index + 1, entry.id.index)));
        }
        if entry.id.term < image.last.term {
            return Err(damaged(format!("entry {} follows {}, of a later term", entry.id, image.last)));
        }
        if image.terms.last().map(|(_, term)| *term) != Some(entry.id.term) {
            image.terms.push((entry.id.index, entry.id.term));
        }
        if let Payload::Membership(membership) = &entry.payload {
            image.memberships.push((entry.id, membership.clone()));
        }
        image.last = entry.id;
        self.tail_bytes += entry.size_bytes();
        self.tail.push_back(entry);
        while self.tail_bytes > self.tail_bytes_max && self.tail.len() > 1 {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |oldest| oldest.size_bytes());
        }
        Ok(())
    }

    pub fn finish(self) -> LogImage {
        LogImage { tail: self.tail.into(), ..self.image }
    }
}
