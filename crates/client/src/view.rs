//! One picture of the cluster out of what each node says, and one verdict. Pure.
//!
//! - The list of members is that of the node that knows most: the leader of the highest term, else whoever has the longest log.
//! - *Serving* means: a leader answers here, or a node that answers has heard one lately, and a quorum is left to it. A leader steps down
//!   by itself when it loses its quorum, so its word counts for its followers' presence, for a while.
//! - *Healthy* asks for more: every voter answers here too, none is suspect or far behind, no state differs, and no voter is short of room.
//!   A voter that is far behind is counted as up, for it catches up, but not as one that may be relied on when another is lost.
//! - While voters are being changed there are two halves, and everything that takes a quorum takes one of each.

use std::collections::BTreeMap;

use discovery::Peer;
use proto::v1::{LearnerIntent, Member, MemberKind, Role, StatusResponse};

use crate::cluster_id::ClusterId;
use crate::survey::Survey;

/// A contact is lately within this; a packaged cluster beats every 200 ms and elects within 2 s.
const CONTACT_FRESH_MS: u64 = 2_000;
/// A voter that lacks more committed entries than this is not up to date, and nobody should rely on it.
pub const LAG_ENTRIES: u64 = 1_000;
const DAY_S: u64 = 86_400;
/// A board renews its certificate when four months of it are left.
const CERTIFICATE_WARNING_S: u64 = 60 * DAY_S;

/// The cluster as seen from here.
#[derive(Clone, Debug)]
pub struct ClusterView {
    pub name: String,
    /// None while no node that answers belongs to a cluster.
    pub id: Option<ClusterId>,
    pub leader_id: Option<u64>,
    /// By node id.
    pub members: Vec<MemberView>,
    /// Nodes in no cluster.
    pub pending: Vec<PendingView>,
    pub verdict: Verdict,
    /// For people; each a sentence.
    pub warnings: Vec<String>,
    pub waits: Vec<Wait>,
    /// The change of the membership under way, for people.
    pub change: Option<String>,
    pub lost: Vec<LostView>,
}

/// What a member is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Voter,
    Learner(Intent),
    /// A voter until the change under way is done.
    Outgoing,
}

/// What becomes of a learner once it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Stay,
    Promote,
    /// It takes the place of the node with this id.
    Replace(u64),
}

/// A large value that no voter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostView {
    pub hash: Vec<u8>,
    /// Some of those that name it.
    pub keys: Vec<Vec<u8>>,
}

/// What a node waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub node_id: u64,
    /// For people; a sentence that names the node.
    pub text: String,
}

/// A member, reachable or not.
#[derive(Clone, Debug)]
pub struct MemberView {
    pub node_id: u64,
    /// As told last, by whomever; empty if it never was.
    pub name: String,
    /// The name, with the beginning of the id where another member has the same name, or that alone if there is no name.
    pub label: String,
    pub addresses: Vec<String>,
    /// Counted in a quorum of either half.
    pub voter: bool,
    pub standing: Standing,
    /// Counted in the old half while voters are being changed.
    pub outgoing_voter: bool,
    /// Its own words; None if it does not answer.
    pub status: Option<StatusResponse>,
    /// Why it does not answer, where an attempt said so.
    pub why_silent: Option<String>,
    /// Entries it has still to apply or to make durable, whichever are more; None where nobody knows.
    pub lag: Option<u64>,
    /// Entries it has still to make durable, as far as it or the leader knows.
    pub behind: Option<u64>,
    /// Applied index up to which it misses no value.
    pub whole_index: Option<u64>,
    /// It fetches a snapshot.
    pub snapshot_under_way: bool,
    /// Milliseconds since the node that knows most heard from it; None: never.
    pub last_contact_ms: Option<u64>,
}

/// A node that belongs to no cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    pub node_id: u64,
    pub name: String,
    pub address: String,
    pub why: String,
    /// It was a member, and its id never comes back.
    pub removed: bool,
    /// The voter that most likely ran on this board before and is silent.
    pub earlier: Option<u64>,
}

/// One word for the whole, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Healthy { can_lose: usize },
    /// Serving, but something needs attention.
    Degraded { can_lose: usize, why: Vec<String> },
    /// Neither reads nor writes.
    Unavailable { why: Vec<String> },
}

