//! Whether a change of the membership has arrived where it was meant to go. Pure.
//!
//! Only a leader that answers is believed: its list is the configuration in force, everybody else's may be old.

use crate::view::{ClusterView, Intent, MemberView, Standing};

/// What the membership is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The node is a member that receives everything.
    Member(u64),
    Voter(u64),
    /// `new` votes, and `old` is no member.
    Replaced {
        old: u64,
        new: u64,
    },
    Gone(u64),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Arrived,
    /// On its way, by itself; for people.
    Going(String),
    /// Nothing that is under way leads there.
    Nowhere,
}

impl Goal {
    pub fn way(self, view: &ClusterView) -> Way {
        if view.leader().is_none() {
            return Way::Going("no leader answers".into());
        }
        let arrived = match self {
            Goal::Member(id) => view.member(id).is_some(),
            Goal::Voter(id) => votes(view, id) && !is_joint(view),
            Goal::Replaced { old, new } => votes(view, new) && view.member(old).is_none(),
            Goal::Gone(id) => view.member(id).is_none(),
        };
        if arrived {
            return Way::Arrived;
        }
        let learner = match self {
            Goal::Voter(id) => view.member(id).filter(|member| member.standing == Standing::Learner(Intent::Promote)),
            Goal::Replaced { old, new } => view.member(new).filter(|member| member.standing == Standing::Learner(Intent::Replace(old))),
            Goal::Member(_) | Goal::Gone(_) => None,
        };
        match learner {
            Some(learner) => Way::Going(catching_up(learner)),
            None if is_joint(view) => Way::Going("old and new voters agree on the change".into()),
            None => Way::Nowhere,
        }
    }
}

/// `pi4 catches up (120 entries to go)`.
pub fn catching_up(learner: &MemberView) -> String {
    let label = &learner.label;
    match (learner.status.is_some() || learner.heard_lately(), learner.snapshot_under_way, learner.lag) {
        (false, ..) => format!("{label} does not answer; it catches up once it does"),
        (_, true, _) => format!("{label} fetches a snapshot"),
        (_, _, Some(0)) => format!("{label} has all entries and fetches large values"),
        (_, _, Some(1)) => format!("{label} catches up (1 entry to go)"),
        (_, _, Some(lag)) => format!("{label} catches up ({lag} entries to go)"),
        (_, _, None) => format!("{label} catches up"),
    }
}

/// Whether old and new voters are counted, each for itself.
pub fn is_joint(view: &ClusterView) -> bool {
    view.members.iter().any(|member| member.outgoing_voter)
}

fn votes(view: &ClusterView, id: u64) -> bool {
    view.member(id).is_some_and(|member| member.standing == Standing::Voter)
}
