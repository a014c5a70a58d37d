//! What came of a run.

use super::{Acts, fault::Fault};
use crate::properties::Checks;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that happened, in order, as one number.
    pub trace: u64,
    /// Messages handled or lost, ends of storage jobs, crashes, faults, client calls.
    pub events: u64,
    pub acts: Acts,
    pub checks: Checks,
    pub answers: Answers,
    /// Entries committed.
    pub committed: u64,
    /// Virtual ticks.
    pub ticks: u64,
}

/// How often each kind of answer was given: a run that never sees one proves nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub written: u64,
    pub condition_false: u64,
    pub expired: u64,
    pub overwritten: u64,
    pub refused: u64,
    pub no_room: u64,
    pub blob_not_held: u64,
    pub unknown: u64,
    pub read: u64,
    pub changed: u64,
    pub transferred: u64,
    pub compacted: u64,
    pub installed: u64,
    pub collected: u64,
    pub suspected: u64,
    pub timed_out: u64,
    /// Changes of whom the cluster trusts.
    pub trusted: u64,
}

impl Report {
    pub fn acted(&self, fault: Fault) -> bool {
        self.acts.of(fault) > 0
    }
}
