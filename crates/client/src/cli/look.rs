//! The cluster as it is now, and whom a word on the command line means.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::console::Console;
use super::exit::Exit;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::explain;
use crate::named::{self, Candidate, Unclear};
use crate::survey::Survey;
use crate::view::ClusterView;

/// Bound of asking everybody once: those given first, then those they name, half of it each.
pub const LOOK_MS: u64 = 4_000;
pub const PAUSE_MS: u64 = 250;

/// What everybody says; an error if nobody says anything.
pub async fn everybody(client: &Client, time: Duration) -> Result<Survey, Error> {
    let survey = client.survey(time.min(Duration::from_millis(LOOK_MS))).await;
    if survey.answers.is_empty() { Err(explain::nobody_at(&survey)) } else { Ok(survey) }
}

/// The cluster in the words of its leader, for which it waits until the deadline: other nodes may know an old membership.
pub async fn led(client: &Client, deadline: Instant) -> Result<ClusterView, Error> {
    let started = Instant::now();
    loop {
        let survey = client.survey(left(deadline).min(Duration::from_millis(LOOK_MS))).await;
        let view = ClusterView::of(&survey);
        if view.leader().is_some() {
            return Ok(view);
        }
        let error = explain::no_leader(&survey, started.elapsed());
        if Instant::now() >= deadline || error.kind == Kind::Rejected {
            return Err(error);
        }
        sleep(Duration::from_millis(PAUSE_MS).min(left(deadline))).await;
    }
}

/// Whom `wanted` means; None if nobody.
pub fn meant(wanted: &str, among: &[Candidate]) -> Result<Option<Candidate>, Error> {
    match named::resolve(wanted, among) {
        Ok(candidate) => Ok(Some(candidate)),
        Err(Unclear::Unknown) => Ok(None),
        Err(Unclear::Ambiguous(candidates)) => {
            let message = format!("\"{wanted}\" may be any of {}", named::list(&candidates));
            Err(Error::new(Kind::Usage, message, "name it by more of its id"))
        }
    }
}

/// Tells that nobody is meant, and who could have been.
pub fn nobody(console: &Console, wanted: &str, among: &[Candidate]) -> Exit {
    console.no("absent", &no_such(wanted, among))
}

pub fn no_such(wanted: &str, among: &[Candidate]) -> String {
    format!("no node is called \"{wanted}\"; there are: {}", named::list(among))
}

/// Never nothing, so that each step is tried at least once.
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(PAUSE_MS))
}
