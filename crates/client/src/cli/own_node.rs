//! The node of this machine, while it is stopped: what its data directory says of it.
//!
//! - Only `rusty-kvd` reads what is its own; it is asked with `--describe-data`. One that does not know the question, or is not there, leaves
//!   most of this unknown, which is no error.
//! - `peers.toml`, where the node keeps the addresses of the others, is read here. They are hints, like all addresses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use discovery::Peer;
use serde::Deserialize;

use crate::cluster_id::ClusterId;
use crate::error::{Error, Kind};

/// A larger file is not the node's.
const PEERS_BYTES: u64 = 64 * 1024;
const PEERS_FILE: &str = "peers.toml";

/// What is not known is `None`.
#[derive(Debug, Default)]
pub struct OwnNode {
    pub node_id: Option<u64>,
    pub name: String,
    pub cluster_name: Option<String>,
    pub cluster_id: Option<ClusterId>,
    /// The end of its log.
    pub last_index: Option<u64>,
    /// The other members, as it remembers them.
    pub others: Vec<Other>,
    /// Why nothing can be done here.
    pub trouble: Option<Error>,
    /// Why so little is known; for people, empty if nobody said.
    pub obscure: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    pub node_id: u64,
    pub name: String,
    pub addresses: Vec<Peer>,
}

/// The answer of `rusty-kvd`; more fields may come.
#[derive(Debug, Default, Deserialize)]
struct Description {
    data_dir: PathBuf,
    #[serde(default)]
    node_name: String,
    trouble: Option<String>,
    message: Option<String>,
    node_id: Option<String>,
    cluster_name: Option<String>,
    cluster_id: Option<String>,
    last_index: Option<u64>,
}

#[derive(Deserialize)]
struct Remembered {
    #[serde(default)]
    name: String,
    #[serde(default)]
    addresses: Vec<String>,
}

impl OwnNode {
    /// `program` is `rusty-kvd`, `data_dir` what it is told to look at; None: as it is configured.
    pub async fn look(program: Option<PathBuf>, data_dir: Option<PathBuf>) -> OwnNode {
        if let Some(dir) = data_dir.as_deref().filter(|dir| !dir.is_dir()) {
            let message = format!("there is no directory {}", dir.display());
            let trouble = Error::new(Kind::File, message, "name the one that the node of this machine keeps its data in with --data-dir");
            return OwnNode { trouble: Some(trouble), ..OwnNode::default() };
        }
        let looking = tokio::task::spawn_blocking(move || {
            let description = program.and_then(|program| describe(&program, data_dir.as_deref()));
            let dir = description.as_ref().map(|description| description.data_dir.clone()).or(data_dir);
            OwnNode { others: dir.map(|dir| others(&dir)).unwrap_or_default(), ..description.map(OwnNode::from).unwrap_or_default() }
        });
        looking.await.expect("looking at files does not panic")
    }

    pub fn addresses(&self) -> impl Iterator<Item = &Peer> {
        self.others.iter().flat_map(|other| &other.addresses)
    }
}

impl From<Description> for OwnNode {
    fn from(told: Description) -> OwnNode {
        let message = told.message.unwrap_or_default();
        let trouble = match told.trouble.as_deref() {
            Some("in_use") => {
                let message = format!("{} is in use: the node of this machine still runs", told.data_dir.display());
                Some(Error::new(Kind::NotExecuted, message, "stop it first (systemctl stop rusty-kvd), then try again"))
            }
            Some("uninhabited") => Some(Error::new(Kind::File, message.clone(), "")),
            _ => None,
        };
        OwnNode {
            node_id: told.node_id.and_then(|id| u64::from_str_radix(&id, 16).ok()),
            name: told.node_name,
            cluster_name: told.cluster_name,
            cluster_id: told.cluster_id.and_then(|id| ClusterId::from_hex(&id)),
            last_index: told.last_index,
            others: Vec::new(),
            trouble,
            obscure: message,
        }
    }
}

fn describe(program: &Path, data_dir: Option<&Path>) -> Option<Description> {
    let mut command = Command::new(program);
    command.arg("--describe-data").stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(dir) = data_dir {
        command.arg("--data-dir").arg(dir);
    }
    let output = command.output().ok()?;
    toml::from_str(str::from_utf8(&output.stdout).ok()?).ok()
}

fn others(data_dir: &Path) -> Vec<Other> {
    let path = data_dir.join(PEERS_FILE);
    if std::fs::metadata(&path).map_or(true, |meta| meta.len() > PEERS_BYTES) {
        return Vec::new();
    }
    std::fs::read_to_string(path).map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Vec<Other> {
    let members: BTreeMap<String, Remembered> = toml::from_str(text).unwrap_or_default();
    let other = |(id, member): (String, Remembered)| {
        let node_id = u64::from_str_radix(&id, 16).ok()?;
        let addresses = member.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Some(Other { node_id, name: member.name, addresses })
    };
    members.into_iter().filter_map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_read_as_the_node_wrote_them() {
        let text = "[00000000000000ab]\nname = \"pi2\"\naddresses = [\"10.0.0.2:50051\", \"no address\"]\nboard = \"17\"\n";
        let pi2 = Other { node_id: 0xab, name: "pi2".into(), addresses: vec!["10.0.0.2:50051".parse().unwrap()] };
        assert_eq!(parse(text), [pi2]);
        assert_eq!(parse("{ not ours"), []);
    }

    #[test]
    fn what_rusty_kvd_says_is_understood_also_if_it_says_more() {
        let told = |text: &str| OwnNode::from(toml::from_str::<Description>(text).unwrap());
        let id = "0a".repeat(16);
        let own = told(&format!(
            "data_dir = '/d'\nnode_name = 'pi1'\nnode_id = '00000000000000ff'\ncluster_name = 'attic'\ncluster_id = '{id}'\nlast_index = 7\nnew = 1"
        ));
        assert_eq!((own.node_id, own.last_index, own.cluster_id), (Some(0xff), Some(7), Some(ClusterId([0x0a; 16]))));
        assert!(own.trouble.is_none());
        let busy = told("data_dir = '/d'\ntrouble = 'in_use'\nmessage = 'm'").trouble.unwrap();
        assert!(busy.kind == Kind::NotExecuted && busy.message.contains("/d is in use"), "{busy}");
        assert_eq!(told("data_dir = '/d'\ntrouble = 'uninhabited'\nmessage = 'm'").trouble.unwrap().kind, Kind::File);
        let damaged = told("data_dir = '/d'\ntrouble = 'unreadable'\nmessage = 'it is damaged'");
        assert!(damaged.trouble.is_none() && damaged.obscure == "it is damaged", "rusty-kvd itself decides");
    }
}
