//! `wait`: instead of a loop with sleeps.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::Wait;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::view::{ClusterView, Verdict};

const DEFAULT_MS: u64 = 30_000;
const PAUSE_MS: u64 = 250;
/// Bound of one look at all members.
const LOOK_MS: u64 = 2_000;
/// Any key will do for a read that needs a leader and a quorum.
const PROBE: &[u8] = b"ready?";

pub async fn wait(args: Wait, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let time = settings.timeout.unwrap_or(Duration::from_millis(DEFAULT_MS));
    let deadline = Instant::now() + time;
    let found = find(settings, deadline).await?;
    let result = if args.healthy { "healthy" } else { "ready" };
    match result {
        "healthy" => healthy(&found, deadline, time).await?,
        _ => drop(with_time(&found, deadline).get(PROBE).await?),
    }
    if console.is_json() {
        console.object(&json!({"result": result}))?;
    }
    console.message(&format!("the cluster is {result}"));
    Ok(Exit::Done)
}

/// Nodes that are still booting are not in sight yet.
async fn find(settings: &Settings, deadline: Instant) -> Result<Client, Error> {
    loop {
        let settings = Settings { timeout: Some(left(deadline)), ..settings.clone() };
        match connect(&settings).await {
            Err(error) if error.kind == Kind::NotExecuted && Instant::now() < deadline => sleep(Duration::from_millis(PAUSE_MS)).await,
            done => return done,
        }
    }
}

async fn healthy(client: &Client, deadline: Instant, time: Duration) -> Result<(), Error> {
    loop {
        let survey = client.survey(left(deadline).min(Duration::from_millis(LOOK_MS))).await;
        let why = match ClusterView::of(&survey).verdict {
            Verdict::Healthy { .. } => return Ok(()),
            Verdict::Degraded { why, .. } | Verdict::Unavailable { why } => why.join("; "),
        };
        if Instant::now() >= deadline {
            let message = format!("the cluster is not healthy after {} s: {why}", time.as_secs_f32());
            return Err(Error::new(Kind::NotExecuted, message, "`rusty-kv status` shows every member"));
        }
        sleep(Duration::from_millis(PAUSE_MS).min(left(deadline))).await;
    }
}

fn with_time(client: &Client, deadline: Instant) -> Client {
    let mut client = client.clone();
    client.options.timeout = left(deadline);
    client
}

/// Never nothing, so that each step is tried at least once.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(PAUSE_MS))
}
