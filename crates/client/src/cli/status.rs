//! `status`: every member, reachable or not, and one verdict.

use std::time::Duration;

use super::args::Status;
use super::console::Console;
use super::exit::Exit;
use super::look::LOOK_MS;
use super::reach;
use super::settings::Settings;
use crate::error::{Error, Kind};
use crate::escape::escape;
use crate::explain;
use crate::goal::catching_up;
use crate::json;
use crate::view::{ClusterView, Intent, LostView, MemberView, Standing, Verdict, short_id};

/// Keys named with a lost value.
const LOST_KEYS_SHOWN: usize = 3;

pub async fn status(args: Status, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let found = match reach(settings).await {
        Err(error) if args.check && error.kind == Kind::NotExecuted => {
            console.fail(&error);
            return Ok(Exit::Unavailable);
        }
        found => found?,
    };
    let look = Duration::from_millis(LOOK_MS);
    let survey = found.survey(settings.timeout.unwrap_or(look).min(look)).await;
    if survey.answers.is_empty() {
        let error = explain::nobody_at(&survey);
        let unavailable = args.check && error.kind == Kind::NotExecuted;
        return if unavailable {
            console.fail(&error);
            Ok(Exit::Unavailable)
        } else {
            Err(error)
        };
    }
    let mut view = ClusterView::of(&survey);
    if let Some(error) = found.several().filter(|_| settings.peers.is_some()) {
        let shown = view.id.map(|id| id.short()).unwrap_or_default();
        view.warnings.push(format!("{}; this is \"{}\" ({shown}), every other command wants to be told which", error.message, view.name));
    }
    if console.is_json() {
        console.object(&json::Status::from(&view))?;
    } else {
        console.data(report(&view, console.colours()).as_bytes())?;
    }
    Ok(match view.verdict {
        Verdict::Degraded { .. } if args.check => Exit::Degraded,
        Verdict::Unavailable { .. } if args.check => Exit::Unavailable,
        _ => Exit::Done,
    })
}

fn report(view: &ClusterView, colours: bool) -> String {
    let id = view.id.map(|id| format!(" ({})", id.short())).unwrap_or_default();
    let mut text = format!("cluster {}{id}: {}\n", clean(&view.name), verdict(&view.verdict, colours));
    let (Verdict::Degraded { why, .. } | Verdict::Unavailable { why }) = &view.verdict else { return text + &details(view) };
    for why in why {
        text += &format!("  {}\n", clean(why));
    }
    text + &details(view)
}

fn details(view: &ClusterView) -> String {
    let mut text = String::new();
    if !view.members.is_empty() {
        let head = ["NAME", "ID", "ADDRESS", "ROLE", "LAG", "FREE", "CONTACT", "VERSION", "HASH@INDEX"];
        text += "\n";
        text += &table(head, view.members.iter().map(row).collect());
    }
    for node in &view.pending {
        text += &format!(
            "pending: {} ({}) at {}: {}\n",
            name_or_id(&node.name, node.node_id),
            short_id(node.node_id),
            clean(&node.address),
            clean(&node.why)
        );
    }
    if let Some(change) = &view.change {
        text += &format!("membership change under way: {}\n", clean(change));
    }
    for member in &view.members {
        let Some(becomes) = becomes(member, view) else { continue };
        let now = if member.lag == Some(0) { String::new() } else { format!("; {}", clean(&catching_up(member))) };
        text += &format!("{} {becomes}{now}\n", clean(&member.label));
    }
    let pending = |node_id| view.pending.iter().any(|node| node.node_id == node_id);
    for wait in view.waits.iter().filter(|wait| !pending(wait.node_id)) {
        text += &format!("{}\n", clean(&wait.text));
    }
    for warning in &view.warnings {
        text += &format!("warning: {}\n", clean(warning));
    }
    for lost in &view.lost {
        text += &format!("{}\n", lost_value(lost));
    }
    text
}

/// What a learner is on its way to; None for one that stays, and for voters.
pub fn becomes(member: &MemberView, view: &ClusterView) -> Option<String> {
    match member.standing {
        Standing::Learner(Intent::Promote) => Some("becomes a voter once it has caught up".into()),
        Standing::Learner(Intent::Replace(old)) => Some(format!("takes the place of {} once it has caught up", clean(&view.label(old)))),
        Standing::Outgoing => Some("is no voter any more once the change is done".into()),
        Standing::Voter | Standing::Learner(Intent::Stay) => None,
    }
}