impl ClusterView {
    pub fn of(survey: &Survey) -> ClusterView {
        let formed = || survey.answers.iter().map(|(_, status)| status).filter(|status| !status.cluster_id.is_empty());
        let best = formed().max_by_key(|status| (status.role() == Role::Leader, status.term, status.last_index));
        let members = best.map(|best| members(best, survey)).unwrap_or_default();
        let leader = leader(&members);
        ClusterView {
            name: best.or(survey.answers.first().map(|(_, status)| status)).map(|status| status.cluster_name.clone()).unwrap_or_default(),
            id: best.and_then(|best| ClusterId::from_wire(&best.cluster_id)),
            leader_id: leader.map(|leader| leader.node_id),
            pending: pending(survey, &members),
            verdict: verdict(&members, leader),
            warnings: warnings(&members),
            waits: waits(survey, &members),
            change: best.map(|best| best.membership_change.clone()).filter(|change| !change.is_empty()),
            lost: lost(survey),
            members,
        }
    }

    pub fn voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.voter)
    }

    pub fn member(&self, node_id: u64) -> Option<&MemberView> {
        self.members.iter().find(|member| member.node_id == node_id)
    }

    /// The leader, if it answers here: then the list of members is its own.
    pub fn leader(&self) -> Option<&MemberView> {
        self.leader_id.and_then(|id| self.member(id)).filter(|leader| leader.status.is_some())
    }

    /// How to call a node, member or pending.
    pub fn label(&self, node_id: u64) -> String {
        let pending = || self.pending.iter().find(|node| node.node_id == node_id).map(|node| node.name.clone());
        let name = self.member(node_id).map(|member| member.label.clone()).or_else(pending);
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| short_id(node_id))
    }
}

impl Standing {
    /// Of the member as a node of any version tells it.
    pub fn of(member: &Member) -> Standing {
        match (member.kind(), member.intent()) {
            (MemberKind::Voter, _) => Standing::Voter,
            (MemberKind::Outgoing, _) => Standing::Outgoing,
            (MemberKind::Learner, LearnerIntent::Promote) => Standing::Learner(Intent::Promote),
            (MemberKind::Learner, LearnerIntent::Replace) => Standing::Learner(Intent::Replace(member.replaces)),
            (MemberKind::Unspecified, _) if member.voter => Standing::Voter,
            _ => Standing::Learner(Intent::Stay),
        }
    }
}

impl MemberView {
    pub fn heard_lately(&self) -> bool {
        self.last_contact_ms.is_some_and(|ms| ms <= CONTACT_FRESH_MS)
    }

    /// Whether it lacks so much that it could not stand in for another voter.
    pub fn far_behind(&self) -> Option<u64> {
        self.behind.filter(|behind| *behind > LAG_ENTRIES)
    }

    fn room_low(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.room_low)
    }

    /// Why it must not be counted, in its own words.
    pub fn suspect(&self) -> Option<&str> {
        self.status.as_ref().map(|status| status.suspect.as_str()).filter(|why| !why.is_empty())
    }
}

/// Voters that must be up.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The voters as they are counted: all together, or while they are being changed the new and the old, each for itself.
pub fn halves(members: &[MemberView]) -> Vec<Vec<&MemberView>> {
    let new = members.iter().filter(|member| member.standing == Standing::Voter).collect();
    let old: Vec<&MemberView> = members.iter().filter(|member| member.outgoing_voter).collect();
    if old.is_empty() { vec![new] } else { vec![new, old] }
}

fn members(best: &StatusResponse, survey: &Survey) -> Vec<MemberView> {
    let own = Member { node_id: best.node_id, name: best.name.clone(), voter: true, last_contact_ms: Some(0), ..Member::default() };
    let alone = [own];
    let listed = if best.members.is_empty() { &alone[..] } else { &best.members };
    let mut views: Vec<MemberView> = listed
        .iter()
        .map(|member| {
            let answer = survey.answers.iter().find(|(_, status)| status.node_id == member.node_id && status.cluster_id == best.cluster_id);
            view(member, answer, best, survey)
        })
        .collect();
    views.sort_by_key(|member| member.node_id);
    label(&mut views);
    views
}

fn label(views: &mut [MemberView]) {
    let names: Vec<String> = views.iter().map(|member| member.name.clone()).collect();
    for member in views {
        let alone = names.iter().filter(|name| **name == member.name).count() == 1;
        member.label = match (member.name.is_empty(), alone) {
            (true, _) => short_id(member.node_id),
            (false, true) => member.name.clone(),
            (false, false) => format!("{} ({})", member.name, short_id(member.node_id)),
        };
    }
}

