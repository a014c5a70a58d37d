//! `can-stop`: for whoever is about to take a node away, by hand or by script.

use serde_json::json;

use super::args::CanStop;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{everybody, meant, no_such};
use super::settings::Settings;
use crate::can_stop::objections;
use crate::error::{Error, Kind};
use crate::json;
use crate::named;
use crate::survey::Survey;
use crate::view::ClusterView;

pub async fn can_stop(args: CanStop, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let survey = match look(settings).await {
        // Who cannot be asked has not said yes.
        Err(error) if error.kind == Kind::NotExecuted => {
            console.fail(&error);
            return Ok(Exit::MustNotStop);
        }
        survey => survey?,
    };
    let view = ClusterView::of(&survey);
    let among = [named::members(&view), named::pending(&view)].concat();
    let Some(node) = meant(&args.node, &among)? else {
        // A misspelt name must not read as a yes, nor as a fault that a script retries.
        let why = no_such(&args.node, &among);
        if console.is_json() {
            console.object(&json!({"can_stop": false, "why": [why], "name": args.node}))?;
        }
        console.message(&why);
        return Ok(Exit::MustNotStop);
    };
    let why = objections(&survey, node.node_id);
    if console.is_json() {
        console.object(&json!({"can_stop": why.is_empty(), "why": why, "node_id": json::node_id(node.node_id), "name": node.name}))?;
    }
    let label = view.label(node.node_id);
    if why.is_empty() {
        console.message(&format!("{label} can be stopped"));
        return Ok(Exit::Done);
    }
    console.message(&format!("{label} must not be stopped now:\n  {}", why.join("\n  ")));
    Ok(Exit::MustNotStop)
}

async fn look(settings: &Settings) -> Result<Survey, Error> {
    let client = connect(settings).await?;
    everybody(&client, client.options.timeout).await
}
