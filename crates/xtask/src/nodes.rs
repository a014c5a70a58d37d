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

/// The nodes that answer, each with its own words on itself.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Index of the node that leads.
    pub leader: Option<usize>,
    pub roles: Vec<Role>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    pub node: usize,
    pub role: String,
    pub term: u64,
}

impl View {
    /// The leader and its term, if every one of `nodes` answers and is in that term.
    pub fn settled(&self, nodes: &[usize]) -> Option<(usize, u64)> {
        let leader = self.leader?;
        let term = self.roles.iter().find(|role| role.node == leader)?.term;
        let follows = |node: &usize| self.roles.iter().any(|role| role.node == *node && role.term == term);
        nodes.iter().all(follows).then_some((leader, term))
    }
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roles: Vec<String> =
            self.roles.iter().map(|role| format!("{}: {} in term {}", name(role.node), role.role, role.term)).collect();
        f.write_str(&roles.join(", "))
    }
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
        let mut command = self.isolated("server");
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
        let mut command = self.isolated("client");
        command.args(["--addr", &addresses.join(",")]).stdin(Stdio::null());
        command
    }

    /// What the nodes say. `None` if none answers.
    pub fn view(&self) -> Option<View> {
        let output = self.client(&self.living()).args(["--timeout", "2s", "-o", "json", "status"]).stderr(Stdio::null()).output().ok()?;
        let status = Json::parse(std::str::from_utf8(&output.stdout).ok()?)?;
        let text = |json: &Json, field: &str| json.get(field).and_then(Json::text).map(String::from);
        let members = status.get("members")?.list();
        let leader_id = text(&status, "leader_id");
        let leader = members.iter().find(|member| leader_id.is_some() && text(member, "node_id") == leader_id);
        let role = |member: &Json| {
            let node = self.by_name(&text(member, "name")?)?;
            Some(Role { node, role: text(member, "role")?, term: text(member, "term")?.parse().ok()? })
        };
        let mut roles: Vec<Role> = members.iter().filter_map(role).collect();
        roles.sort_by_key(|role| role.node);
        Some(View { leader: leader.and_then(|member| self.by_name(&text(member, "name")?)), roles })
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

    /// A binary of ours that no setting of the user reaches, and that leaves nothing in the user's directories.
    fn isolated(&self, binary: &str) -> Command {
        let mut command = Command::new(workspace::binary(binary));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("RUSTY_KV_") || name.starts_with("XDG_") {
                command.env_remove(&*name);
            }
        }
        command.env("HOME", &self.dir);
        command
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

/// Held open together until all are known, so that they differ.
fn free_ports() -> std::io::Result<Vec<u16>> {
    let listeners = (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
