//! Where in the segments the log's entries are.
//!
//! Invariants:
//! - places ascend in their first index, and in a run, from one place to the next, frames follow each other in one segment and
//!   entries in the log: no truncation lies inside;
//! - their number is bounded by the log's bytes, not by its entries: a run goes on for 64 KiB.

use raft::Index;

const RUN_BYTES: u64 = 64 << 10;

/// A frame whose entries start at `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub first: Index,
    /// The segment's first sequence number.
    pub segment: u64,
    pub offset: u64,
    /// Of the frame.
    pub sequence: u64,
}

/// Entries that are read from one place on, up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub place: Place,
    pub last: Index,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    /// The next entries do not follow the last run's in the file.
    broken: bool,
}

impl Places {
    /// A frame at `place` with `count` entries was appended to a log that ended at `last`: from its first entry on it replaces what was
    /// there.
    pub fn put(&mut self, place: Place, count: usize, last: Index) {
        if place.first <= last {
            self.truncate(place.first - 1);
        }
        if count == 0 {
            return;
        }
        let goes_on = |run: &Place| run.segment == place.segment && place.offset - run.offset < RUN_BYTES;
        if self.broken || !self.places.last().is_some_and(goes_on) {
            self.places.push(place);
            self.broken = false;
        }
    }

    /// Entries behind `keep` are gone.
    pub fn truncate(&mut self, keep: Index) {
        while self.places.last().is_some_and(|place| place.first > keep) {
            self.places.pop();
        }
        self.broken = true;
    }

    /// Entries up to `mark` of a log that ends at `last` are gone.
    pub fn cut(&mut self, mark: Index, last: Index) {
        match last <= mark {
            true => self.places.clear(),
            false => drop(self.places.drain(..self.places.partition_point(|place| place.first <= mark + 1).saturating_sub(1))),
        }
    }

    /// The segment of the first entry, if there is one.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.places.first().map(|place| place.segment)
    }

    /// The runs that hold entries from `first` to `last`, which is not behind the log's end.
    pub fn within(&self, first: Index, last: Index) -> Vec<Run> {
        let begin = self.places.partition_point(|place| place.first <= first).saturating_sub(1);
        let end = self.places.partition_point(|place| place.first <= last).max(begin);
        let ends = self.places.iter().skip(begin + 1).map(|next| (next.first - 1).min(last)).chain([last]);
        self.places[begin..end].iter().zip(ends).map(|(place, last)| Run { place: *place, last }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: Index, segment: u64, offset: u64) -> Place {
        Place { first, segment, offset, sequence: segment + offset }
    }

    fn runs(places: &Places, first: Index, last: Index) -> Vec<(Index, Index)> {
        places.within(first, last).iter().map(|run| (run.place.first, run.last)).collect()
    }

    #[test]
    fn frames_close_together_share_a_place() {
        let mut places = Places::default();
        for number in 0..100 {
            places.put(at(number * 10 + 1, 0, number * 4_096), 10, number * 10);
        }
        assert_eq!(runs(&places, 1, 1_000).len(), (100 * 4_096u64).div_ceil(RUN_BYTES) as usize);
        assert_eq!(runs(&places, 165, 200), [(161, 200)]);
        assert_eq!(runs(&places, 320, 321), [(161, 320), (321, 321)]);
    }

    #[test]
    fn a_truncation_and_a_new_segment_start_anew() {
        let mut places = Places::default();
        places.put(at(1, 0, 0), 5, 0);
        places.put(at(6, 0, 100), 5, 5);
        places.put(at(8, 0, 200), 1, 10);
        places.put(at(9, 9, 0), 1, 8);
        assert_eq!(runs(&places, 1, 9), [(1, 7), (8, 8), (9, 9)]);
        assert_eq!(runs(&places, 8, 9), [(8, 8), (9, 9)]);
        places.put(at(1, 9, 100), 0, 9);
        assert_eq!(runs(&places, 1, 0), []);
    }

    #[test]
    fn a_cut_leaves_the_run_that_holds_the_first_entry_kept() {
        let mut places = Places::default();
        for segment in 0..3 {
            places.put(at(segment * 5 + 1, segment, 0), 5, segment * 5);
        }
        places.cut(4, 15);
        assert_eq!((runs(&places, 5, 15), places.oldest_segment()), (vec![(1, 5), (6, 10), (11, 15)], Some(0)));
        places.cut(5, 15);
        assert_eq!((runs(&places, 6, 15), places.oldest_segment()), (vec![(6, 10), (11, 15)], Some(1)));
        places.cut(15, 15);
        assert_eq!(places.oldest_segment(), None);
    }
}
