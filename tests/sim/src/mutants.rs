//! Bugs on purpose, and which property is to find each.
//!
//! Left out: `AbaCompletion`, `ReusedReadId` and `SnapshotCutsNewer`. What they need comes together in too few seeds; scripts of the core set
//! the scenes for them. Mistakes that a server would make around the replica (the anchor, page cache, flushes, names of blobs) are made by the world itself.

use raft::planted::Bug;

use crate::properties::Property;

#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub bug: Bug,
    /// Any of these must name it.
    pub found_by: &'static [Property],
}

pub const ALL: &[Mutant] = &[
    Mutant { bug: Bug::VoteBeforeSync, found_by: &[Property::AckedIsDurable] },
    Mutant { bug: Bug::TermBeforeSync, found_by: &[Property::AckedIsDurable] },
    Mutant { bug: Bug::OwnVoteBeforeSync, found_by: &[Property::ElectionSafety] },
    Mutant { bug: Bug::RestartWithoutVote, found_by: &[Property::ElectionSafety] },
    Mutant { bug: Bug::PriorTermByCounting, found_by: &[Property::LeaderCompleteness] },
    Mutant { bug: Bug::StaleAppendTruncates, found_by: &[Property::AckedIsDurable, Property::CommittedIsImmutable] },
    Mutant { bug: Bug::AckBeyondDurable, found_by: &[Property::AckedIsDurable] },
    Mutant { bug: Bug::AckBeyondMatched, found_by: &[Property::DurableOnAQuorum] },
    Mutant { bug: Bug::LeaderCountsUnsynced, found_by: &[Property::DurableOnAQuorum] },
    Mutant { bug: Bug::TruncationKeepsDurable, found_by: &[Property::AckedIsDurable] },
    Mutant { bug: Bug::StaleQuorumOrder, found_by: &[Property::DurableOnAQuorum] },
    Mutant { bug: Bug::CommitBeyondMatched, found_by: &[Property::CommittedIsImmutable] },
    Mutant { bug: Bug::ApplyBeyondDurable, found_by: &[Property::StateMachineSafety] },
    Mutant { bug: Bug::ReadIndexBeforeNoop, found_by: &[Property::Linearizability] },
    Mutant { bug: Bug::ReadJoinsOpenRound, found_by: &[Property::Linearizability] },
    Mutant { bug: Bug::ReadWithoutRound, found_by: &[Property::Linearizability] },
    Mutant { bug: Bug::SingleStepMembership, found_by: &[Property::QuorumOverlap] },
    Mutant { bug: Bug::ConfigOnCommit, found_by: &[Property::QuorumOverlap] },
    Mutant { bug: Bug::JointNeedsOnlyNew, found_by: &[Property::DurableOnAQuorum] },
    Mutant { bug: Bug::LearnerPromotedEarly, found_by: &[Property::QuorumOverlap] },
    Mutant { bug: Bug::JointLeftUnwhole, found_by: &[Property::BlobsAreHeld] },
    Mutant { bug: Bug::StaleHeir, found_by: &[Property::LeaderCompleteness] },
    Mutant { bug: Bug::SnapshotClearsVote, found_by: &[Property::ElectionSafety] },
    Mutant { bug: Bug::SnapshotWithoutMembership, found_by: &[Property::QuorumOverlap] },
    Mutant { bug: Bug::MembershipFromState, found_by: &[Property::QuorumOverlap, Property::DurableOnAQuorum] },
    Mutant { bug: Bug::CutBehindUnflushed, found_by: &[Property::HonestDisks] },
    Mutant { bug: Bug::AppliedNotAtomic, found_by: &[Property::StateMachineSafety, Property::ExactlyOnce] },
    Mutant { bug: Bug::RetryAppliedTwice, found_by: &[Property::ExactlyOnce] },
    Mutant { bug: Bug::SessionFloorForgotten, found_by: &[Property::ExactlyOnce] },
    Mutant { bug: Bug::SuspectCounted, found_by: &[Property::HonestDisks] },
    Mutant { bug: Bug::AnchorBeforeSync, found_by: &[Property::HonestDisks] },
    Mutant { bug: Bug::DirectoryNotSynced, found_by: &[Property::BlobsAreHeld] },
    Mutant { bug: Bug::FoundTakenForDurable, found_by: &[Property::AckedIsDurable] },
    Mutant { bug: Bug::ManifestBeforeQuorum, found_by: &[Property::BlobsAreHeld] },
    Mutant { bug: Bug::OldHaveCounted, found_by: &[Property::BlobsAreHeld] },
    Mutant { bug: Bug::UnlinkBeforeFlush, found_by: &[Property::BlobsAreHeld] },
    Mutant { bug: Bug::SecondPromise, found_by: &[Property::OneCluster] },
    Mutant { bug: Bug::PromiseNotDurable, found_by: &[Property::OneCluster] },
    Mutant { bug: Bug::Canary, found_by: &[Property::Linearizability] },
];