/// What somebody else has told of its name; one that died before it was heard is known to those only whom it had called.
fn hearsay(node_id: u64, survey: &Survey) -> String {
    let statuses = || survey.answers.iter().map(|(_, status)| status);
    let as_member = statuses().flat_map(|status| &status.members).map(|member| (member.node_id, &member.name));
    let as_pending = statuses().flat_map(|status| &status.pending).map(|node| (node.node_id, &node.name));
    let told = as_member.chain(as_pending).find(|(id, name)| *id == node_id && !name.is_empty());
    told.map(|(_, name)| name.clone()).unwrap_or_default()
}

/// The first half of an id, enough for people.
pub fn short_id(node_id: u64) -> String {
    format!("{:08x}", node_id >> 32)
}

fn view(member: &Member, answer: Option<&(Peer, StatusResponse)>, best: &StatusResponse, survey: &Survey) -> MemberView {
    let status = answer.map(|(_, status)| status.clone());
    let answered_at = answer.map(|(peer, _)| peer.to_string());
    let mut addresses: Vec<String> = answered_at.into_iter().chain(member.addresses.iter().cloned()).collect();
    let mut seen = Vec::new();
    addresses.retain(|address| {
        !seen.contains(address) && {
            seen.push(address.clone());
            true
        }
    });
    let own = status.as_ref().map(|status| best.commit_index.saturating_sub(status.durable_index));
    // The two looks are moments apart, in which a busy cluster writes much: the smaller number is nearer the truth.
    let behind = match (own, member.lag) {
        (Some(own), Some(told)) => Some(own.min(told)),
        (own, told) => own.or(told),
    };
    let name = status.as_ref().map(|status| &status.name).filter(|name| !name.is_empty()).unwrap_or(&member.name).clone();
    let applied = status.as_ref().map(|status| best.commit_index.saturating_sub(status.applied_index));
    MemberView {
        node_id: member.node_id,
        name: if name.is_empty() { hearsay(member.node_id, survey) } else { name },
        label: String::new(),
        voter: member.voter,
        standing: Standing::of(member),
        outgoing_voter: member.outgoing_voter,
        behind,
        whole_index: member.whole_index,
        snapshot_under_way: member.snapshot_under_way,
        why_silent: answer.is_none().then(|| survey.why_silent(&addresses).map(ToString::to_string)).flatten(),
        addresses,
        lag: applied.max(member.lag).or(member.durable_index.map(|durable| best.last_index.saturating_sub(durable))),
        last_contact_ms: if member.node_id == best.node_id { Some(0) } else { member.last_contact_ms },
        status,
    }
}

/// The leader in force: one that answers, else one that a node has heard lately.
fn leader(members: &[MemberView]) -> Option<&MemberView> {
    let answers = |member: &&MemberView| member.status.as_ref().is_some_and(|status| status.role() == Role::Leader);
    let by_itself = members.iter().filter(answers).max_by_key(|member| member.status.as_ref().map(|status| status.term));
    let told = || {
        let statuses = members.iter().filter_map(|member| member.status.as_ref());
        let led = statuses.filter(|status| status.leader_id != 0).max_by_key(|status| status.term)?;
        let heard = led.members.iter().find(|member| member.node_id == led.leader_id)?.last_contact_ms?;
        let leader = members.iter().find(|member| member.node_id == led.leader_id)?;
        // It answers and does not lead: what the other node says is old.
        (heard <= CONTACT_FRESH_MS && leader.status.is_none()).then_some(leader)
    };
    by_itself.or_else(told)
}

