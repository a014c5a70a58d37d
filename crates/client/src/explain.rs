//! Words for failure: what was tried, what was found, what to do. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use discovery::Peer;
use proto::v1::Reason;

use crate::error::{Error, Kind};
use crate::fault::Fault;
use crate::pool::Miss;
use crate::survey::Survey;
use crate::view::{ClusterView, quorum};

/// Most addresses named in one message.
const NAMED: usize = 8;

const LOG_IN: &str = "log in with a token: `rusty-kv login TOKEN`; on one of the cluster's boards `rusty-kv token new --client` makes one";

/// What a request was about, for the words of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Data,
    /// The membership, or who leads.
    Operation,
}

/// The error of a request that no node executed in `elapsed`.
pub fn gave_up(misses: &BTreeMap<Peer, Miss>, survey: &Survey, elapsed: Duration) -> Error {
    let view = ClusterView::of(survey);
    let seconds = format!("{:.1} s", elapsed.as_secs_f32());
    if survey.answers.is_empty() {
        return nobody(misses, &format!(" after {seconds}"));
    }
    let not_executed = |message: String, next: &str| Error::new(Kind::NotExecuted, message, next);
    if let Some(trouble) = trouble(&view) {
        return not_executed(format!("{} (tried for {seconds})", trouble.found), &trouble.next).because(trouble.reason);
    }
    let refusal = misses.iter().find_map(|(peer, miss)| match miss {
        Miss::Refused(reason, text) if *reason != Reason::NotLeader => Some((peer, *reason, text)),
        _ => None,
    });
    match refusal {
        Some((peer, reason, text)) => {
            not_executed(format!("gave up after {seconds}: {peer}: {text}"), next_step(Kind::NotExecuted, reason)).because(reason)
        }
        None => not_executed(
            format!("gave up after {seconds}: {}", list(misses)),
            "try again; `rusty-kv status` shows the state of the cluster",
        ),
    }
}

/// The error of a request that was sent to `peer` and may have been executed.
pub fn unknown(errand: Errand, peer: &Peer, fault: &Fault, survey: &Survey) -> Error {
    let (what, read_first) = match errand {
        Errand::Data => ("write", next_step(Kind::Unknown, fault.reason)),
        Errand::Operation => ("request", "look at `rusty-kv member list`; asking for the same once more does no harm"),
    };
    let sent = format!("{peer}: the {what} was sent, but its outcome is unknown: {}", fault.message);
    let (message, next) = match trouble(&ClusterView::of(survey)) {
        Some(trouble) => (format!("{sent}; {}", trouble.found), format!("{read_first}; {}", trouble.next)),
        None => (sent, read_first.to_string()),
    };
    Error::new(Kind::Unknown, message, next).because(fault.reason)
}

/// What keeps a cluster from serving.
struct Trouble {
    found: String,
    next: String,
    reason: Reason,
}

fn trouble(view: &ClusterView) -> Option<Trouble> {
    let voters: Vec<_> = view.voters().collect();
    let silent: Vec<&str> = voters.iter().filter(|voter| voter.status.is_none()).map(|voter| voter.label.as_str()).collect();
    let (all, answering) = (voters.len(), voters.len() - silent.len());
    if all == 0 {
        let waits: Vec<&str> = view.waits.iter().map(|wait| wait.text.as_str()).collect();
        let waits = if waits.is_empty() { String::new() } else { format!(": {}", waits.join("; ")) };
        let found = format!("no cluster is formed yet{waits}");
        return Some(Trouble { found, next: "start the nodes that are awaited".into(), reason: Reason::Unformed });
    }
    let found = format!("found {all} node{}, {answering} answer{}", plural(all), if answering == 1 { "s" } else { "" });
    if answering < quorum(all) {
        let next = format!("check power and network of {}", silent.join(", "));
        return Some(Trouble { found: format!("{found}; a quorum needs {}", quorum(all)), next, reason: Reason::NoLeader });
    }
    if view.leader_id.is_none() {
        let next = "try again; `rusty-kv status` shows what the nodes wait for".into();
        return Some(Trouble { found: format!("{found}, but no leader is elected"), next, reason: Reason::NoLeader });
    }
    None
}

