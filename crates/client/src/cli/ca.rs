//! `ca show|rotate`: the authority whose certificates the cluster believes, and its exchange for a new one.
//!
//! To begin and to finish are two commands, so that there is time between them: every login that is used meanwhile learns of the new authority,
//! and the others are locked out by the finish. It goes on only while every member has taken the step before, for one that slept
//! through two of them could not prove itself any more.

use std::time::Duration;

use proto::v1::{self, RotationStep, StatusResponse};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::RotateCa;
use super::asked::asked;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{PAUSE_MS, led};
use super::settings::Settings;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::hex::hex;
use crate::view::MemberView;

/// For nodes to hear of a step, which takes them a second or two.
const STEP_TIMEOUT_S: u64 = 30;
/// Boards look every second whether they are to sign with the new one; this login has asked one of them.
const OTHERS_FOLLOW_S: u64 = 2;
/// Shown of a hash; all of it is in JSON.
const SHOWN_BYTES: usize = 8;

pub async fn show(settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let found = step(&client, RotationStep::Unspecified).await?;
    let view = led(&client, Instant::now() + client.options.timeout).await?;
    if console.is_json() {
        let nodes: Vec<_> = view.members.iter().map(|member| json!({"name": member.name, "status": standing(member, &found)})).collect();
        let authorities: Vec<String> = found.authorities.iter().map(|hash| hex(hash)).collect();
        console.object(&json!({"authorities": authorities, "shown": hex(&found.shown), "nodes": nodes}))?;
        return Ok(Exit::Done);
    }
    for authority in &found.authorities {
        let shown = if *authority == found.shown { "  shown by nodes" } else { "" };
        console.data(format!("authority {}…  trusted{shown}\n", short(authority)).as_bytes())?;
    }
    for member in &view.members {
        console.data(format!("{}  {}\n", member.label, standing(member, &found)).as_bytes())?;
    }
    Ok(Exit::Done)
}

pub async fn rotate(args: RotateCa, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    match args.finish {
        true => finish(&client, args.force, settings, console).await,
        false => begin(&client, settings, console).await,
    }
}

async fn begin(client: &Client, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let begun = step(client, RotationStep::Begin).await?;
    if let [newest, _old] = &begun.authorities[..] {
        // Only when this has ended does every login that is used get a certificate of the new one.
        let patience = settings.timeout.unwrap_or(Duration::from_secs(STEP_TIMEOUT_S));
        until_all(client, true, patience, |status| status.authorities.contains(newest)).await?;
        until_own_login_lasts(newest, patience, settings).await?;
        sleep(Duration::from_secs(OTHERS_FOLLOW_S)).await;
    }
    done(console, begun.changed, &begun)?;
    console.message(match begun.changed {
        true => {
            "a new authority is trusted beside the old one. Every login that is used from now on learns of it by itself. When all that matter have \
             been used: `rusty-kv ca rotate --finish`"
        }
        false => "a new authority is trusted beside the old one already; `rusty-kv ca rotate --finish` drops the old one",
    });
    Ok(Exit::Done)
}

async fn finish(client: &Client, force: bool, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let found = step(client, RotationStep::Unspecified).await?;
    let [newest, _old] = &found.authorities[..] else {
        done(console, false, &found)?;
        console.message("only one authority is trusted: there is nothing to finish. `rusty-kv ca rotate` begins");
        return Ok(Exit::Done);
    };
    let patience = settings.timeout.unwrap_or(Duration::from_secs(STEP_TIMEOUT_S));
    until_all(client, force, patience, |status| status.authorities.contains(newest)).await?;
    until_own_login_lasts(newest, patience, settings).await?;
    step(client, RotationStep::Show).await?;
    until_all(client, force, patience, |status| status.shown_authority == *newest).await?;
    let dropped = step(client, RotationStep::Drop).await?;
    done(console, dropped.changed, &dropped)?;
    console.message(
        "the old authority is trusted no more. Tokens made before are void (`rusty-kv token new`); a login that was not used meanwhile needs a new token",
    );
    Ok(Exit::Done)
}

async fn step(client: &Client, step: RotationStep) -> Result<v1::RotateAuthorityResponse, Error> {
    Ok(asked!(client, None, rotate_authority, v1::RotateAuthorityRequest { step: step.into() }))
}

/// Until every member has taken the step; with `force`, every member that answers.
async fn until_all(client: &Client, force: bool, patience: Duration, taken: impl Fn(&StatusResponse) -> bool) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let view = led(client, deadline).await?;
        let has_not = |member: &&MemberView| member.status.as_ref().map_or(!force, |status| !taken(status));
        let missing: Vec<&str> = view.members.iter().filter(has_not).map(|member| member.label.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let message = format!("not every node has heard of the new authority: {}", missing.join(", "));
            let advice = "start those, or take them out (`rusty-kv member remove`), and run this again; with --force those that do not answer are \
                          left behind, and must be wiped and join anew";
            return Err(Error::new(Kind::NotExecuted, message, advice));
        }
        sleep(Duration::from_millis(PAUSE_MS)).await;
    }
}

/// Nodes begin to sign with the new authority some seconds after they have heard of it; whoever finishes must not lock itself out.
async fn until_own_login_lasts(newest: &[u8], patience: Duration, settings: &Settings) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let client = connect(settings).await?;
        step(&client, RotationStep::Unspecified).await?;
        if client.pool.comes_by(newest) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::new(Kind::NotExecuted, "this login is not of the new authority yet", "try again in a few seconds"));
        }
        sleep(Duration::from_millis(PAUSE_MS)).await;
    }
}

fn done(console: &Console, changed: bool, now: &v1::RotateAuthorityResponse) -> Result<(), Error> {
    if !console.is_json() {
        return Ok(());
    }
    let authorities: Vec<String> = now.authorities.iter().map(|hash| hex(hash)).collect();
    console.object(&json!({"result": if changed { "done" } else { "unchanged" }, "authorities": authorities, "shown": hex(&now.shown)}))
}

fn standing(member: &MemberView, wanted: &v1::RotateAuthorityResponse) -> String {
    match &member.status {
        None => "does not answer".into(),
        Some(status) if status.authorities != wanted.authorities => "has not heard of all that are trusted".into(),
        Some(status) => format!("trusts them, shows {}…", short(&status.shown_authority)),
    }
}

fn short(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(SHOWN_BYTES)])
}
