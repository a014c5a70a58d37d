//! Whether the cluster goes on serving while one node is stopped. Pure.
//!
//! The client judges by what every node says of itself, so that no single one needs to be believed. "Yes" means more than that a quorum is
//! left: whoever asks is about to take a node away on purpose, and one more may fail meanwhile for any other reason.
//! - A leader answers, and every other voter answers, has been heard by it lately, is not suspect and holds nearly all that is committed.
//! - All of them know the same membership, and no change of it is under way or waits for a learner.
//! - In each half the others are a quorum.
//!
//! A node that is not counted may be stopped whenever no change waits for it.

use std::collections::{BTreeMap, BTreeSet};

use proto::v1::StatusResponse;

use crate::goal::is_joint;
use crate::survey::Survey;
use crate::view::{ClusterView, Intent, LAG_ENTRIES, MemberView, Standing, halves, quorum};

/// Why `node_id` must not be stopped now, each a sentence for people; empty if it may.
pub fn objections(survey: &Survey, node_id: u64) -> Vec<String> {
    let view = ClusterView::of(survey);
    let Some(leader) = view.leader() else { return vec!["no leader answers".into()] };
    let mut why = change_under_way(&view, survey);
    let counted = view.member(node_id).is_some_and(|member| member.voter);
    if !counted {
        return why;
    }
    let others = || view.voters().filter(|voter| voter.node_id != node_id);
    why.extend(others().filter_map(|voter| unfit(voter, leader)));
    why.extend(others().filter(|voter| !agrees(voter, leader)).map(|voter| {
        let (voter, leader) = (&voter.label, &leader.label);
        format!("{voter} knows another membership than the leader {leader}")
    }));
    for half in halves(&view.members) {
        let left = half.iter().filter(|voter| voter.node_id != node_id).count();
        if left < quorum(half.len()) {
            why.push(format!("{left} of {} voters would be left, a quorum needs {}", half.len(), quorum(half.len())));
        }
    }
    why
}

fn change_under_way(view: &ClusterView, survey: &Survey) -> Vec<String> {
    let members = survey.answers.iter().filter(|(_, status)| view.member(status.node_id).is_some());
    let told: BTreeSet<&str> = members.map(|(_, status)| status.membership_change.as_str()).filter(|change| !change.is_empty()).collect();
    let mut why: Vec<String> = told.into_iter().map(|change| format!("the membership is being changed: {change}")).collect();
    if why.is_empty() && is_joint(view) {
        why.push("the membership is being changed".into());
    }
    let waiting = view.members.iter().filter(|member| matches!(member.standing, Standing::Learner(Intent::Promote | Intent::Replace(_))));
    why.extend(waiting.map(|learner| format!("{} is about to become a voter", learner.label)));
    why
}

/// What speaks against relying on this voter.
fn unfit(voter: &MemberView, leader: &MemberView) -> Option<String> {
    let label = &voter.label;
    let Some(status) = &voter.status else { return Some(format!("{label} does not answer")) };
    if let Some(why) = voter.suspect() {
        return Some(format!("{label} is suspect: {why}"));
    }
    if !status.alarm.is_empty() {
        return Some(format!("{label} raises an alarm: {}", status.alarm));
    }
    if voter.node_id != leader.node_id && !voter.heard_lately() {
        return Some(format!("the leader {} has not heard {label} lately", leader.label));
    }
    let committed = leader.status.as_ref().map_or(0, |status| status.commit_index);
    let lag = committed.saturating_sub(status.durable_index);
    (lag > LAG_ENTRIES).then(|| format!("{label} is {lag} entries behind"))
}

fn agrees(voter: &MemberView, leader: &MemberView) -> bool {
    match (&voter.status, &leader.status) {
        (Some(voter), Some(leader)) => membership(voter) == membership(leader),
        _ => true,
    }
}

/// What each member is, and whether it is of the old half.
fn membership(status: &StatusResponse) -> BTreeMap<u64, (Standing, bool)> {
    status.members.iter().map(|member| (member.node_id, (Standing::of(member), member.outgoing_voter))).collect()
}

#[cfg(test)]
mod tests {
    use proto::v1::{LearnerIntent, Member, MemberKind, Role};

    use super::*;

    /// Nodes pi1 to pi`voters`, led by pi1, all well.
    fn all_well(voters: u64) -> Survey {
        let member = |node_id| Member {
            node_id,
            name: format!("pi{node_id}"),
            voter: true,
            kind: MemberKind::Voter.into(),
            last_contact_ms: Some(40),
            ..Member::default()
        };
        let status = |node_id| StatusResponse {
            node_id,
            name: format!("pi{node_id}"),
            cluster_id: vec![7; 16].into(),
            role: if node_id == 1 { Role::Leader } else { Role::Follower }.into(),
            leader_id: 1,
            term: 3,
            last_index: 5_000,
            durable_index: 5_000,
            commit_index: 5_000,
            members: (1..=voters).map(member).collect(),
            ..StatusResponse::default()
        };
        let answers = (1..=voters).map(|node_id| (format!("pi{node_id}").parse().unwrap(), status(node_id)));
        Survey { answers: answers.collect(), silent: Vec::new() }
    }

