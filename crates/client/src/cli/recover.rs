//! `cluster recover`: a new cluster out of what one node still holds, for when the majority is gone for good.
//!
//! - This end looks around, shows what may be lost, and makes sure that it is meant. The work is done by `rusty-kvd` on the survivor's machine.
//! - While a majority answers as one cluster with a leader, nothing is lost and nothing is recovered. The node's own directory names the
//!   cluster and where its members were: addresses given by hand, or none, do not get around that.
//! - The node of this machine is stopped meanwhile, so it may well be that nobody answers.
//! - A node in reach that holds more is the better one to go on from. That is known only if `rusty-kvd` tells how far this one reaches; else
//!   people have to compare.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::args::Recover;
use super::ask::ask_for;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::look::{LOOK_MS, left};
use super::own_node::OwnNode;
use super::settings::Settings;
use super::status::{clean, name_or_id, table};
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
    let own = OwnNode::look(program(), args.data_dir.clone()).await;
    let view = ClusterView::of(&look(settings, &own).await?);
    if let Some(why) = refusal(&view) {
        return Err(Error::new(
            Kind::Rejected,
            why,
            "nothing is lost: start or replace the nodes that are down (rusty-kv member replace OLD NEW)",
        ));
    }
    if let Some(trouble) = &own.trouble {
        return Err(trouble.clone());
    }
    let nodes = remains(&view, &own);
    if console.is_json() {
        console.object(&recovery(&nodes, &view, &own))?;
    } else {
        console.warn(&report(&nodes, &view, &own));
    }
    if let Some(error) = further(&nodes, &own).filter(|_| !args.even_if_behind) {
        return Err(error);
    }
    let name = match args.yes {
        Some(name) => name,
        None => ask_for("To start a new cluster from the node of this machine, type the cluster's name:").await?,
    };
    match own.cluster_name.as_deref().or(Some(view.name.as_str()).filter(|name| !name.is_empty())) {
        Some(real) if real != name => {
            return Err(usage(&format!("that is not the cluster's name (it is called {real})"), "nothing was changed"));
        }
        None if name.is_empty() => return Err(usage("that is not the cluster's name", "nothing was changed")),
        _ => {}
    }
    run(&name, args.data_dir.as_deref(), console).await
}

/// What those in reach say, which may be nobody. Whoever the node of this machine remembers is asked as well.
async fn look(settings: &Settings, own: &OwnNode) -> Result<Survey, Error> {
    let look = std::time::Duration::from_millis(LOOK_MS);
    let deadline = Instant::now() + settings.timeout.unwrap_or(look);
    let cluster = own.cluster_id.map(|id| id.to_string()).or(settings.cluster.clone());
    let mut settings = Settings { cluster, ..settings.clone() };
    let mut peers = match settings.peers.take() {
        Some(peers) => peers,
        None => match connect(&settings).await {
            Ok(client) => client.pool.candidates(),
            Err(error) if error.kind == Kind::NotExecuted => Vec::new(),
            Err(error) => return Err(error),
        },
    };
    let unknown: Vec<_> = own.addresses().filter(|peer| !peers.contains(peer)).cloned().collect();
    peers.extend(unknown);
    if peers.is_empty() {
        return Ok(Survey::default());
    }
    let client = connect(&Settings { peers: Some(peers), ..settings }).await?;
    Ok(client.survey(left(deadline).min(look)).await)
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

/// A node of the old cluster.
struct Remnant {
    node_id: u64,
    name: String,
    label: String,
    /// `None` where nobody in reach knows.
    voter: Option<bool>,
    reach: Reach,
}

/// How far a node's memory reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    To(u64),
    /// That of the node of this machine, which is stopped.
    Here(Option<u64>),
    /// It does not answer.
    Silent,
}

impl Reach {
    fn is_here(self) -> bool {
        matches!(self, Reach::Here(_))
    }

    fn index(self) -> Option<u64> {
        match self {
            Reach::To(index) | Reach::Here(Some(index)) => Some(index),
            Reach::Here(None) | Reach::Silent => None,
        }
    }
}

