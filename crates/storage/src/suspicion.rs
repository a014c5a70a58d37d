//! Whether a disk has forgotten what it once held.
//!
//! No database notices that a synced tail got lost: it opens silently shorter, at an earlier term or without a vote. So what a start
//! finds is held against the anchor, a witness apart from the log, and against the state. Each of these proves that something is
//! missing; a node of which one is true has forgotten what others may count on, and must never again speak under its id.
//!
//! Invariants:
//! - an honest disk never makes a suspect: the anchor is written after the log, tells only of entries that are committed, and the state is
//!   applied only as far as the log is durable;
//! - what was lost behind the anchor goes unseen: that is the window in which this node may have forgotten without knowing.
//!
//! Not looked at here, as those who open the files refuse them: gaps and damage in the log, a missing anchor, a missing generation.

use std::fmt;

use raft::{LogId, NodeId, Term};

use crate::{AnchorRecord, LogImage};

/// What the disk has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Neither an entry nor the mark is where the log once reached.
    LogTooShort { reached: LogId, last: LogId },
    /// A committed entry is another one now.
    OtherEntry { reached: LogId, found: LogId },
    /// The node was in a later term.
    TermTooOld { known: Term, found: Term },
    /// The node has voted in this term, and for somebody else than the log says now.
    VoteForgotten { term: Term, known: NodeId, found: Option<NodeId> },
    /// The state holds what the log no longer does.
    AppliedBeyondLog { applied: LogId, last: LogId },
    /// The state holds another entry than the log does.
    AppliedOtherEntry { applied: LogId, found: LogId },
    /// The log was cut because the state held what came before, and now it does not.
    StateTooOld { applied: LogId, mark: LogId },
}

/// What `anchor` proves against a log and a state, if anything.
pub fn suspicion(anchor: &AnchorRecord, image: &LogImage, applied: LogId) -> Option<Suspicion> {
    let LogImage { hard, mark, last, .. } = image;
    let (known, reached) = (anchor.hard, anchor.reached);
    let forgotten_vote = || known.vote.filter(|vote| known.term == hard.term && hard.vote != Some(*vote));
    if reached.index > last.index {
        Some(Suspicion::LogTooShort { reached, last: *last })
    } else if let Some(found) = contradiction(image, reached) {
        Some(Suspicion::OtherEntry { reached, found })
    } else if hard.term < known.term {
        Some(Suspicion::TermTooOld { known: known.term, found: hard.term })
    } else if let Some(vote) = forgotten_vote() {
        Some(Suspicion::VoteForgotten { term: known.term, known: vote, found: hard.vote })
    } else if applied.index > last.index {
        Some(Suspicion::AppliedBeyondLog { applied, last: *last })
    } else if applied.index < mark.index {
        Some(Suspicion::StateTooOld { applied, mark: *mark })
    } else {
        contradiction(image, applied).map(|found| Suspicion::AppliedOtherEntry { applied, found })
    }
}