fn verdict(members: &[MemberView], leader: Option<&MemberView>) -> Verdict {
    let voters: Vec<&MemberView> = members.iter().filter(|member| member.voter).collect();
    if voters.is_empty() {
        return Verdict::Unavailable { why: vec!["no cluster is formed yet".into()] };
    }
    let halves = halves(members);
    let silent: Vec<&&MemberView> = voters.iter().filter(|voter| voter.status.is_none()).collect();
    let mut why: Vec<String> = silent.iter().map(|voter| format!("{} does not answer", voter.label)).collect();
    why.extend(members.iter().filter_map(|member| member.suspect().map(|why| format!("{} is suspect: {why}", member.label))));
    why.extend(alarms(members));
    let Some(leader) = leader else {
        why.insert(0, short_of_quorum(&halves, |voter| voter.status.is_some()).unwrap_or("no leader is elected".into()));
        return Verdict::Unavailable { why };
    };
    let leads_here = leader.status.is_some();
    // Without the leader's own word, only what answers here, and the leader, are known to be up.
    let present = |voter: &MemberView| {
        let in_touch = voter.node_id == leader.node_id || if leads_here { voter.heard_lately() } else { voter.status.is_some() };
        in_touch && voter.suspect().is_none()
    };
    if let Some(short) = short_of_quorum(&halves, present) {
        why.insert(0, short);
        return Verdict::Unavailable { why };
    }
    let unheard = voters.iter().filter(|voter| voter.status.is_some() && voter.suspect().is_none() && !present(voter));
    why.extend(unheard.map(|voter| format!("{} answers, but the leader {} has not heard it lately", voter.label, leader.label)));
    let lagging = voters.iter().filter(|voter| present(voter)).filter_map(|voter| Some((voter, voter.far_behind()?)));
    why.extend(lagging.map(|(voter, entries)| format!("{} is {entries} entries behind", voter.label)));
    why.extend(lack_of_room(&voters, leader, quorum(voters.len())));
    let spare = halves.iter().map(|half| {
        let up = half.iter().filter(|voter| present(voter) && voter.status.is_some() && voter.far_behind().is_none()).count();
        up.saturating_sub(quorum(half.len()))
    });
    let can_lose = spare.min().unwrap_or(0);
    if why.is_empty() { Verdict::Healthy { can_lose } } else { Verdict::Degraded { can_lose, why } }
}

/// `1 of 3 voters is up, a quorum needs 2`, of the half that lacks one.
fn short_of_quorum(halves: &[Vec<&MemberView>], up: impl Fn(&MemberView) -> bool) -> Option<String> {
    let short = |(half, name): (&Vec<&MemberView>, &str)| {
        let (all, up) = (half.len(), half.iter().filter(|voter| up(voter)).count());
        let is = if up == 1 { "is" } else { "are" };
        (up < quorum(all)).then(|| format!("{up} of {all} {name} {is} up, a quorum needs {}", quorum(all)))
    };
    let names = if halves.len() == 1 { ["voters", ""] } else { ["new voters", "old voters"] };
    halves.iter().zip(names).find_map(short)
}

fn alarms(members: &[MemberView]) -> Vec<String> {
    let told = members.iter().filter_map(|member| member.status.as_ref().map(|status| (member, &status.alarm)));
    told.filter(|(_, alarm)| !alarm.is_empty()).map(|(member, alarm)| format!("{} raises an alarm: {alarm}", member.label)).collect()
}

fn lack_of_room(voters: &[&MemberView], leader: &MemberView, quorum: usize) -> Vec<String> {
    let low: Vec<&str> = voters.iter().filter(|voter| voter.room_low()).map(|voter| voter.label.as_str()).collect();
    if low.is_empty() {
        return Vec::new();
    }
    let refused = leader.room_low() || voters.len() - low.len() < quorum;
    let names = low.join(", ");
    let effect = if refused { "; new values are refused until space is freed (deletes work)" } else { "" };
    vec![format!("short of disk space: {names}{effect}")]
}

fn warnings(members: &[MemberView]) -> Vec<String> {
    let mut warnings = Vec::new();
    let voters = members.iter().filter(|member| member.standing == Standing::Voter).count();
    if voters > 0 && voters % 2 == 0 {
        let spare = voters - quorum(voters);
        warnings.push(format!("{voters} voters can lose {spare}, no more than {} can; an odd number is better", voters - 1));
    }
    let answers: Vec<(&str, &StatusResponse)> =
        members.iter().filter_map(|member| member.status.as_ref().map(|status| (member.label.as_str(), status))).collect();
    if answers.iter().any(|(_, status)| status.insecure) {
        warnings.push("--insecure: traffic is neither encrypted nor authenticated".into());
    }
    if answers.iter().any(|(_, status)| status.authorities.len() > 1) {
        warnings.push("two authorities are trusted: `rusty-kv ca rotate --finish` when every login in use has heard of the new one".into());
    }
    let ends_soon = |left: Option<u64>| left.is_some_and(|left| left < CERTIFICATE_WARNING_S);
    for (label, status) in answers.iter().filter(|(_, status)| ends_soon(status.certificate_left_s)) {
        let days = status.certificate_left_s.unwrap_or_default() / DAY_S;
        warnings.push(format!("the certificate of {label} ends in {days} days and was not renewed; its log says why"));
    }
    for (label, status) in answers.iter().filter(|(_, status)| status.blobs_missing > 0) {
        warnings.push(format!("{label} has still to fetch {} large values", status.blobs_missing));
    }
    warnings.extend(differing_states(&answers));
    warnings
}

