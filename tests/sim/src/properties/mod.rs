//! What must hold, whatever goes wrong. One file each.
//!
//! A property is shown what an event changed and looks at nothing else; the world asks for a full recount now and then. What properties know in
//! common of the committed log is in [`Ledger`], which no crash reaches.

mod acked_is_durable;
mod blobs_are_held;
mod committed_is_immutable;
mod durable_on_a_quorum;
mod election_safety;
mod exactly_once;
mod honest_disks;
mod leader_append_only;
mod leader_completeness;
mod ledger;
mod linearizability;
mod log_matching;
mod monotonic;
mod one_cluster;
mod quorum_overlap;
mod state_machine_safety;
mod tokens;

pub use blobs_are_held::BlobsAreHeld;
pub use committed_is_immutable::CommittedIsImmutable;
pub use durable_on_a_quorum::DurableOnAQuorum;
pub use election_safety::ElectionSafety;
pub use exactly_once::ExactlyOnce;
pub use ledger::{Committed, Ledger, digest};
pub use linearizability::Linearizability;
pub use log_matching::LogMatching;
pub use monotonic::Monotonic;
pub use one_cluster::OneCluster;
pub use state_machine_safety::StateMachineSafety;
pub use tokens::Tokens;
pub use {
    acked_is_durable::{Acked, acked_is_durable},
    honest_disks::{speaks, suspected},
    leader_append_only::leader_append_only,
    leader_completeness::LeaderCompleteness,
    quorum_overlap::{caught_up, in_force, quorum_overlap},
};

use std::fmt;

/// Names what was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    DurableOnAQuorum,
    CommittedIsImmutable,
    AckedIsDurable,
    Monotonic,
    QuorumOverlap,
    OneCluster,
    ExactlyOnce,
    Linearizability,
    /// Whoever forgot is suspect, and nobody else.
    HonestDisks,
    BlobsAreHeld,
    /// With a majority healed, the cluster elects, commits, serves, and all members agree.
    Liveness,
    /// The asserts of the code itself.
    Asserts,
}

pub const ALL: [Property; 17] = [
    Property::ElectionSafety,
    Property::LeaderAppendOnly,
    Property::LogMatching,
    Property::LeaderCompleteness,
    Property::StateMachineSafety,
    Property::DurableOnAQuorum,
    Property::CommittedIsImmutable,
    Property::AckedIsDurable,
    Property::Monotonic,
    Property::QuorumOverlap,
    Property::OneCluster,
    Property::ExactlyOnce,
    Property::Linearizability,
    Property::HonestDisks,
    Property::BlobsAreHeld,
    Property::Liveness,
    Property::Asserts,
];

/// How often each property was put to the test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks([u64; ALL.len()]);

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub property: Property,
    pub what: String,
}

pub type Verdict = Result<(), Broken>;

impl Property {
    /// Fails with `what` unless `holds`.
    pub fn holds(self, holds: bool, what: impl FnOnce() -> String) -> Verdict {
        if holds { Ok(()) } else { Err(self.broken(what())) }
    }

    pub fn broken(self, what: impl Into<String>) -> Broken {
        Broken { property: self, what: what.into() }
    }
}

impl Checks {
    pub fn note(&mut self, property: Property) {
        self.0[property as usize] += 1;
    }

    pub fn of(&self, property: Property) -> u64 {
        self.0[property as usize]
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.what)
    }
}