fn lost_value(lost: &LostView) -> String {
    let hash = json::hex(&lost.hash[..lost.hash.len().min(4)]);
    let mut keys: Vec<String> = lost.keys.iter().take(LOST_KEYS_SHOWN).map(|key| escape(key)).collect();
    if lost.keys.len() > LOST_KEYS_SHOWN {
        keys.push(format!("and {} more", lost.keys.len() - LOST_KEYS_SHOWN));
    }
    let keys = keys.join(", ");
    format!(
        "warning: no voter holds the large value {hash}, stored under {keys}; start the nodes that are down, upload it again, or delete it"
    )
}

fn verdict(verdict: &Verdict, colours: bool) -> String {
    let (colour, text) = match verdict {
        Verdict::Healthy { can_lose } => (32, format!("healthy (can lose {can_lose})")),
        Verdict::Degraded { can_lose, .. } => (33, format!("degraded (serving; can lose {can_lose} more)")),
        Verdict::Unavailable { .. } => (31, "unavailable".into()),
    };
    if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
}

fn row(member: &MemberView) -> [String; 9] {
    let none = || "-".to_string();
    let status = member.status.as_ref();
    let role = match status {
        None => "unreachable".into(),
        Some(status) if !status.suspect.is_empty() => "suspect".into(),
        Some(_) if !member.voter => "learner".into(),
        Some(status) => json::role(status.role()).to_string(),
    };
    [
        name_or_id(&member.name, member.node_id),
        short_id(member.node_id),
        member.addresses.first().map_or_else(none, |address| clean(address)),
        role,
        member.lag.map_or_else(none, |lag| lag.to_string()),
        status.map_or_else(none, |status| size(status.free_bytes)),
        member.last_contact_ms.map_or("never".into(), age),
        status.map_or_else(none, |status| clean(&status.version)),
        status.map_or_else(none, |status| {
            format!("{}@{}", json::hex(&status.state_hash.slice(..status.state_hash.len().min(4))), status.applied_index)
        }),
    ]
}

/// Left-aligned columns, as wide as they need to be.
pub fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let lines: Vec<[String; N]> = std::iter::once(head.map(String::from)).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |line: &[String; N]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// What to call a node that may have no name yet.
pub fn name_or_id(name: &str, node_id: u64) -> String {
    if name.is_empty() { short_id(node_id) } else { clean(name) }
}

pub fn clean(text: &str) -> String {
    escape(text.as_bytes())
}

fn size(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < STEP {
            return format!("{size:.0} {unit}");
        }
        size /= STEP;
    }
    format!("{size:.1} GiB")
}

pub fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Member, Role, StatusResponse};

    use super::*;
    use crate::survey::Survey;

    #[test]
    fn the_report_shows_every_member_and_why_it_is_not_healthy() {
        let member = |id: u64, contact| Member {
            node_id: id << 32,
            name: format!("pi{id}"),
            addresses: vec![format!("10.0.0.{id}:50051")],
            voter: true,
            last_contact_ms: contact,
            durable_index: Some(40),
            ..Member::default()
        };
        let status = StatusResponse {
            node_id: 1 << 32,
            name: "pi1".into(),
            version: "0.1.0".into(),
            cluster_name: "home".into(),
            cluster_id: vec![0xab; 16].into(),
            role: Role::Leader.into(),
            term: 4,
            leader_id: 1 << 32,
            last_index: 42,
            commit_index: 42,
            applied_index: 42,
            state_hash: vec![0xcd; 32].into(),
            free_bytes: 13_207_024_640,
            members: vec![member(1, Some(0)), member(2, Some(35)), member(3, None)],
            ..StatusResponse::default()
        };
        let view = ClusterView::of(&Survey { answers: vec![("10.0.0.1".parse().unwrap(), status)], silent: vec![] });
        assert_eq!(
            report(&view, false),
            "\
cluster home (abababab): degraded (serving; can lose 0 more)
  pi2 does not answer
  pi3 does not answer

NAME  ID        ADDRESS         ROLE         LAG  FREE      CONTACT  VERSION  HASH@INDEX
pi1   00000001  10.0.0.1:50051  leader       0    12.3 GiB  0 ms     0.1.0    cdcdcdcd@42
pi2   00000002  10.0.0.2:50051  unreachable  2    -         35 ms    -        -
pi3   00000003  10.0.0.3:50051  unreachable  2    -         never    -        -
"
        );
        assert!(report(&view, true).contains("\x1b[33mdegraded"));
    }

    #[test]
    fn sizes_and_ages_are_short() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "2 KiB"), (512 << 20, "512 MiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (61_000, "61 s"), (600_000, "10 min"), (86_400_000, "24 h")] {
            assert_eq!(age(ms), text);
        }
    }
}
