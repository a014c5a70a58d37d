//! Bugs on purpose, one at a time, so that simulations can prove that they would find them.
//!
//! Chosen at run time and per thread, in builds with the feature `planted` only; all others compile the questions away. One list for
//! all crates, as a simulation plants one bug in one member's whole stack.

/// Mistakes that implementations of this protocol have made, or could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A vote leaves before it is on the disk.
    VoteBeforeSync,
    /// Everything of a new term leaves before the term is on the disk.
    TermBeforeSync,
    /// A candidate counts its own vote before it is on the disk.
    OwnVoteBeforeSync,
    /// A restart forgets the vote.
    RestartWithoutVote,
    /// A leader commits an earlier term's entry by counting.
    PriorTermByCounting,
    /// An append that is late cuts off what newer ones added.
    StaleAppendTruncates,
    /// An acknowledgement covers what is not on the disk.
    AckBeyondDurable,
    /// An acknowledgement covers what was never compared with the leader's log.
    AckBeyondMatched,
    /// A leader counts itself before its own sync.
    LeaderCountsUnsynced,
    /// A truncation leaves the durable index where it was.
    TruncationKeepsDurable,
    /// The completion of a write counts for what was written over it since.
    AbaCompletion,
    /// The middle of an even number is taken for a majority.
    StaleQuorumOrder,
    /// A follower takes the leader's commit index for its own log.
    CommitBeyondMatched,
    /// Entries are applied before they are durable here.
    ApplyBeyondDurable,
    /// Reads are confirmed before the leader knows what is committed.
    ReadIndexBeforeNoop,
    /// A read joins a round that was asked before it came.
    ReadJoinsOpenRound,
    /// Answers to an earlier boot's reads count.
    ReusedReadId,
    /// A leader answers reads without asking anybody.
    ReadWithoutRound,
    /// A change of voters is made in one step.
    SingleStepMembership,
    /// A configuration is in force only when committed.
    ConfigOnCommit,
    /// In a joint phase the new voters decide alone.
    JointNeedsOnlyNew,
    /// A learner becomes a voter whatever it holds.
    LearnerPromotedEarly,
    /// A joint phase is left although the new voters lack blobs.
    JointLeftUnwhole,
    /// A hand-over begins before the heir has everything.
    StaleHeir,
    /// Installing a snapshot drops the entries behind it.
    SnapshotCutsNewer,
    /// Installing a snapshot makes the vote free again.
    SnapshotClearsVote,
    /// Installing a snapshot keeps the old configuration.
    SnapshotWithoutMembership,
    /// The configuration at start comes from the state alone.
    MembershipFromState,
    /// The log is cut where the state stands, flushed or not.
    CutBehindUnflushed,
    /// A flush saves the applied position without its data.
    AppliedNotAtomic,
    /// A write sent again is executed again.
    RetryAppliedTwice,
    /// Forgetting a session leaves the floor where it was.
    SessionFloorForgotten,
    /// A member whose disk forgot what it had acknowledged is counted on.
    SuspectCounted,
    /// The anchor is raised before the sync that it tells of.
    AnchorBeforeSync,
    /// A blob is admitted to before its name is on the disk.
    DirectoryNotSynced,
    /// What a killed process left in the page cache is taken for durable.
    FoundTakenForDurable,
    /// A manifest enters the log before a quorum has the blob.
    ManifestBeforeQuorum,
    /// The word for a blob counts although a collection came since.
    OldHaveCounted,
    /// Blobs are unlinked before the state that dropped them is flushed.
    UnlinkBeforeFlush,
    /// A node promises a second cluster.
    SecondPromise,
    /// A promise is told before it is on the disk.
    PromiseNotDurable,
    /// Nothing is wrong; whoever says so checks nothing.
    Canary,
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// From now on this thread's members make this mistake, or none.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }

    pub fn is_planted(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use chosen::{is_planted, plant};

/// Never, in this build.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is_planted(_: Bug) -> bool {
    false
}
