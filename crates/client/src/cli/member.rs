//! `member add`, `promote`, `replace`, `remove`: one change of the membership each.
//!
//! - What is so already is said and is a success, so that scripts may ask for it again and again. A name that nobody has is none, though: a
//!   node that is gone is recognised by its id in full.
//! - A change is accepted first and complete later. Each verb waits for the end, unless it is told not to; at the deadline the change goes on.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::{AddMember, Patience, PromoteMember, RemoveMember, ReplaceMember};
use super::ask::ask;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{PAUSE_MS, led, left, meant, nobody};
use super::settings::Settings;
use super::spinner::Spinner;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::explain;
use crate::goal::{Goal, Way};
use crate::json;
use crate::members::{Change, Stage};
use crate::named::{self, Candidate};
use crate::view::{ClusterView, Intent, Standing};
use proto::v1::Reason;

/// Catching up takes as long as a board's disk and network need.
const DEFAULT_MS: u64 = 300_000;
/// So long a change that was accepted may not be seen yet: the list shown may be a moment old.
const UNSEEN_MS: u64 = 5_000;
/// Fewer voters cannot lose one.
const SAFE_VOTERS: usize = 3;

pub async fn add(args: AddMember, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let work = Work::begin(settings, console, args.patience).await?;
    let among = work.everybody();
    let Some(node) = meant(&args.node, &among)? else { return Ok(nobody(console, &args.node, &among)) };
    refuse_removed(&node)?;
    let node_id = node.node_id;
    let standing = work.view.member(node_id).map(|member| member.standing);
    let change = match standing {
        None => Some(Change::Add { node_id, as_voter: !args.learner, address: node.address }),
        Some(Standing::Learner(Intent::Stay)) if !args.learner => Some(Change::Promote { node_id }),
        Some(_) => None,
    };
    let votes = standing.is_some_and(|standing| !matches!(standing, Standing::Learner(_)));
    let what = if args.learner && !votes { "a learner" } else { "a voter" };
    let goal = if args.learner { Goal::Member(node_id) } else { Goal::Voter(node_id) };
    work.carry_out("add", node_id, change, goal, format!("is {what}")).await
}

pub async fn promote(args: PromoteMember, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let work = Work::begin(settings, console, args.patience).await?;
    let members = named::members(&work.view);
    let Some(node) = meant(&args.node, &members)? else {
        if let Some(pending) = meant(&args.node, &named::pending(&work.view))? {
            let message = format!("{} is no member yet", work.label(pending.node_id));
            let next = format!("to let it in: rusty-kv member add {}", args.node);
            return Err(Error::new(Kind::Rejected, message, next).because(Reason::NotAMember));
        }
        return Ok(nobody(console, &args.node, &members));
    };
    let node_id = node.node_id;
    let stays = work.view.member(node_id).is_some_and(|member| member.standing == Standing::Learner(Intent::Stay));
    work.carry_out("promote", node_id, stays.then_some(Change::Promote { node_id }), Goal::Voter(node_id), "is a voter".into()).await
}

pub async fn replace(args: ReplaceMember, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let work = Work::begin(settings, console, args.patience).await?;
    let (voters, learners): (Vec<Candidate>, Vec<Candidate>) =
        named::members(&work.view).into_iter().partition(|member| work.view.member(member.node_id).is_some_and(|member| member.voter));
    let outside = [named::pending(&work.view), learners.clone()].concat();
    // A wiped board has the name of the one it replaces, so the voters come last.
    let new = match meant(&args.new, &outside)? {
        Some(new) => Some(new),
        None => meant(&args.new, &voters)?,
    };
    let Some(new) = new else { return Ok(nobody(console, &args.new, &outside)) };
    refuse_removed(&new)?;
    let votes = voters.contains(&new);
    let Some(old) = meant(&args.old, &voters)? else {
        if let Some(learner) = meant(&args.old, &learners)? {
            let message = format!("{} is a learner, and only a voter's place can be taken", work.label(learner.node_id));
            return Err(Error::new(Kind::Rejected, message, "to take it out: rusty-kv member remove NODE").because(Reason::NotAMember));
        }
        if !votes || !named::is_full_id(&args.old) {
            return Ok(nobody(console, &args.old, &voters));
        }
        let state = format!("is a voter, and {} is not", args.old);
        return work.carry_out("replace", new.node_id, None, Goal::Voter(new.node_id), state).await;
    };
    if votes && !crate::goal::is_joint(&work.view) {
        let message = format!("{} is a voter itself and cannot take the place of {}", work.label(new.node_id), work.label(old.node_id));
        return Err(Error::new(Kind::Rejected, message, "to have one voter less: rusty-kv member remove OLD"));
    }
    let (old_id, new_id) = (old.node_id, new.node_id);
    let under_way = work.view.member(new_id).is_some_and(|member| member.standing == Standing::Learner(Intent::Replace(old_id)));
    let change = (!under_way && !votes).then_some(Change::Replace { old_id, new_id, address: new.address });
    let state = format!("votes in the place of {}", work.label(old_id));
    work.carry_out("replace", new_id, change, Goal::Replaced { old: old_id, new: new_id }, state).await
}

