//! `member list`: who belongs to the cluster, and who waits to. Works without a leader, as far as somebody answers.

use std::time::Duration;

use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{LOOK_MS, everybody};
use super::settings::Settings;
use super::status::{age, becomes, clean, name_or_id, table};
use crate::error::Error;
use crate::json;
use crate::named::distinct_id;
use crate::view::{ClusterView, MemberView, PendingView, Standing};

pub async fn list(settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let view = ClusterView::of(&everybody(&client, settings.timeout.unwrap_or(Duration::from_millis(LOOK_MS))).await?);
    if console.is_json() {
        console.object(&json::Members::from(&view))?;
    } else {
        console.data(report(&view).as_bytes())?;
    }
    if view.leader().is_none() {
        console.message("no leader answers; the list may be old");
    }
    Ok(Exit::Done)
}

fn report(view: &ClusterView) -> String {
    let ids: Vec<u64> = view.members.iter().map(|member| member.node_id).chain(view.pending.iter().map(|node| node.node_id)).collect();
    let id = |node_id| distinct_id(node_id, ids.iter().copied());
    let mut text = String::new();
    if !view.members.is_empty() {
        let head = ["NAME", "ID", "ADDRESS", "KIND", "LAG", "WHOLE", "CONTACT"];
        text += &table(head, view.members.iter().map(|member| row(member, id(member.node_id), view.leader_id)).collect());
    }
    if let Some(change) = &view.change {
        text += &format!("change under way: {}\n", clean(change));
    }
    for member in &view.members {
        text += &becomes(member, view).map_or(String::new(), |becomes| format!("{} {becomes}\n", clean(&member.label)));
    }
    for node in &view.pending {
        let (name, address, why) = (name_or_id(&node.name, node.node_id), clean(&node.address), clean(&node.why));
        let state = if node.removed { "outside" } else { "pending" };
        text += &format!("{state}: {name} ({}) at {address}: {why}\n", id(node.node_id));
        text += &to_type(node, view, id);
    }
    text
}

/// The lines that bring a node in.
fn to_type(node: &PendingView, view: &ClusterView, id: impl Fn(u64) -> String) -> String {
    if view.members.is_empty() || node.removed {
        return String::new();
    }
    let new = id(node.node_id);
    if let Some(old) = node.earlier {
        return format!("  rusty-kv member replace {} {new}\n", id(old));
    }
    let add = format!("  rusty-kv member add {new}\n");
    let dead: Vec<&MemberView> = view.voters().filter(|voter| voter.status.is_none() && !voter.heard_lately()).collect();
    match dead[..] {
        [] => add,
        [one] => {
            add + &format!("  or, if it takes the place of {}: rusty-kv member replace {} {new}\n", clean(&one.label), id(one.node_id))
        }
        _ => add + &format!("  or, if it takes a dead member's place: rusty-kv member replace OLD {new}\n"),
    }
}

fn row(member: &MemberView, id: String, leader_id: Option<u64>) -> [String; 7] {
    let none = || "-".to_string();
    let kind = match member.standing {
        Standing::Voter if leader_id == Some(member.node_id) => "voter, leads",
        Standing::Voter => "voter",
        Standing::Outgoing => "outgoing voter",
        Standing::Learner(_) => "learner",
    };
    [
        name_or_id(&member.name, member.node_id),
        id,
        member.addresses.first().map_or_else(none, |address| clean(address)),
        kind.into(),
        member.lag.map_or_else(none, |lag| lag.to_string()),
        member.whole_index.map_or_else(none, |index| index.to_string()),
        member.last_contact_ms.map_or("never".into(), age),
    ]
}

#[cfg(test)]
mod tests {
    use proto::v1::{LearnerIntent, Member, MemberKind, Pending, Role, StatusResponse};

    use super::*;
    use crate::survey::Survey;

    #[test]
    fn the_list_shows_members_and_what_to_type_for_those_who_wait() {
        let member = |id: u64, kind: MemberKind| Member {
            node_id: id << 32,
            name: format!("pi{id}"),
            addresses: vec![format!("10.0.0.{id}:50051")],
            voter: kind == MemberKind::Voter,
            kind: kind.into(),
            last_contact_ms: Some(35),
            lag: Some(id * 10),
            whole_index: Some(40),
            ..Member::default()
        };
        let replaces = Member { intent: LearnerIntent::Replace.into(), replaces: 2 << 32, ..member(3, MemberKind::Learner) };
        let twin = |low: u64| Pending {
            node_id: (4 << 32) + low,
            name: "pi4".into(),
            address: "10.0.0.4:50051".into(),
            why: "waits".into(),
            ..Pending::default()
        };
        let status = StatusResponse {
            node_id: 1 << 32,
            name: "pi1".into(),
            cluster_id: vec![7; 16].into(),
            role: Role::Leader.into(),
            leader_id: 1 << 32,
            members: vec![Member { lag: Some(0), ..member(1, MemberKind::Voter) }, member(2, MemberKind::Voter), replaces],
            pending: vec![twin(1), twin(2)],
            membership_change: "pi3 catches up".into(),
            ..StatusResponse::default()
        };
        let view = ClusterView::of(&Survey { answers: vec![("10.0.0.1".parse().unwrap(), status)], silent: vec![] });
        assert_eq!(
            report(&view),
            "\
NAME  ID        ADDRESS         KIND          LAG  WHOLE  CONTACT
pi1   00000001  10.0.0.1:50051  voter, leads  0    40     0 ms
pi2   00000002  10.0.0.2:50051  voter         20   40     35 ms
pi3   00000003  10.0.0.3:50051  learner       30   40     35 ms
change under way: pi3 catches up
pi3 takes the place of pi2 once it has caught up
pending: pi4 (0000000400000001) at 10.0.0.4:50051: waits
  rusty-kv member add 0000000400000001
pending: pi4 (0000000400000002) at 10.0.0.4:50051: waits
  rusty-kv member add 0000000400000002
"
        );
    }
}