/// Equal logs must give equal states: two hashes at one index mean a fault of memory, disk or program.
fn differing_states(answers: &[(&str, &StatusResponse)]) -> Vec<String> {
    let mut at_index: BTreeMap<u64, Vec<(&str, &[u8])>> = BTreeMap::new();
    for (label, status) in answers.iter().filter(|(_, status)| !status.state_hash.is_empty()) {
        at_index.entry(status.applied_index).or_default().push((label, &status.state_hash));
    }
    let differing = at_index.into_iter().filter(|(_, same)| same.iter().any(|(_, hash)| *hash != same[0].1));
    let text = |(index, same): (u64, Vec<(&str, &[u8])>)| {
        let labels: Vec<&str> = same.into_iter().map(|(label, _)| label).collect();
        format!("the states of {} differ at index {index}; stop writing and report this", labels.join(", "))
    };
    differing.map(text).collect()
}

/// Each told by at least one node; who knows of more keys is believed.
fn lost(survey: &Survey) -> Vec<LostView> {
    let mut lost: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for blob in survey.answers.iter().flat_map(|(_, status)| &status.blobs_lost) {
        let keys = lost.entry(blob.hash.to_vec()).or_default();
        if blob.keys.len() > keys.len() {
            *keys = blob.keys.iter().map(|key| key.to_vec()).collect();
        }
    }
    lost.into_iter().map(|(hash, keys)| LostView { hash, keys }).collect()
}

fn waits(survey: &Survey, members: &[MemberView]) -> Vec<Wait> {
    let label = |status: &StatusResponse| {
        let member = members.iter().find(|member| member.node_id == status.node_id);
        member.map_or_else(|| format!("{} ({})", status.name, short_id(status.node_id)), |member| member.label.clone())
    };
    let waiting = survey.answers.iter().map(|(_, status)| status).filter(|status| !status.waits_for.is_empty());
    waiting.map(|status| Wait { node_id: status.node_id, text: format!("{} waits: {}", label(status), status.waits_for) }).collect()
}

fn pending(survey: &Survey, members: &[MemberView]) -> Vec<PendingView> {
    let mut pending: BTreeMap<u64, PendingView> = BTreeMap::new();
    for told in survey.answers.iter().flat_map(|(_, status)| &status.pending) {
        let known = pending.get(&told.node_id);
        // Whoever knows of its removal is believed, also if others know nothing of it yet.
        if known.is_some_and(|known| known.removed) {
            continue;
        }
        let view = PendingView {
            node_id: told.node_id,
            name: told.name.clone(),
            address: told.address.clone(),
            why: told.why.clone(),
            removed: told.removed,
            earlier: known.and_then(|known| known.earlier).or(Some(told.earlier_id).filter(|id| *id != 0)),
        };
        pending.insert(told.node_id, view);
    }
    for (peer, status) in survey.answers.iter().filter(|(_, status)| status.cluster_id.is_empty()) {
        let why = if status.waits_for.is_empty() { "belongs to no cluster".into() } else { format!("waits: {}", status.waits_for) };
        let earlier = pending.get(&status.node_id).and_then(|known| known.earlier);
        let (node_id, name, address) = (status.node_id, status.name.clone(), peer.to_string());
        pending.insert(node_id, PendingView { node_id, name, address, why, removed: false, earlier });
    }
    pending.retain(|node_id, _| members.iter().all(|member| member.node_id != *node_id));
    let mut pending: Vec<PendingView> = pending.into_values().collect();
    for node in pending.iter_mut().filter(|node| !node.removed) {
        node.earlier =
            node.earlier.or_else(|| namesake(&node.name, members)).filter(|old| members.iter().any(|member| member.node_id == *old));
    }
    pending
}

