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
            Goal::Voter(id) => view.member(id).filter(|member| will_vote(member)),
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

fn will_vote(member: &MemberView) -> bool {
    matches!(member.standing, Standing::Learner(Intent::Promote | Intent::Replace(_)))
}

fn votes(view: &ClusterView, id: u64) -> bool {
    view.member(id).is_some_and(|member| member.standing == Standing::Voter)
}

#[cfg(test)]
mod tests {
    use proto::v1::{LearnerIntent, Member, MemberKind, Role, StatusResponse};

    use super::*;
    use crate::survey::Survey;

    /// As the leader pi1 tells it.
    fn view(members: Vec<Member>) -> ClusterView {
        let status = StatusResponse {
            node_id: 1,
            cluster_id: vec![7; 16].into(),
            role: Role::Leader.into(),
            leader_id: 1,
            members,
            ..StatusResponse::default()
        };
        ClusterView::of(&Survey { answers: vec![("pi1".parse().unwrap(), status)], silent: Vec::new() })
    }

    fn voter(node_id: u64) -> Member {
        let kind = MemberKind::Voter.into();
        Member { node_id, name: format!("pi{node_id}"), voter: true, kind, last_contact_ms: Some(0), ..Member::default() }
    }

    fn learner(node_id: u64, intent: LearnerIntent, replaces: u64) -> Member {
        let kind = MemberKind::Learner.into();
        Member { kind, voter: false, intent: intent.into(), replaces, lag: Some(120), ..voter(node_id) }
    }

    fn old_half(member: Member) -> Member {
        Member { outgoing_voter: true, ..member }
    }

    #[test]
    fn an_addition_has_arrived_when_the_node_votes_and_nobody_else_is_asked_any_more() {
        let goal = Goal::Voter(4);
        assert_eq!(goal.way(&view(vec![voter(1)])), Way::Nowhere);
        assert_eq!(goal.way(&view(vec![voter(1), learner(4, LearnerIntent::Stay, 0)])), Way::Nowhere);
        let going = goal.way(&view(vec![voter(1), learner(4, LearnerIntent::Promote, 0)]));
        assert_eq!(going, Way::Going("pi4 catches up (120 entries to go)".into()));
        assert!(matches!(goal.way(&view(vec![old_half(voter(1)), voter(4)])), Way::Going(_)));
        assert_eq!(goal.way(&view(vec![voter(1), voter(4)])), Way::Arrived);
    }

    #[test]
    fn a_replacement_has_arrived_when_the_old_one_is_gone() {
        let goal = Goal::Replaced { old: 2, new: 4 };
        assert!(matches!(goal.way(&view(vec![voter(1), voter(2), learner(4, LearnerIntent::Replace, 2)])), Way::Going(_)));
        assert_eq!(goal.way(&view(vec![voter(1), voter(2), learner(4, LearnerIntent::Replace, 1)])), Way::Nowhere);
        let leaving = Member { kind: MemberKind::Outgoing.into(), ..old_half(voter(2)) };
        assert!(matches!(goal.way(&view(vec![old_half(voter(1)), leaving, voter(4)])), Way::Going(_)));
        assert_eq!(goal.way(&view(vec![voter(1), voter(4)])), Way::Arrived);
    }

    #[test]
    fn who_is_not_the_leader_proves_nothing() {
        assert!(matches!(Goal::Gone(4).way(&ClusterView::of(&Survey::default())), Way::Going(_)));
        assert_eq!(Goal::Gone(4).way(&view(vec![voter(1)])), Way::Arrived);
    }

    #[test]
    fn a_learner_says_what_it_lacks() {
        let text = |change: fn(&mut Member)| {
            let mut learner = learner(4, LearnerIntent::Promote, 0);
            change(&mut learner);
            catching_up(view(vec![voter(1), learner]).member(4).unwrap())
        };
        assert_eq!(text(|learner| learner.snapshot_under_way = true), "pi4 fetches a snapshot");
        assert_eq!(text(|learner| learner.lag = Some(0)), "pi4 has all entries and fetches large values");
        assert_eq!(text(|learner| learner.last_contact_ms = None), "pi4 does not answer; it catches up once it does");
    }
}
