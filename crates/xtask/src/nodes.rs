//! Three nodes on this machine that find each other by mDNS on loopback, and the client to talk to them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::janitor::Janitor;
use crate::json::Json;
use crate::workspace;

pub const COUNT: usize = 3;

pub struct Nodes {
    /// Declared before the janitor, who removes the directory when dropped.
    nodes: Vec<Node>,
    dir: PathBuf,
    config: PathBuf,
    cluster: String,
    janitor: Janitor,
}

struct Node {
    port: u16,
    /// `None` once killed.
    process: Option<Child>,
}

/// What one node says about who leads.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Index of the leading node, as far as the one asked knows.
    pub leader: Option<usize>,
    pub term: u64,
}

impl Nodes {
    /// Starts them; they are not formed yet.
    pub fn start() -> Result<Nodes, String> {
        let process = std::process::id();
        let dir = std::env::temp_dir().join(format!("rusty-kv-demo-{process}"));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let janitor = Janitor::hire(Some(&dir)).map_err(|error| format!("cannot start a shell: {error}"))?;
        let config = dir.join("empty.toml");
        write(&config, b"")?;
        let mut nodes = Nodes { nodes: Vec::new(), dir, config, cluster: format!("demo-{process}"), janitor };
        for port in free_ports().map_err(|error| format!("no free port on loopback: {error}"))? {
            let process = nodes.spawn_node(port)?;
            nodes.nodes.push(Node { port, process: Some(process) });
        }
        Ok(nodes)
    }

    fn spawn_node(&mut self, port: u16) -> Result<Child, String> {
        let index = self.nodes.len();
        let log = File::create(self.log_path(index)).map_err(|error| format!("node log: {error}"))?;
        let mut command = isolated(&workspace::binary("server"));
        command
            .args(["--port", &port.to_string(), "--expect", &COUNT.to_string(), "--interface", "lo"])
            .args(["--cluster", &self.cluster, "--name", &name(index)])
            // Otherwise this machine's own installation, if there is one, would have its say.
            .arg("--config")
            .arg(&self.config)
            .arg("--data-dir")
            .arg(self.dir.join(name(index)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        self.janitor.spawn(&mut command).map_err(|error| format!("{}: {error}", workspace::binary("server").display()))
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) -> Result<(), String> {
        let mut process = self.nodes[index].process.take().expect("killed once");
        process.kill().and_then(|()| process.wait()).map_err(|error| format!("kill: {error}"))?;
        self.janitor.forget(&process);
        Ok(())
    }

    /// An error if one that was not killed has ended.
    pub fn check_alive(&mut self) -> Result<(), String> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let ended = node.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(format!("{} ended by itself: {status}", name(index)));
            }
        }
        Ok(())
    }

    pub fn port(&self, index: usize) -> u16 {
        self.nodes[index].port
    }

    pub fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].process.is_some()).collect()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The client, told to talk to these nodes.
    pub fn client(&self, nodes: &[usize]) -> Command {
        let addresses: Vec<String> = nodes.iter().map(|index| format!("127.0.0.1:{}", self.port(*index))).collect();
        let mut command = isolated(&workspace::binary("client"));
        command.args(["--addr", &addresses.join(",")]).stdin(Stdio::null());
        command
    }

    /// Who leads, in the eyes of one node. `None` if it does not answer.
    pub fn view(&self, index: usize) -> Option<View> {
        let output = self.client(&[index]).args(["--timeout", "2s", "-o", "json", "status"]).stderr(Stdio::null()).output().ok()?;
        let status = Json::parse(std::str::from_utf8(&output.stdout).ok()?)?;
        let term = status.get("term")?.text()?.parse().ok()?;
        let leader = status.get("leader").and_then(Json::text).and_then(|leader| self.by_name(leader));
        Some(View { leader, term })
    }

    fn by_name(&self, wanted: &str) -> Option<usize> {
        (0..self.nodes.len()).find(|index| name(*index) == wanted)
    }

    /// The end of every node's log, for when something is off.
    pub fn log_tails(&self, lines: usize) -> String {
        let mut text = String::new();
        for index in 0..self.nodes.len() {
            let log = fs::read_to_string(self.log_path(index)).unwrap_or_default();
            let all: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- log of {}\n{}\n", name(index), all[all.len().saturating_sub(lines)..].join("\n")));
        }
        text
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.dir.join(format!("{}.log", name(index)))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for index in self.living() {
            // The janitor kills whatever is left.
            let _ = self.kill(index);
        }
    }
}

pub fn name(index: usize) -> String {
    format!("node{}", index + 1)
}

pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Success, or what the client said.
pub fn succeeded(what: &str, output: std::io::Result<Output>) -> Result<Output, String> {
    let output = output.map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{what}: {}; {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A command that no setting of the user's environment reaches.
fn isolated(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUSTY_KV_") {
            command.env_remove(name);
        }
    }
    command
}

/// Held open together until all are known, so that they differ.
fn free_ports() -> std::io::Result<Vec<u16>> {
    let listeners = (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
