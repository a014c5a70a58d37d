//! `login`: this user, on this machine, becomes somebody for a closed cluster.

use discovery::Peer;
use serde_json::json;
use trust::Token;

use super::args::Login as Args;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use crate::admission;
use crate::error::{Error, Kind};
use crate::find;
use crate::login::Logins;

pub async fn login(args: Args, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let token: Token = parse(&args.token)?;
    let logins = Logins::of_user().ok_or_else(|| Error::new(Kind::Usage, "there is no home directory to keep a login in", "set HOME"))?;
    let peers = match &settings.peers {
        Some(peers) => peers.clone(),
        None => in_sight(settings).await?,
    };
    let login = admission::log_in(&token, &user(), &peers).await?;
    let path = logins.store(&login)?;
    if console.is_json() {
        console.object(&json!({"result": "done", "cluster_name": login.cluster_name, "cluster_id": login.cluster_id.to_string(), "role": login.grant(), "path": path}))?;
    }
    console.message(&format!("logged in to cluster \"{}\" ({}); kept in {}", login.cluster_name, login.grant(), path.display()));
    Ok(Exit::Done)
}

/// What the user was given, read.
pub fn parse(text: &str) -> Result<Token, Error> {
    text.parse().map_err(|error: trust::Error| Error::new(Kind::Usage, error.to_string(), "a token looks like rkv1.….…; copy all of it"))
}

async fn in_sight(settings: &Settings) -> Result<Vec<Peer>, Error> {
    Ok(find::find(settings.cluster.as_deref(), None, None, settings.options().timeout).await?.peers)
}

fn user() -> String {
    let name = std::env::var("USER").unwrap_or_default();
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{name}@{}", host.trim())
}
