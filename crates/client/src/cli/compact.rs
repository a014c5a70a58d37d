//! `compact`: each node cuts its own log.

use tokio::time::Instant;

use super::args::Compact;
use super::connect;
use super::look::{everybody, meant, nobody};
use super::settings::Settings;
use crate::error::Error;
use crate::explain;
use crate::json;
use crate::named;
use crate::view::{ClusterView, MemberView};

use super::console::Console;
use super::exit::Exit;

pub async fn compact(args: Compact, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let started = Instant::now();
    let survey = everybody(&client, client.options.timeout).await?;
    let view = ClusterView::of(&survey);
    if view.members.is_empty() {
        return Err(explain::no_leader(&survey, started.elapsed()));
    }
    let among = named::members(&view);
    let wanted = match &args.node {
        None => None,
        Some(wanted) => match meant(wanted, &among)? {
            None => return Ok(nobody(console, wanted, &among)),
            Some(node) => Some(node.node_id),
        },
    };
    let asked: Vec<&MemberView> = view
        .members
        .iter()
        .filter(|member| if let Some(wanted) = wanted { member.node_id == wanted } else { member.status.is_some() })
        .collect();
    let mut exit = Exit::Done;
    for member in asked {
        let done = client.compact(&member.addresses).await;
        if console.is_json() {
            let (node_id, name) = (json::node_id(member.node_id), member.name.clone());
            let (mark_index, freed_entries) =
                (done.as_ref().ok().map(|done| done.mark_index), done.as_ref().ok().map(|done| done.freed_entries));
            console.object(&json::Compacted {
                node_id,
                name,
                mark_index,
                freed_entries,
                error: done.as_ref().err().map(Error::to_string),
            })?;
        }
        match done {
            Ok(done) => console.message(&format!(
                "{}: freed {}, the log begins behind {}",
                member.label,
                counted_entries(done.freed_entries),
                done.mark_index
            )),
            Err(error) => exit = console.fail(&Error { message: format!("{}: {}", member.label, error.message), ..error }),
        }
    }
    let silent: Vec<&str> = view.members.iter().filter(|member| member.status.is_none()).map(|member| member.label.as_str()).collect();
    if wanted.is_none() && !silent.is_empty() {
        let why = if silent.len() == 1 { "it does not answer" } else { "they do not answer" };
        console.message(&format!("not asked, because {why}: {}", silent.join(", ")));
    }
    Ok(exit)
}

fn counted_entries(n: u64) -> String {
    if n == 1 { "1 entry".into() } else { format!("{n} entries") }
}