pub async fn remove(args: RemoveMember, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let work = Work::begin(settings, console, args.patience).await?;
    let members = named::members(&work.view);
    let Some(node) = meant(&args.node, &members)? else {
        // An id in full is no slip of the fingers: its node is out already. A name may be misspelt.
        if !named::is_full_id(&args.node) {
            return Ok(nobody(console, &args.node, &members));
        }
        if console.is_json() {
            console.object(&json::Change { result: "unchanged", change: "remove", node_id: None, name: args.node.clone(), next: None })?;
        }
        console.message(&format!("{} is no member already; the members are {}", args.node, named::list(&members)));
        return Ok(Exit::Done);
    };
    let node_id = node.node_id;
    let voters: Vec<u64> =
        work.view.members.iter().filter(|member| member.standing == Standing::Voter).map(|member| member.node_id).collect();
    if voters == [node_id] {
        let message = format!("{} is the only voter; without it there is no cluster", work.label(node_id));
        return Err(Error::new(Kind::Rejected, message, explain::next_step(Kind::Rejected, Reason::LastVoter)).because(Reason::LastVoter));
    }
    let left = voters.len() - 1;
    if !args.yes && voters.contains(&node_id) && (left < SAFE_VOTERS || left.is_multiple_of(2)) {
        let spare = left - crate::view::quorum(left);
        let voters = voters.len();
        let what = format!("{} is one of {voters} voters, and the {left} left can lose {spare}", work.label(node_id));
        if !std::io::stdin().is_terminal() {
            return Err(Error::new(Kind::Usage, format!("{what}; there is no terminal to ask on"), "add --yes if you mean that"));
        }
        if !ask(&format!("{what}; remove it?")).await? {
            console.message("nothing was changed");
            return Ok(Exit::Done);
        }
    }
    work.carry_out("remove", node_id, Some(Change::Remove { node_id }), Goal::Gone(node_id), "is no member".into()).await
}

/// An id that was removed never comes back, and the node need not be asked to know that.
fn refuse_removed(node: &Candidate) -> Result<(), Error> {
    if node.what != named::REMOVED {
        return Ok(());
    }
    let message = format!("{} was removed from this cluster, and an id never comes back", named::list(std::slice::from_ref(node)));
    Err(Error::new(Kind::Rejected, message, "wipe its board: it then has a new id").because(Reason::Removed))
}

/// One change, from the first look at the cluster on.
struct Work<'a> {
    client: Client,
    console: &'a Console,
    view: ClusterView,
    waits: bool,
    deadline: Instant,
    time: Duration,
}