/// What the log, which reaches that far, holds in the place of `id`. Before its mark it only tells that terms were no later than the mark's.
fn contradiction(image: &LogImage, id: LogId) -> Option<LogId> {
    let mark = image.mark;
    if id.index < mark.index {
        return (id.term > mark.term).then_some(mark);
    }
    let found = match image.terms.partition_point(|(start, _)| *start <= id.index) {
        _ if id.index == mark.index => mark,
        0 => return None,
        runs => LogId::new(image.terms[runs - 1].1, id.index),
    };
    (found != id).then_some(found)
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suspicion::LogTooShort { reached, last } => write!(f, "the log once held the committed entry {reached} and now ends at {last}"),
            Suspicion::OtherEntry { reached, found } => {
                write!(f, "the log once held the committed entry {reached} and now holds {found} there")
            }
            Suspicion::TermTooOld { known, found } => write!(f, "the node was in term {} and now knows only of term {}", known.0, found.0),
            Suspicion::VoteForgotten { term, known, found: None } => {
                write!(f, "the node voted for {known} in term {} and no longer knows of it", term.0)
            }
            Suspicion::VoteForgotten { term, known, found: Some(found) } => {
                write!(f, "the node voted for {known} in term {}, and now for {found}", term.0)
            }
            Suspicion::AppliedBeyondLog { applied, last } => write!(f, "entry {applied} was applied, and the log now ends at {last}"),
            Suspicion::AppliedOtherEntry { applied, found } => {
                write!(f, "entry {applied} was applied, and the log now holds {found} there")
            }
            Suspicion::StateTooOld { applied, mark } => {
                write!(f, "the log was cut up to {mark}, and the state now ends at {applied}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use raft::HardState;

    use super::*;
    use crate::Formation;

    fn id(index: u64, term: u64) -> LogId {
        LogId::new(Term(term), index)
    }

    /// A log cut at 10@2, with entries of term 2 to 20 and of term 4 to 30; the node is in term 5 and voted for 7.
    fn image() -> LogImage {
        LogImage {
            hard: HardState { term: Term(5), vote: Some(NodeId(7)) },
            mark: id(10, 2),
            generation: 0,
            last: id(30, 4),
            terms: vec![(11, Term(2)), (21, Term(4))],
            tail: vec![],
            memberships: vec![],
            formation: Formation { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None },
        }
    }

    fn anchor(reached: LogId) -> AnchorRecord {
        AnchorRecord { cluster_id: None, node: NodeId(1), hard: image().hard, reached }
    }

    fn with_hard(term: u64, vote: Option<u64>) -> AnchorRecord {
        AnchorRecord { hard: HardState { term: Term(term), vote: vote.map(NodeId) }, ..anchor(id(30, 4)) }
    }

    fn assert_says(suspicion: Option<Suspicion>, expected: Suspicion, text: &str) {
        assert_eq!(suspicion, Some(expected));
        assert_eq!(expected.to_string(), text);
    }

    #[test]
    fn an_honest_disk_is_never_suspect() {
        let reached = [LogId::ZERO, id(3, 1), id(10, 2), id(11, 2), id(20, 2), id(21, 4), id(30, 4)];
        for (reached, applied) in reached.iter().flat_map(|reached| [id(10, 2), id(15, 2), id(30, 4)].map(|applied| (*reached, applied))) {
            assert_eq!(suspicion(&anchor(reached), &image(), applied), None, "anchor at {reached}, applied {applied}");
        }
        for behind in [with_hard(5, None), with_hard(4, Some(9)), with_hard(0, None)] {
            assert_eq!(suspicion(&behind, &image(), id(30, 4)), None, "{behind:?}");
        }
        let blank = LogImage { hard: HardState::default(), mark: LogId::ZERO, last: LogId::ZERO, terms: vec![], ..image() };
        assert_eq!(suspicion(&AnchorRecord::blank(NodeId(1)), &blank, LogId::ZERO), None);
    }

    #[test]
    fn a_log_that_was_replaced_by_a_snapshot_is_honest() {
        let installed = LogImage { last: id(50, 5), mark: id(50, 5), terms: vec![], generation: 1, ..image() };
        for reached in [id(30, 4), id(50, 5)] {
            assert_eq!(suspicion(&anchor(reached), &installed, id(50, 5)), None);
        }
    }

    #[test]
    fn a_log_that_ends_before_its_anchor_is_suspect() {
        let (reached, last) = (id(31, 4), id(30, 4));
        let text = "the log once held the committed entry 31@4 and now ends at 30@4";
        assert_says(suspicion(&anchor(reached), &image(), id(10, 2)), Suspicion::LogTooShort { reached, last }, text);
        let empty = LogImage { last: id(10, 2), terms: vec![], ..image() };
        let suspect = suspicion(&anchor(id(11, 2)), &empty, id(10, 2));
        assert_eq!(suspect, Some(Suspicion::LogTooShort { reached: id(11, 2), last: id(10, 2) }), "the mark does not reach it either");
    }

    #[test]
    fn another_entry_where_a_committed_one_was_is_suspect() {
        let found = id(20, 2);
        let text = "the log once held the committed entry 20@3 and now holds 20@2 there";
        assert_says(suspicion(&anchor(id(20, 3)), &image(), id(10, 2)), Suspicion::OtherEntry { reached: id(20, 3), found }, text);
        for (reached, found) in [(id(30, 5), id(30, 4)), (id(30, 2), id(30, 4)), (id(10, 1), id(10, 2)), (id(9, 3), id(10, 2))] {
            assert_eq!(suspicion(&anchor(reached), &image(), id(10, 2)), Some(Suspicion::OtherEntry { reached, found }));
        }
    }

    #[test]
    fn a_term_gone_back_is_suspect() {
        let expected = Suspicion::TermTooOld { known: Term(6), found: Term(5) };
        let text = "the node was in term 6 and now knows only of term 5";
        assert_says(suspicion(&with_hard(6, None), &image(), id(30, 4)), expected, text);
    }

    #[test]
    fn a_vote_that_is_gone_or_another_is_suspect() {
        let other = Suspicion::VoteForgotten { term: Term(5), known: NodeId(8), found: Some(NodeId(7)) };
        assert_eq!(suspicion(&with_hard(5, Some(8)), &image(), id(30, 4)), Some(other));
        assert!(other.to_string().contains("in term 5, and now for"), "{other}");
        let silent = LogImage { hard: HardState { term: Term(5), vote: None }, ..image() };
        let gone = Suspicion::VoteForgotten { term: Term(5), known: NodeId(8), found: None };
        assert_eq!(suspicion(&with_hard(5, Some(8)), &silent, id(30, 4)), Some(gone));
        assert!(gone.to_string().contains("no longer knows of it"), "{gone}");
    }

    #[test]
    fn a_state_that_is_ahead_of_the_log_is_suspect() {
        let (applied, last) = (id(31, 4), id(30, 4));
        let text = "entry 31@4 was applied, and the log now ends at 30@4";
        assert_says(suspicion(&anchor(id(30, 4)), &image(), applied), Suspicion::AppliedBeyondLog { applied, last }, text);
        let (applied, found) = (id(25, 3), id(25, 4));
        let text = "entry 25@3 was applied, and the log now holds 25@4 there";
        assert_says(suspicion(&anchor(id(30, 4)), &image(), applied), Suspicion::AppliedOtherEntry { applied, found }, text);
    }

    #[test]
    fn a_state_that_lacks_what_the_log_was_cut_by_is_suspect() {
        let text = "the log was cut up to 10@2, and the state now ends at 9@2";
        let expected = Suspicion::StateTooOld { applied: id(9, 2), mark: id(10, 2) };
        assert_says(suspicion(&anchor(id(30, 4)), &image(), id(9, 2)), expected, text);
    }
}