/// The error of what only a leader can tell or do, if none was found in `elapsed`.
pub fn no_leader(survey: &Survey, elapsed: Duration) -> Error {
    if survey.answers.is_empty() {
        return nobody_at(survey);
    }
    let (found, next, reason) = match trouble(&ClusterView::of(survey)) {
        Some(trouble) => (trouble.found, trouble.next, trouble.reason),
        None => ("the leader does not answer here".into(), "name its address with --addr".into(), Reason::NoLeader),
    };
    Error::new(Kind::NotExecuted, format!("{found} (tried for {:.1} s)", elapsed.as_secs_f32()), next).because(reason)
}

/// The error if nobody answered at all, the first time round.
pub fn nobody_at(survey: &Survey) -> Error {
    let misses: BTreeMap<Peer, Miss> = survey.silent.iter().cloned().collect();
    all_foreign(&misses).unwrap_or_else(|| nobody(&misses, ""))
}

/// The error if only strangers answer, which no patience changes.
pub fn all_foreign(misses: &BTreeMap<Peer, Miss>) -> Option<Error> {
    let reason = |miss: &Miss| if let Miss::Foreign(reason, _) = miss { Some(*reason) } else { None };
    let reasons: Option<Vec<Reason>> = misses.values().map(reason).collect();
    let reason = *reasons?.first()?;
    let next = match reason {
        Reason::OtherCluster => "name the other cluster with --cluster, or an address of the one you mean with --addr",
        Reason::Permission => LOG_IN,
        _ => "check the port (the default is 50051), and that client and node have the same version",
    };
    Some(Error::new(Kind::Rejected, list(misses), next).because(reason))
}

/// What to do about a refusal.
pub fn next_step(kind: Kind, reason: Reason) -> &'static str {
    if kind == Kind::Unknown {
        return "it may take effect now, later or never: read the key before writing again";
    }
    match reason {
        Reason::NoRoom => "delete values that are not needed, or free disk space on the nodes; `rusty-kv status` names them",
        Reason::Overloaded => "try again with fewer requests at a time",
        Reason::TooSlow => "try again over a faster connection",
        Reason::BlobMissing => "start the nodes that are down: one of them may hold the value",
        Reason::KeySize => "a key has 1 to 4096 bytes",
        Reason::ProtocolVersion => "install the same version on client and nodes",
        Reason::Busy => "wait until it is done (`rusty-kv member list` shows it), then try again",
        Reason::NotAMember | Reason::UnknownNode => "`rusty-kv member list` shows the members and the nodes that could become one",
        Reason::LastVoter => "add another voter first",
        Reason::WouldLoseQuorum => "start the members that do not answer, or replace them one by one (rusty-kv member replace OLD NEW)",
        Reason::Removed => "start that node with an empty data directory: it then has a new id",
        Reason::NotCaughtUp => "try again once it has caught up; `rusty-kv member list` shows its lag",
        Reason::HashMismatch | Reason::Truncated => "the bytes changed on their way or while they were read: try again",
        _ if kind == Kind::NotExecuted => "try again",
        _ => "",
    }
}

fn nobody(misses: &BTreeMap<Peer, Miss>, after: &str) -> Error {
    let next = "check that rusty-kvd runs there (systemctl status rusty-kvd), or name another node with --addr";
    Error::new(Kind::NotExecuted, format!("no node answers{after}: {}", list(misses)), next)
}

