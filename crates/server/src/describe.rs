//! What the data directory of a stopped node says of itself, for programs: `rusty-kvd --describe-data`.
//!
//! Promises:
//! - one TOML table on stdout, whatever is found; fields are only ever added. What cannot be told is absent;
//! - a directory that is missing or empty stays so;
//! - nothing is decided here. A damaged directory is described as such, and left as it is.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use raft::NodeId;
use serde::Serialize;
use storage::{DataDir, Error, LogStore as _};

use crate::config::Config;

/// Where the log is, in whatever directory a node lives.
const LOG: &str = "raft";

#[derive(Debug, Default, Serialize)]
struct Description {
    data_dir: String,
    /// Of the node as it is configured.
    node_name: String,
    /// `in_use`, `uninhabited` or `unreadable`; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    /// The trouble, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<String>,
    /// 32 hexadecimal digits; absent if the node never belonged to a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    /// The end of its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_index: Option<u64>,
}

/// Prints the description. The exit code tells whether there is trouble.
pub fn describe(config: &Config) -> ExitCode {
    let found = look(config);
    let text = toml::to_string(&found).expect("plain fields have a form");
    // Whoever asked may have gone.
    let _ = io::stdout().write_all(text.as_bytes());
    if found.trouble.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look(config: &Config) -> Description {
    let path = &config.data_dir;
    let mut found = Description { data_dir: path.display().to_string(), node_name: config.node_name.to_string(), ..Description::default() };
    if let Err(error) = read(path, config.cluster_name.as_str(), &mut found) {
        found.trouble = Some(match error {
            Error::Locked { .. } => "in_use",
            Error::Uninhabited { .. } => "uninhabited",
            _ => "unreadable",
        });
        found.message = Some(error.to_string());
    }
    found
}

fn read(path: &Path, cluster_name: &str, found: &mut Description) -> Result<(), Error> {
    // Opening would give birth to a node.
    if !path.join(LOG).is_dir() {
        return Err(Error::Uninhabited { path: path.into() });
    }
    let opened = DataDir::open(path, NodeId(0), cluster_name)?;
    let formation = &opened.formation;
    found.node_id = Some(formation.node.to_string());
    found.cluster_name = Some(formation.cluster_name.clone());
    found.cluster_id = formation.started.as_ref().map(|started| format!("{:032x}", u128::from_be_bytes(started.cluster_id)));
    found.last_index = Some(opened.log.load(0)?.last.index);
    Ok(())
}