/// The one voter of this name, if it is silent: a wiped board has its old name and a new id.
fn namesake(name: &str, members: &[MemberView]) -> Option<u64> {
    let mut same = members.iter().filter(|member| !name.is_empty() && member.name == name);
    match (same.next(), same.next()) {
        (Some(old), None) if old.standing == Standing::Voter && old.status.is_none() && !old.heard_lately() => Some(old.node_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8] = &[7; 16];

    /// Node `n` of `voters`, named pi1.., at index 10, hearing all others.
    fn node(n: u64, voters: u64, leader: u64) -> StatusResponse {
        let member = |id| Member {
            node_id: id,
            name: format!("pi{id}"),
            addresses: vec![format!("pi{id}:50051")],
            voter: true,
            last_contact_ms: Some(if id == n { 0 } else { 40 }),
            durable_index: (n == leader).then_some(10),
            ..Member::default()
        };
        StatusResponse {
            node_id: n,
            name: format!("pi{n}"),
            cluster_name: "home".into(),
            cluster_id: ID.into(),
            role: if n == leader { Role::Leader } else { Role::Follower }.into(),
            term: 3,
            leader_id: leader,
            last_index: 10,
            durable_index: 10,
            commit_index: 10,
            applied_index: 10,
            state_hash: vec![1; 32].into(),
            members: (1..=voters).map(member).collect(),
            ..StatusResponse::default()
        }
    }

    fn survey(statuses: Vec<StatusResponse>) -> Survey {
        let answers = statuses.into_iter().map(|status| (format!("pi{}", status.node_id).parse().unwrap(), status)).collect();
        Survey { answers, silent: Vec::new() }
    }

    fn lost(status: &mut StatusResponse, id: u64) {
        status.members.iter_mut().find(|member| member.node_id == id).unwrap().last_contact_ms = Some(60_000);
    }

    #[test]
    fn all_three_are_up() {
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), node(2, 3, 2), node(3, 3, 2)]));
        assert_eq!(view.verdict, Verdict::Healthy { can_lose: 1 });
        assert_eq!((view.name.as_str(), view.leader_id, view.warnings.len()), ("home", Some(2), 0));
        assert!(view.members.iter().all(|member| member.lag == Some(0)));
    }

    #[test]
    fn one_of_three_lost_power_a_minute_ago() {
        let mut leader = node(2, 3, 2);
        lost(&mut leader, 3);
        leader.members[2].durable_index = Some(4);
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), leader]));
        assert_eq!(view.verdict, Verdict::Degraded { can_lose: 0, why: vec!["pi3 does not answer".into()] });
        assert_eq!((view.members.len(), view.members[2].lag, view.members[2].last_contact_ms), (3, Some(6), Some(60_000)));
    }

    #[test]
    fn one_of_five_lost_power_just_now() {
        let view = ClusterView::of(&survey((1..=4).map(|n| node(n, 5, 1)).collect()));
        assert_eq!(view.verdict, Verdict::Degraded { can_lose: 1, why: vec!["pi5 does not answer".into()] });
    }

    #[test]
    fn only_one_of_three_is_left() {
        let mut last = node(1, 3, 0);
        last.role = Role::Candidate.into();
        let view = ClusterView::of(&survey(vec![last]));
        let Verdict::Unavailable { why } = view.verdict else { panic!("{:?}", view.verdict) };
        assert_eq!(why, ["1 of 3 voters is up, a quorum needs 2", "pi2 does not answer", "pi3 does not answer"]);
    }

    #[test]
    fn a_leader_that_lost_its_quorum_and_does_not_know_yet_serves_nobody() {
        let mut leader = node(2, 3, 2);
        lost(&mut leader, 1);
        lost(&mut leader, 3);
        assert!(matches!(ClusterView::of(&survey(vec![leader])).verdict, Verdict::Unavailable { .. }));
    }

    #[test]
    fn members_of_one_name_are_told_apart_by_their_ids() {
        let mut alone = node(1, 3, 0);
        for member in &mut alone.members[1..] {
            member.name = "pi".into();
            member.node_id <<= 32;
        }
        let Verdict::Unavailable { why } = ClusterView::of(&survey(vec![alone])).verdict else { panic!("it serves") };
        assert_eq!(why[1..], ["pi (00000002) does not answer", "pi (00000003) does not answer"]);
    }

    #[test]
    fn an_election_is_running() {
        let view = ClusterView::of(&survey((1..=3).map(|n| node(n, 3, 0)).collect()));
        assert_eq!(view.verdict, Verdict::Unavailable { why: vec!["no leader is elected".into()] });
    }

    #[test]
    fn the_leader_is_up_but_this_machine_does_not_reach_it() {
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), node(3, 3, 2)]));
        assert_eq!(view.verdict, Verdict::Degraded { can_lose: 0, why: vec!["pi2 does not answer".into()] });
        assert_eq!(view.leader_id, Some(2));
    }

    #[test]
    fn the_leader_died_a_while_ago_and_the_rest_still_name_it() {
        let (mut one, mut three) = (node(1, 3, 2), node(3, 3, 2));
        lost(&mut one, 2);
        lost(&mut three, 2);
        assert!(matches!(ClusterView::of(&survey(vec![one, three])).verdict, Verdict::Unavailable { .. }));
    }

    #[test]
    fn a_follower_cut_off_from_its_leader_counts_as_lost() {
        let mut leader = node(2, 3, 2);
        lost(&mut leader, 3);
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), leader, node(3, 3, 2)]));
        let why = vec!["pi3 answers, but the leader pi2 has not heard it lately".into()];
        assert_eq!(view.verdict, Verdict::Degraded { can_lose: 0, why });
    }

    #[test]
    fn the_old_leader_of_an_older_term_is_not_the_leader() {
        let mut old = node(1, 3, 1);
        old.term = 2;
        let view = ClusterView::of(&survey(vec![old, node(2, 3, 2), node(3, 3, 2)]));
        assert_eq!(view.leader_id, Some(2));
    }

    #[test]
    fn a_full_disk_degrades_and_says_what_is_refused() {
        let mut follower = node(3, 3, 2);
        follower.room_low = true;
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), node(2, 3, 2), follower]));
        assert_eq!(view.verdict, Verdict::Degraded { can_lose: 1, why: vec!["short of disk space: pi3".into()] });

        let mut leader = node(2, 3, 2);
        leader.room_low = true;
        let view = ClusterView::of(&survey(vec![node(1, 3, 2), leader, node(3, 3, 2)]));
        let Verdict::Degraded { why, .. } = view.verdict else { panic!("{:?}", view.verdict) };
        assert!(why[0].contains("new values are refused"), "{why:?}");
    }

    #[test]
    fn warnings_do_not_change_the_verdict() {
        let mut nodes: Vec<StatusResponse> = (1..=4).map(|n| node(n, 4, 1)).collect();
        nodes[0].insecure = true;
        nodes[1].blobs_missing = 2;
        nodes[1].certificate_left_s = Some(9 * DAY_S);
        nodes[3].certificate_left_s = Some(CERTIFICATE_WARNING_S);
        nodes[3].authorities = vec![vec![1; 32].into(), vec![2; 32].into()];
        nodes[2].state_hash = vec![2; 32].into();
        let view = ClusterView::of(&survey(nodes));
        assert_eq!(view.verdict, Verdict::Healthy { can_lose: 1 });
        assert!(!view.warnings.iter().any(|warning| warning.contains("of pi4 ends")), "{:?}", view.warnings);
        for part in [
            "of pi2 ends in 9 days",
            "two authorities",
            "4 voters can lose 1",
            "--insecure",
            "pi2 has still to fetch 2",
            "differ at index 10",
        ] {
            assert!(view.warnings.iter().any(|warning| warning.contains(part)), "{part}: {:?}", view.warnings);
        }
    }

    /// Voters 1 to 3 become 3 to 5; node 3 leads.
    fn changing() -> Vec<StatusResponse> {
        let mut nodes: Vec<StatusResponse> = (1..=5).map(|n| node(n, 5, 3)).collect();
        for member in nodes.iter_mut().flat_map(|status| &mut status.members) {
            let kind = if member.node_id < 3 { MemberKind::Outgoing } else { MemberKind::Voter };
            (member.kind, member.outgoing_voter) = (kind.into(), member.node_id <= 3);
        }
        nodes
    }

    #[test]
    fn while_voters_are_changed_each_half_needs_a_quorum_of_its_own() {
        assert_eq!(ClusterView::of(&survey(changing())).verdict, Verdict::Healthy { can_lose: 1 });
        // Three of five are up, and yet only one of the new three.
        let mut nodes = changing();
        nodes.truncate(3);
        [4, 5].into_iter().for_each(|id| lost(&mut nodes[2], id));
        let Verdict::Unavailable { why } = ClusterView::of(&survey(nodes)).verdict else { panic!("it serves") };
        assert_eq!(why[0], "1 of 3 new voters is up, a quorum needs 2");
    }

    #[test]
    fn a_suspect_voter_counts_as_lost_however_lively_it_is() {
        let mut nodes: Vec<StatusResponse> = (1..=3).map(|n| node(n, 3, 2)).collect();
        nodes[2].suspect = "its log ends at 4".into();
        let why = vec!["pi3 is suspect: its log ends at 4".into()];
        assert_eq!(ClusterView::of(&survey(nodes.clone())).verdict, Verdict::Degraded { can_lose: 0, why });
        nodes[0].suspect = "its log ends at 5".into();
        assert!(matches!(ClusterView::of(&survey(nodes)).verdict, Verdict::Unavailable { .. }));
    }

    #[test]
    fn a_voter_that_is_far_behind_is_not_one_to_rely_on_and_keeps_nobody_from_being_served() {
        let behind = |entries: u64, ids: &[usize]| {
            let mut nodes: Vec<StatusResponse> = (1..=3).map(|n| node(n, 3, 2)).collect();
            for status in &mut nodes {
                (status.last_index, status.commit_index, status.durable_index) = (10_000, 10_000, 10_000);
            }
            for index in ids {
                nodes[*index].durable_index -= entries;
                nodes[1].members[*index].lag = Some(entries);
            }
            nodes
        };
        assert_eq!(ClusterView::of(&survey(behind(1_000, &[2]))).verdict, Verdict::Healthy { can_lose: 1 });
        let why = vec!["pi3 is 1001 entries behind".into()];
        assert_eq!(ClusterView::of(&survey(behind(1_001, &[2]))).verdict, Verdict::Degraded { can_lose: 0, why });
        assert!(matches!(ClusterView::of(&survey(behind(5_000, &[0, 2]))).verdict, Verdict::Degraded { can_lose: 0, .. }));
        // It was asked a moment before the leader was, and has got all since.
        let mut asked_early = behind(5_000, &[2]);
        asked_early[1].members[2].lag = Some(3);
        assert_eq!(ClusterView::of(&survey(asked_early)).verdict, Verdict::Healthy { can_lose: 1 });
    }

    #[test]
    fn a_member_without_a_name_is_called_as_somebody_else_knows_it_or_by_its_id() {
        let mut nodes: Vec<StatusResponse> = (1..=2).map(|n| node(n, 3, 2)).collect();
        nodes[1].members[2].name.clear();
        assert_eq!(ClusterView::of(&survey(nodes.clone())).members[2].label, "pi3");
        nodes[0].members[2].name.clear();
        let view = ClusterView::of(&survey(nodes));
        assert_eq!(view.members[2].label, short_id(3));
        assert!(matches!(view.verdict, Verdict::Degraded { why, .. } if why == ["00000000 does not answer"]));
    }

    #[test]
    fn a_value_lost_by_all_is_told_once_with_the_keys_that_are_known() {
        let blob =
            |keys: &[&'static [u8]]| proto::v1::LostBlob { hash: vec![9; 32].into(), keys: keys.iter().map(|key| (*key).into()).collect() };
        let mut nodes: Vec<StatusResponse> = (1..=3).map(|n| node(n, 3, 2)).collect();
        nodes[0].blobs_lost = vec![blob(&[b"a"])];
        nodes[1].blobs_lost = vec![blob(&[b"a", b"b"])];
        let lost = ClusterView::of(&survey(nodes)).lost;
        assert_eq!(lost, [LostView { hash: vec![9; 32], keys: vec![b"a".to_vec(), b"b".to_vec()] }]);
    }

    #[test]
    fn nodes_that_wait_to_form_are_shown_with_what_they_wait_for() {
        let blank = |n: u64| StatusResponse { node_id: n, name: format!("pi{n}"), waits_for: "sees 2 of 3".into(), ..Default::default() };
        let mut first = blank(1);
        first.pending.push(proto::v1::Pending {
            node_id: 9,
            name: "pi9".into(),
            address: "pi9:50051".into(),
            why: "other name".into(),
            ..Default::default()
        });
        let view = ClusterView::of(&survey(vec![first, blank(2)]));
        assert_eq!(view.verdict, Verdict::Unavailable { why: vec!["no cluster is formed yet".into()] });
        assert_eq!(view.pending.iter().map(|node| node.node_id).collect::<Vec<_>>(), [1, 2, 9]);
        let waits: Vec<&str> = view.waits.iter().map(|wait| wait.text.as_str()).collect();
        assert_eq!(waits, ["pi1 (00000000) waits: sees 2 of 3", "pi2 (00000000) waits: sees 2 of 3"]);
    }

    #[test]
    fn nobody_answers() {
        let view = ClusterView::of(&Survey::default());
        assert!(matches!(view.verdict, Verdict::Unavailable { .. }));
        assert_eq!((view.id, view.members.len()), (None, 0));
    }
}