    /// The words of node `n`.
    fn of(survey: &mut Survey, n: usize) -> &mut StatusResponse {
        &mut survey.answers[n - 1].1
    }

    fn everybody(survey: &mut Survey, mut change: impl FnMut(&mut StatusResponse)) {
        survey.answers.iter_mut().for_each(|(_, status)| change(status));
    }

    fn learner(node_id: u64, intent: LearnerIntent) -> Member {
        let kind = MemberKind::Learner.into();
        Member { node_id, name: format!("pi{node_id}"), kind, intent: intent.into(), ..Member::default() }
    }

    #[test]
    fn any_node_of_three_that_are_well_may_be_stopped_the_leader_too() {
        for node_id in 1..=3 {
            assert_eq!(objections(&all_well(3), node_id), [""; 0], "pi{node_id}");
        }
    }

    #[test]
    fn one_or_two_voters_have_none_to_spare() {
        assert_eq!(objections(&all_well(1), 1), ["0 of 1 voters would be left, a quorum needs 1"]);
        assert_eq!(objections(&all_well(2), 2), ["1 of 2 voters would be left, a quorum needs 2"]);
    }

    #[test]
    fn each_trouble_of_another_voter_forbids_it() {
        type Trouble = fn(&mut Survey);
        let table: [(Trouble, &str); 9] = [
            (|all| drop(all.answers.pop()), "pi3 does not answer"),
            (|all| of(all, 3).suspect = "its log ends at 7".into(), "pi3 is suspect: its log ends at 7"),
            (|all| of(all, 3).alarm = "its state differs".into(), "pi3 raises an alarm: its state differs"),
            (|all| of(all, 1).members[2].last_contact_ms = Some(9_000), "the leader pi1 has not heard pi3 lately"),
            (|all| of(all, 1).members[2].last_contact_ms = None, "the leader pi1 has not heard pi3 lately"),
            (|all| of(all, 3).durable_index = 3_999, "pi3 is 1001 entries behind"),
            (|all| drop(of(all, 3).members.pop()), "pi3 knows another membership than the leader pi1"),
            (|all| of(all, 3).membership_change = "pi4 becomes a voter".into(), "the membership is being changed: pi4 becomes a voter"),
            (|all| everybody(all, |status| status.role = Role::Follower.into()), "no leader answers"),
        ];
        for (trouble, why) in table {
            let mut survey = all_well(3);
            trouble(&mut survey);
            assert_eq!(objections(&survey, 2), [why]);
        }
    }

    #[test]
    fn a_thousand_entries_behind_is_up_to_date_on_a_busy_day() {
        let mut survey = all_well(3);
        of(&mut survey, 3).durable_index = 4_000;
        assert_eq!(objections(&survey, 2), [""; 0]);
    }

    #[test]
    fn what_is_wrong_with_the_node_itself_speaks_for_stopping_it() {
        let mut survey = all_well(3);
        of(&mut survey, 2).suspect = "forgot".into();
        assert_eq!(objections(&survey, 2), [""; 0]);
        survey.answers.remove(1);
        assert_eq!(objections(&survey, 2), [""; 0]);
    }

    #[test]
    fn five_voters_of_which_one_is_down_have_none_to_spare_on_purpose() {
        let mut survey = all_well(5);
        survey.answers.pop();
        assert_eq!(objections(&survey, 2), ["pi5 does not answer"]);
    }

    #[test]
    fn a_learner_that_is_to_become_a_voter_forbids_it_one_that_stays_does_not() {
        for (intent, why) in [
            (LearnerIntent::Stay, &[][..]),
            (LearnerIntent::Promote, &["pi9 is about to become a voter"]),
            (LearnerIntent::Replace, &["pi9 is about to become a voter"]),
        ] {
            let mut survey = all_well(3);
            everybody(&mut survey, |status| status.members.push(learner(9, intent)));
            assert_eq!(objections(&survey, 2), why);
            assert_eq!(objections(&survey, 9), why);
        }
    }

    #[test]
    fn while_voters_are_changed_nobody_may_be_stopped() {
        let mut survey = all_well(4);
        everybody(&mut survey, |status| status.members.iter_mut().take(3).for_each(|member| member.outgoing_voter = true));
        assert_eq!(objections(&survey, 2), ["the membership is being changed"]);
    }

    #[test]
    fn a_learner_may_be_stopped_also_while_a_voter_is_down() {
        let mut survey = all_well(3);
        everybody(&mut survey, |status| status.members.push(learner(9, LearnerIntent::Stay)));
        survey.answers.pop();
        assert_eq!(objections(&survey, 9), [""; 0]);
    }

    #[test]
    fn nobody_answers() {
        assert_eq!(objections(&Survey::default(), 1), ["no leader answers"]);
    }
}