fn list(misses: &BTreeMap<Peer, Miss>) -> String {
    let mut named: Vec<String> = misses.iter().take(NAMED).map(|(peer, miss)| format!("{peer}: {miss}")).collect();
    if misses.len() > NAMED {
        named.push(format!("and {} more", misses.len() - NAMED));
    }
    if named.is_empty() { "no address is known".into() } else { named.join("; ") }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Miss::Unreachable(text) | Miss::Foreign(_, text) | Miss::Refused(_, text)) = self;
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Member, Role, StatusResponse};

    use super::*;

    fn misses(list: &[(&str, Miss)]) -> BTreeMap<Peer, Miss> {
        list.iter().map(|(peer, miss)| (peer.parse().unwrap(), miss.clone())).collect()
    }

    fn refused() -> Miss {
        Miss::Unreachable("Connection refused".into())
    }

    fn answer(n: u64, leader: u64) -> (Peer, StatusResponse) {
        let member = |id| Member { node_id: id, name: format!("pi{id}"), voter: true, last_contact_ms: Some(0), ..Member::default() };
        let role = if n == leader { Role::Leader } else { Role::Follower };
        let status = StatusResponse {
            node_id: n,
            leader_id: leader,
            role: role.into(),
            cluster_id: vec![1; 16].into(),
            members: (1..=3).map(member).collect(),
            ..StatusResponse::default()
        };
        (format!("pi{n}").parse().unwrap(), status)
    }

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_lost_quorum_names_the_boards_to_look_at() {
        let survey = Survey { answers: vec![answer(1, 0)], silent: vec![] };
        let error = gave_up(&misses(&[("pi2", refused())]), &survey, TEN);
        assert_eq!(error.message, "found 3 nodes, 1 answers; a quorum needs 2 (tried for 10.0 s)");
        assert_eq!(error.next, "check power and network of pi2, pi3");
        assert_eq!(error.kind, Kind::NotExecuted);
    }

    #[test]
    fn an_unknown_outcome_tells_why_and_to_read_first() {
        let survey = Survey { answers: vec![answer(1, 0)], silent: vec![] };
        let error = unknown(Errand::Data, &"pi1".parse().unwrap(), &Fault::timed_out(crate::fault::Effect::Possible), &survey);
        let found = "found 3 nodes, 1 answers; a quorum needs 2";
        assert_eq!(error.message, format!("pi1:50051: the write was sent, but its outcome is unknown: no answer in time; {found}"));
        assert!(error.next.contains("read the key") && error.next.contains("check power"), "{}", error.next);
    }

    #[test]
    fn nobody_there_names_what_was_tried() {
        let error = gave_up(&misses(&[("pi2", refused())]), &Survey::default(), TEN);
        assert_eq!(error.message, "no node answers after 10.0 s: pi2:50051: Connection refused");
        assert!(error.next.contains("--addr"));
    }

    #[test]
    fn all_answer_but_no_leader_is_elected() {
        let survey = Survey { answers: vec![answer(1, 0), answer(2, 0), answer(3, 0)], silent: vec![] };
        let error = gave_up(&misses(&[("pi2", Miss::Refused(Reason::NoLeader, "election".into()))]), &survey, TEN);
        assert_eq!(error.message, "found 3 nodes, 3 answer, but no leader is elected (tried for 10.0 s)");
    }

    #[test]
    fn a_serving_cluster_that_refuses_is_quoted() {
        let survey = Survey { answers: vec![answer(1, 2), answer(2, 2), answer(3, 2)], silent: vec![] };
        let error = gave_up(&misses(&[("pi2", Miss::Refused(Reason::Overloaded, "512 requests wait".into()))]), &survey, TEN);
        assert_eq!(error.message, "gave up after 10.0 s: pi2:50051: 512 requests wait");
        assert_eq!(error.reason, Reason::Overloaded);
    }

    #[test]
    fn strangers_are_told_at_once_only_if_nobody_else_may_come() {
        let other = || Miss::Foreign(Reason::OtherCluster, "belongs to cluster \"b\"".into());
        assert_eq!(all_foreign(&misses(&[("pi2", other())])).unwrap().kind, Kind::Rejected);
        assert_eq!(all_foreign(&misses(&[("pi2", other()), ("pi3", refused())])), None);
        assert_eq!(all_foreign(&misses(&[])), None);
    }
}