/// The members as those in reach know them, else as the node of this machine remembers them.
fn remains(view: &ClusterView, own: &OwnNode) -> Vec<Remnant> {
    let reach = |member: &MemberView| match &member.status {
        _ if own.node_id == Some(member.node_id) => Reach::Here(own.last_index),
        Some(status) => Reach::To(status.last_index.max(status.applied_index)),
        None => Reach::Silent,
    };
    let member = |member: &MemberView| Remnant {
        node_id: member.node_id,
        name: member.name.clone(),
        label: member.label.clone(),
        voter: Some(member.voter),
        reach: reach(member),
    };
    let mut nodes: Vec<Remnant> = view.members.iter().map(member).collect();
    let named = |node_id: u64, name: &str, reach: Reach| Remnant {
        node_id,
        name: name.into(),
        label: name_or_id(name, node_id),
        voter: None,
        reach,
    };
    if view.members.is_empty() {
        nodes.extend(own.others.iter().map(|other| named(other.node_id, &other.name, Reach::Silent)));
    }
    if let Some(node_id) = own.node_id.filter(|own| nodes.iter().all(|node| node.node_id != *own)) {
        nodes.push(named(node_id, &own.name, Reach::Here(own.last_index)));
    }
    nodes.sort_by_key(|node| node.node_id);
    nodes
}

/// Why another node is the better one to go on from.
fn further(nodes: &[Remnant], own: &OwnNode) -> Option<Error> {
    let here = own.last_index?;
    let other = furthest(nodes).filter(|(_, index)| *index > here);
    let (other, index) = other?;
    let message =
        format!("{} reaches further ({index}) than the node of this machine ({here}): what lies between would be lost", other.label);
    Some(Error::new(Kind::Rejected, message, "do this on its machine; or add --even-if-behind if that cannot be"))
}

fn furthest(nodes: &[Remnant]) -> Option<(&Remnant, u64)> {
    nodes.iter().filter_map(|node| Some((node, node.reach.index()?))).max_by_key(|(node, index)| (*index, node.reach.is_here()))
}

fn recovery(nodes: &[Remnant], view: &ClusterView, own: &OwnNode) -> json::Recovery {
    let survivor = |node: &Remnant| json::Survivor {
        node_id: json::node_id(node.node_id),
        name: node.name.clone(),
        reachable: matches!(node.reach, Reach::To(_)),
        here: node.reach.is_here(),
        reaches: node.reach.index(),
    };
    let cluster_name = own.cluster_name.clone().unwrap_or_else(|| view.name.clone());
    json::Recovery { cluster_name, nodes: nodes.iter().map(survivor).collect() }
}

fn report(nodes: &[Remnant], view: &ClusterView, own: &OwnNode) -> String {
    let row = |node: &Remnant| {
        let kind = node.voter.map_or("-", |voter| if voter { "voter" } else { "learner" });
        let reaches = match node.reach {
            Reach::To(index) => index.to_string(),
            Reach::Here(Some(index)) => format!("{index}, this machine (stopped)"),
            Reach::Here(None) => "this machine (stopped)".into(),
            Reach::Silent => "does not answer".into(),
        };
        [name_or_id(&node.name, node.node_id), short_id(node.node_id), kind.to_string(), reaches]
    };
    let mut rows: Vec<[String; 4]> = nodes.iter().map(row).collect();
    let hidden = own.node_id.is_none();
    if hidden {
        rows.push(["-", "-", "-", "this machine (stopped)"].map(String::from));
    }
    let mut text = table(["NAME", "ID", "KIND", "REACHES"], rows);
    let answers = nodes.iter().any(|node| matches!(node.reach, Reach::To(_)));
    if !answers {
        text += "No other node answers, so nobody can say what is lost: everything that the node of this machine does not hold.\n";
    }
    let silent: Vec<String> =
        nodes.iter().filter(|node| node.reach == Reach::Silent && node.voter != Some(false)).map(|node| clean(&node.label)).collect();
    if !silent.is_empty() {
        let one = if hidden { " (one of them may be the node of this machine, whose data stay)" } else { "" };
        text += &format!("Lost is what only these hold, acknowledged or not: {}{one}\n", silent.join(", "));
    }
    match furthest(nodes) {
        Some((node, index)) if node.reach.is_here() && answers => {
            text += &format!("No node in reach holds more than the one of this machine ({index}).\n");
        }
        Some((node, index)) if !node.reach.is_here() => {
            let label = clean(&node.label);
            text += &format!("Do this on the node that reaches furthest: {label} ({index}). What lies behind its end is lost, too.\n");
        }
        _ => {}
    }
    if own.last_index.is_none() {
        let why = if own.obscure.is_empty() { String::new() } else { format!(" ({})", clean(&own.obscure)) };
        text += &format!("How far the node of this machine reaches is not known here{why}: compare it yourself before you go on.\n");
    }
    let (voters, up) = answering(view);
    if voters > 0 && up >= quorum(voters) {
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
