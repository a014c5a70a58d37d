//! `discover`: every node that mDNS sees.

use std::time::Duration;

use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use super::status::table;
use crate::cluster_id::is_meant;
use crate::error::Error;
use crate::find::{self, Seen};
use crate::json;
use crate::view::short_id;

/// Two questions and their answers.
const LOOK_MS: u64 = 2_500;

pub async fn discover(settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let seen = find::discover(settings.timeout.unwrap_or(Duration::from_millis(LOOK_MS))).await?;
    let wanted = settings.cluster.as_deref();
    let (meant, others): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|node| is_meant(wanted, &node.cluster_name, node.cluster_id));
    if meant.is_empty() {
        return Err(find::not_in_sight(wanted, others.into_iter().map(|node| node.cluster_name).collect()));
    }
    if console.is_json() {
        meant.iter().try_for_each(|node| console.object(&json::Node::from(node)))?;
    } else {
        console.data(table(["CLUSTER", "CLUSTER ID", "NAME", "ID", "STATE", "ADDRESS"], meant.iter().map(row).collect()).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn row(node: &Seen) -> [String; 6] {
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    [
        node.cluster_name.clone(),
        node.cluster_id.map_or("-".into(), |id| id.short()),
        node.name.clone(),
        short_id(node.node_id),
        node.state.clone(),
        addresses.join(", "),
    ]
}
