//! `cluster recover`: a new cluster out of what one node still holds, for when the majority is gone for good.
//!
//! - This end looks around, shows what may be lost, and makes sure that it is meant. The work is done by `rusty-kvd` on the survivor's machine.
//! - While a majority answers as one cluster with a leader, nothing is lost and nothing is recovered.
//! - The node of this machine is stopped meanwhile, so it may well be that nobody answers.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::args::Recover;
use super::ask::ask_for;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{LOOK_MS, left};
use super::settings::Settings;
use super::status::{clean, table};
use crate::error::{Error, Kind};
use crate::json;
use crate::survey::Survey;
use crate::view::{ClusterView, MemberView, Verdict, quorum, short_id};
use tokio::time::Instant;

const PROGRAM: &str = "rusty-kvd";
/// What cargo calls this program and that one.
const CARGO_NAMES: (&str, &str) = ("client", "server");

pub async fn recover(args: Recover, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    if args.yes.is_none() && !std::io::stdin().is_terminal() {
        return Err(usage("there is no terminal to ask on", "add --yes and the cluster's name if you mean that"));
    }
    let view = ClusterView::of(&look(settings).await?);
    if let Some(why) = refusal(&view) {
        return Err(Error::new(
            Kind::Rejected,
            why,
            "nothing is lost: start or replace the nodes that are down (rusty-kv member replace OLD NEW)",
        ));
    }
    if console.is_json() {
        console.object(&recovery(&view))?;
    } else {
        console.warn(&report(&view));
    }
    let name = match args.yes {
        Some(name) => name,
        None => ask_for("To start a new cluster from the node of this machine, type the cluster's name:").await?,
    };
    if name.is_empty() || (!view.name.is_empty() && view.name != name) {
        let seen = if view.name.is_empty() { "it has a name".into() } else { format!("it is called \"{}\"", view.name) };
        return Err(usage(&format!("\"{name}\" is not the name of the cluster: {seen}"), "nothing was changed"));
    }
    run(&name, args.data_dir.as_deref(), console).await
}

/// What those in reach say, which may be nobody.
async fn look(settings: &Settings) -> Result<Survey, Error> {
    let look = std::time::Duration::from_millis(LOOK_MS);
    match connect(settings).await {
        Ok(client) => Ok(client.survey(left(Instant::now() + settings.timeout.unwrap_or(look)).min(look)).await),
        Err(error) if error.kind == Kind::NotExecuted => Ok(Survey::default()),
        Err(error) => Err(error),
    }
}

/// Why there is nothing to recover.
fn refusal(view: &ClusterView) -> Option<String> {
    let serves = !matches!(view.verdict, Verdict::Unavailable { .. });
    let (voters, up) = answering(view);
    let leader = view.leader_id.filter(|_| serves || up >= quorum(voters))?;
    Some(format!("the cluster has a leader, {}, and {up} of {voters} voters answer", view.label(leader)))
}

fn answering(view: &ClusterView) -> (usize, usize) {
    (view.voters().count(), view.voters().filter(|voter| voter.status.is_some()).count())
}

/// How far a node's memory reaches.
fn reaches(member: &MemberView) -> Option<u64> {
    member.status.as_ref().map(|status| status.last_index.max(status.applied_index))
}

fn recovery(view: &ClusterView) -> json::Recovery {
    let nodes = view.members.iter().map(|member| json::Survivor {
        node_id: json::node_id(member.node_id),
        name: member.name.clone(),
        reachable: member.status.is_some(),
        reaches: reaches(member),
    });
    json::Recovery { cluster_name: view.name.clone(), nodes: nodes.collect() }
}

fn report(view: &ClusterView) -> String {
    if view.members.is_empty() {
        return "No node answers, so nobody can say what is lost: everything that the node of this machine does not hold.".into();
    }
    let row = |member: &MemberView| {
        let kind = if member.voter { "voter" } else { "learner" };
        let reaches = reaches(member).map_or("does not answer".into(), |index| index.to_string());
        [clean(&member.name), short_id(member.node_id), kind.to_string(), reaches]
    };
    let mut text = table(["NAME", "ID", "KIND", "REACHES"], view.members.iter().map(row).collect());
    let silent: Vec<String> = view.voters().filter(|voter| voter.status.is_none()).map(|voter| clean(&voter.label)).collect();
    if !silent.is_empty() {
        text += &format!("Lost is what only these hold, acknowledged or not: {}\n", silent.join(", "));
    }
    if let Some(furthest) = view.members.iter().filter(|member| member.status.is_some()).max_by_key(|member| reaches(member)) {
        let index = reaches(furthest).unwrap_or_default();
        text += &format!(
            "Do this on the node that reaches furthest: {} ({index}). What lies behind its end is lost, too.\n",
            clean(&furthest.label)
        );
    }
    let (voters, up) = answering(view);
    if up >= quorum(voters) {
        text += &format!("{up} of {voters} voters answer: they may yet elect a leader, and then nothing is lost. Wait for that first.\n");
    }
    text + "All other nodes must then be started anew, with empty data directories."
}

async fn run(name: &str, data_dir: Option<&Path>, console: &Console) -> Result<Exit, Error> {
    let mut line = vec!["--recover-accept-loss".to_string(), name.to_string()];
    if let Some(dir) = data_dir {
        line.extend(["--data-dir".into(), dir.display().to_string()]);
    }
    let Some(program) = program() else {
        let next = format!("on the machine where it is installed, type: rusty-kvd {}", quoted(&line));
        return Err(Error::new(Kind::File, "rusty-kvd is neither beside this program nor in PATH", next));
    };
    let mut command = Command::new(&program);
    command.arg("--recover-accept-loss").arg(name).stdin(Stdio::null());
    if let Some(dir) = data_dir {
        command.arg("--data-dir").arg(dir);
    }
    let ended = tokio::task::spawn_blocking(move || command.status()).await.expect("waiting for a program does not panic");
    let ended = ended.map_err(|error| Error::file(format!("cannot run {}", program.display()), error))?;
    match ended.code() {
        Some(0) => console.message("rusty-kvd has done its work; start the node of this machine now"),
        Some(code) => console.warn(&format!("rusty-kv: rusty-kvd ended with exit code {code}")),
        None => console.warn("rusty-kv: rusty-kvd was killed"),
    }
    Ok(match ended.code() {
        Some(0) => Exit::Done,
        Some(code) => Exit::Passed(u8::try_from(code).unwrap_or(u8::MAX)),
        None => Exit::Unknown,
    })
}

/// The node's program: beside this one, else wherever the system looks for programs.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().map(|own| own.with_file_name(PROGRAM));
    // Where things are installed, a `server` is anybody's.
    let built = own.filter(|own| own.file_name().is_some_and(|name| name == CARGO_NAMES.0));
    let built = built.map(|own| own.with_file_name(CARGO_NAMES.1));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    beside.into_iter().chain(built).chain(installed).find(|file| file.is_file())
}

/// As it is typed in a shell.
fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn usage(message: &str, next: &str) -> Error {
    Error::new(Kind::Usage, message, next)
}
