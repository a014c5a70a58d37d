//! How much of the log is kept behind the applied position.
//!
//! A peer that was off for an evening catches up by appends alone as long as what it missed is still in the log; beyond it the whole
//! state travels. So the log keeps a bound of bytes and of entries although the state no longer needs them. It is cut in steps, as each cut
//! begins with a flush of the state.

use std::collections::VecDeque;

use raft::Index;

/// Bounds of the log behind the applied position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub bytes: u64,
    pub entries: u64,
}

/// Beyond the bound by this share of it, the log is cut back to the bound.
const STEP_DIVISOR: u64 = 8;
/// Positions remembered; a cut is at one of them.
const SAMPLES_MAX: usize = 64;

impl Default for Keep {
    fn default() -> Keep {
        Keep { bytes: 256 << 20, entries: 1 << 20 }
    }
}

/// Follows what is applied and says where to cut.
#[derive(Clone, Debug)]
pub struct Retention {
    keep: Keep,
    /// Bytes applied in this run of the process.
    bytes: u64,
    applied: Index,
    mark: Index,
    /// `(index, bytes up to it)`, ascending. What was there at the start counts nothing: its size is not known, and it goes first.
    samples: VecDeque<(Index, u64)>,
}

impl Retention {
    pub fn new(keep: Keep, mark: Index, applied: Index) -> Retention {
        Retention { keep, bytes: 0, applied, mark, samples: VecDeque::from([(applied, 0)]) }
    }

    pub fn applied(&mut self, index: Index, bytes: usize) {
        self.bytes += bytes as u64;
        self.applied = index;
        let (at, sampled) = self.samples.back().copied().unwrap_or((0, 0));
        let (bytes_step, entries_step) = (self.keep.bytes / STEP_DIVISOR, self.keep.entries / STEP_DIVISOR);
        if self.bytes - sampled >= bytes_step || index - at >= entries_step {
            self.samples.push_back((index, self.bytes));
            if self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
    }

    /// The last position before which nothing has to be kept, if it is far enough from the mark.
    pub fn target(&self) -> Option<Index> {
        let dispensable =
            |(index, bytes): &&(Index, u64)| self.bytes - bytes >= self.keep.bytes || self.applied - index >= self.keep.entries;
        let target = self.samples.iter().rev().find(dispensable).map(|(index, _)| *index);
        target.filter(|index| *index > self.mark)
    }

    pub fn cut(&mut self, mark: Index) {
        self.mark = mark;
        while self.samples.len() > 1 && self.samples[0].0 < mark {
            self.samples.pop_front();
        }
    }

    /// Everything up to `mark` came as a snapshot.
    pub fn restart_at(&mut self, mark: Index) {
        *self = Retention::new(self.keep, mark, mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_bound_and_at_most_a_step_more() {
        let mut retention = Retention::new(Keep { bytes: 8_000, entries: u64::MAX }, 0, 0);
        let mut mark = 0;
        for index in 1..=1_000 {
            retention.applied(index, 100);
            if let Some(target) = retention.target() {
                assert!(index - target >= 80, "{index} {target}");
                retention.cut(target);
                mark = target;
            }
            assert!(index - mark <= 80 + 2 * 10, "{index} {mark}");
        }
        assert!(mark > 800);
    }

    #[test]
    fn small_entries_are_bounded_by_their_number() {
        let mut retention = Retention::new(Keep { bytes: u64::MAX, entries: 80 }, 0, 0);
        for index in 1..=100 {
            retention.applied(index, 0);
        }
        assert_eq!(retention.target(), Some(20));
    }

    #[test]
    fn what_was_there_at_the_start_goes_first() {
        let mut retention = Retention::new(Keep { bytes: 1_000, entries: u64::MAX }, 5, 500);
        assert_eq!(retention.target(), None);
        retention.applied(501, 1_000);
        assert_eq!(retention.target(), Some(500));
        retention.cut(500);
        assert_eq!(retention.target(), None);
    }
}