impl<'a> Work<'a> {
    async fn begin(settings: &Settings, console: &'a Console, patience: Patience) -> Result<Work<'a>, Error> {
        let time = settings.timeout.unwrap_or(Duration::from_millis(DEFAULT_MS));
        let deadline = Instant::now() + time;
        let client = connect(settings).await?;
        let view = led(&client, Instant::now() + client.options.timeout).await?;
        Ok(Work { client, console, view, waits: !patience.no_wait, deadline, time })
    }

    /// All that may be added: who is outside, and who is a member already.
    fn everybody(&self) -> Vec<Candidate> {
        [named::pending(&self.view), named::members(&self.view)].concat()
    }

    fn label(&self, node_id: u64) -> String {
        self.view.label(node_id)
    }

    /// Asks for the change, if it takes one, and sees it through. `state` says what the node is in the end.
    async fn carry_out(
        mut self,
        verb: &'static str,
        node_id: u64,
        change: Option<Change>,
        goal: Goal,
        state: String,
    ) -> Result<Exit, Error> {
        let label = self.label(node_id);
        let told = |result, next: &str| self.tell(verb, node_id, &label, result, next);
        let Some(change) = change else {
            if goal.way(&self.view) == Way::Arrived {
                told("unchanged", "")?;
                self.console.message(&format!("{label} {state} already"));
                return Ok(Exit::Done);
            }
            if !self.waits {
                told("under_way", "the change is under way already")?;
                self.console.message(&format!("{label}: the change is under way already"));
                return Ok(Exit::Done);
            }
            return self.see_through(verb, node_id, goal, &state, "done", None).await;
        };
        match self.client.change_member(&change).await {
            Ok(changed) if changed.stage == Stage::Done || !self.waits => {
                let done = matches!(changed.stage, Stage::Done | Stage::Unchanged);
                told(if done { "done" } else { "under_way" }, &changed.next)?;
                let next = if changed.next.is_empty() { "the rest follows by itself" } else { &changed.next };
                let text = if done { format!("{label} {state}") } else { format!("{label}: {next}") };
                self.console.message(&text);
                Ok(Exit::Done)
            }
            Ok(changed) => {
                if !changed.next.is_empty() {
                    self.console.message(&format!("{label}: {}", changed.next));
                }
                let result = if changed.stage == Stage::Unchanged { "unchanged" } else { "done" };
                self.see_through(verb, node_id, goal, &state, result, None).await
            }
            // The answer was lost; the membership itself may tell.
            Err(error) if error.kind == Kind::Unknown && self.waits => {
                self.see_through(verb, node_id, goal, &state, "done", Some(error)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the goal is reached. `unknown`: whether the change was taken is not known.
    async fn see_through(
        &mut self,
        verb: &'static str,
        node_id: u64,
        goal: Goal,
        state: &str,
        result: &'static str,
        unknown: Option<Error>,
    ) -> Result<Exit, Error> {
        let spinner = Spinner::new(self.console);
        let mut unseen_since = None;
        let label = loop {
            let label = self.label(node_id);
            let past = Instant::now() >= self.deadline;
            match led(&self.client, self.deadline).await {
                Ok(view) => self.view = view,
                Err(error) => return Err(unknown.unwrap_or(error)),
            }
            let how_far = match goal.way(&self.view) {
                Way::Arrived => break label,
                Way::Going(how_far) => {
                    unseen_since = None;
                    how_far
                }
                Way::Nowhere => {
                    let since = *unseen_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Duration::from_millis(UNSEEN_MS) {
                        return Err(unknown.unwrap_or_else(|| given_up(&label)));
                    }
                    "the leader does not show the change yet".into()
                }
            };
            if past {
                return Err(unknown.unwrap_or_else(|| not_yet(&label, state, &how_far, self.time)));
            }
            spinner.say(&how_far);
            sleep(Duration::from_millis(PAUSE_MS).min(left(self.deadline))).await;
        };
        drop(spinner);
        self.tell(verb, node_id, &label, result, "")?;
        self.console.message(&format!("{label} {state}"));
        Ok(Exit::Done)
    }

    fn tell(&self, change: &'static str, node_id: u64, label: &str, result: &'static str, next: &str) -> Result<(), Error> {
        if !self.console.is_json() {
            return Ok(());
        }
        let name = self.view.member(node_id).map_or(label, |member| &member.name).to_string();
        let next = Some(next.to_string()).filter(|next| !next.is_empty());
        self.console.object(&json::Change { result, change, node_id: Some(json::node_id(node_id)), name, next })
    }
}

fn not_yet(label: &str, state: &str, how_far: &str, time: Duration) -> Error {
    let message = format!("after {} s it is not yet so that {label} {state}: {how_far}", time.as_secs_f32());
    let next = "the change goes on by itself: `rusty-kv member list` shows how far it is, and the same command waits on";
    Error::new(Kind::NotExecuted, message, next)
}

fn given_up(label: &str) -> Error {
    let message = format!("the change of {label} was taken, and the leader shows nothing of it: another change came in between");
    Error::new(Kind::NotExecuted, message, "look at `rusty-kv member list`, then try again")
}
