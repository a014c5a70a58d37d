//! `leader transfer`: hand the lead over, and wait until the new leader answers.

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::Transfer;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{PAUSE_MS, led, left, meant, nobody};
use super::settings::Settings;
use crate::error::{Error, Kind};
use crate::json;
use crate::named;
use crate::view::ClusterView;

pub async fn transfer(args: Transfer, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let deadline = Instant::now() + client.options.timeout;
    let view = led(&client, deadline).await?;
    let before = view.leader_id;
    let among = named::members(&view);
    let target = match &args.node {
        None => None,
        Some(wanted) => match meant(wanted, &among)? {
            None => return Ok(nobody(console, wanted, &among)),
            Some(node) => Some(node.node_id),
        },
    };
    if let Some(target) = target {
        if before == Some(target) {
            return leads(&view, "unchanged", "leads already", console);
        }
        if view.member(target).is_some_and(|member| !member.voter) {
            let message = format!("{} is a learner and cannot lead", view.label(target));
            return Err(Error::new(Kind::Rejected, message, "make it a voter first: rusty-kv member promote NODE"));
        }
    }
    if !view.voters().any(|voter| before != Some(voter.node_id)) {
        return Err(Error::new(Kind::NotExecuted, "there is no other voter", "add one first: rusty-kv member add NODE"));
    }
    let unknown = match client.transfer_leader(target).await {
        Ok(_) => None,
        // Who leads in the end tells what became of it.
        Err(error) if error.kind == Kind::Unknown => Some(error),
        Err(error) => return Err(error),
    };
    loop {
        let past = Instant::now() >= deadline;
        let now = led(&client, deadline).await;
        if let Ok(view) = &now
            && (view.leader_id == target || target.is_none() && view.leader_id != before)
        {
            return leads(view, "done", "leads now", console);
        }
        if past {
            return Err(unknown.unwrap_or_else(|| match now {
                Ok(view) => still(&view),
                Err(error) => error,
            }));
        }
        sleep(std::time::Duration::from_millis(PAUSE_MS).min(left(deadline))).await;
    }
}

fn leads(view: &ClusterView, result: &str, text: &str, console: &Console) -> Result<Exit, Error> {
    let leader = view.leader().expect("it was looked for until it answered");
    if console.is_json() {
        console.object(&json!({"result": result, "node_id": json::node_id(leader.node_id), "name": leader.name}))?;
    }
    console.message(&format!("{} {text}", leader.label));
    Ok(Exit::Done)
}

fn still(view: &ClusterView) -> Error {
    let message = format!("{} leads still: the other node has not taken over", view.label(view.leader_id.unwrap_or_default()));
    Error::new(Kind::NotExecuted, message, "try again; `rusty-kv member list` shows which voters are up to date")
}
