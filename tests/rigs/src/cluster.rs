//! Several nodes that form one cluster.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use client::{Client, Login, Logins, Options, Targets, parse_peers};
use proto::v1::{Role, StatusResponse};
use tokio::task::JoinSet;

use crate::binaries::control_server;
use crate::command_line::{client, token_in};
use crate::council::is_changing;
use crate::deadline::eventually;
use crate::kv::Kv;
use crate::lan::Board;
use crate::node::Node;
use crate::pass::Pass;
use crate::ports::free_port;
use crate::scratch::Scratch;

/// Several elections long, and the recovery of a database.
const SETTLE_LIMIT_S: u64 = 60;

/// How the nodes learn of each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Peers,
    Mdns,
    /// By mDNS as well, but only the first forms a cluster, of itself; the others wait to be let in.
    Alone,
}

/// What boards are given by the package: it suits cards and Wi-Fi.
const PACKAGED_CONFIG: &str = include_str!("../../../packaging/rusty-kv.toml");
/// The port on each board of a LAN.
const LAN_PORT: u16 = 50_051;

/// Drops its nodes before their directory.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    scratch: Scratch,
    name: String,
    /// Of a closed cluster.
    inside: Option<Inside>,
}

/// What lets others into a closed cluster.
#[derive(Debug)]
struct Inside {
    /// For boards, any number of them.
    token: String,
    /// An administrator's.
    login: Login,
}

impl Cluster {
    /// Configured, not started.
    pub fn new(test: &str, count: usize, way: Way) -> Cluster {
        let scratch = Scratch::new(test);
        let name = scratch.path().file_name().expect("it has a name").to_string_lossy().replace('_', "-");
        // At most 32 characters; the end tells tests and runs apart.
        let name = name[name.len().saturating_sub(32)..].trim_start_matches('-').to_owned();
        let mut nodes: Vec<Node> = (1..=count).map(|number| Node::new(scratch.path(), &format!("node{number}"), free_port())).collect();
        let addresses: Vec<String> = nodes.iter().map(Node::address).collect();
        for (index, node) in nodes.iter_mut().enumerate() {
            node.args = vec!["--cluster".into(), name.clone()];
            match way {
                Way::Peers => {
                    let others = addresses.iter().enumerate().filter(|(other, _)| *other != index);
                    let others: Vec<&str> = others.map(|(_, address)| address.as_str()).collect();
                    node.args.extend(["--peers".into(), others.join(",")]);
                }
                Way::Mdns => node.args.extend(["--expect", &count.to_string(), "--interface", "lo"].map(String::from)),
                Way::Alone if index == 0 => node.args.extend(["--expect", "1", "--interface", "lo"].map(String::from)),
                Way::Alone => node.args.extend(["--interface", "lo"].map(String::from)),
            }
        }
        Cluster { nodes, scratch, name, inside: None }
    }

    /// Three nodes, formed, with a leader.
    pub async fn of_three(test: &str) -> Cluster {
        let mut cluster = Cluster::new(test, 3, Way::Peers);
        cluster.start();
        cluster.settled().await;
        cluster
    }

    /// The same, but closed: they speak TLS with each other and with everybody.
    pub async fn closed_of_three(test: &str) -> Cluster {
        let mut cluster = Cluster::new(test, 3, Way::Mdns);
        for node in &mut cluster.nodes {
            node.args = ["--cluster", &cluster.name, "--interface", "lo"].map(String::from).into();
        }
        cluster.close(3).await;
        cluster
    }

    /// One node on each board, with the packaged configuration, that belong to nothing until [`close`](Cluster::close). Not started.
    pub fn on_lan(test: &str, boards: &[Board]) -> Cluster {
        let mut cluster = Cluster::new(test, boards.len(), Way::Mdns);
        for (node, board) in cluster.nodes.iter_mut().zip(boards) {
            (node.host, node.port) = (board.address.to_string(), LAN_PORT);
            node.network = Some(board.network.clone());
            node.config = PACKAGED_CONFIG.into();
            node.args = ["--cluster", &cluster.name].map(String::from).into();
        }
        cluster
    }

    /// The same, but they find each other by mDNS and form a cluster of all, open to everybody.
    pub fn open_on_lan(test: &str, boards: &[Board]) -> Cluster {
        let mut cluster = Cluster::on_lan(test, boards);
        for node in &mut cluster.nodes {
            node.args.extend(["--expect", &boards.len().to_string(), "--insecure"].map(String::from));
        }
        cluster
    }

    /// Starts all nodes. The first makes a closed cluster, the others find it by mDNS and join, and so many of them become voters; whoever runs
    /// the command line logs in as administrator. Returns the index of the leader.
    pub async fn close(&mut self, voters: usize) -> usize {
        self.start();
        self.up(0).await;
        let token = token_in(&self.on_board(0, &["cluster", "create", "--voters", &voters.to_string()]));
        let admin = token_in(&self.on_board(0, &["token", "new", "--client", "--role", "admin"]));
        self.told(&["login", &admin], 0);
        let login = Logins::at(self.path().join(".config/rusty-kv/logins")).meant(Some(&self.name)).expect("it has just logged in");
        self.inside = Some(Inside { token, login });
        self.nodes[0].pass = self.pass();
        for index in 1..self.nodes.len() {
            self.let_in(index).await;
        }
        let leads = |leader: &StatusResponse| leader.members.iter().filter(|member| member.voter).count() == voters;
        eventually(SETTLE_LIMIT_S, "as many voters as wanted", || self.led(), |leader| leads(leader) && !is_changing(leader)).await;
        self.settled().await
    }

    /// A running node that belongs to nothing joins the closed cluster, found by mDNS.
    pub async fn let_in(&mut self, index: usize) {
        self.up(index).await;
        let join = || async { self.nodes[index].told_on_board(&["cluster", "join", self.token()]) };
        // While a change of the membership is under way it is told to come again.
        eventually(SETTLE_LIMIT_S, "a board is let in", join, |output| output.status.success()).await;
        self.nodes[index].pass = self.pass();
    }

    /// With which boards join a closed cluster.
    pub fn token(&self) -> &str {
        &self.inside.as_ref().expect("the cluster is closed").token
    }

    async fn up(&self, index: usize) {
        let node = &self.nodes[index];
        // The socket of an earlier run of it leads nowhere.
        let answers = async || std::os::unix::net::UnixStream::connect(node.socket()).is_ok();
        eventually(SETTLE_LIMIT_S, &format!("{} is up", node.name), answers, |up| *up).await;
    }

    /// As root on a board. Returns what was said.
    #[track_caller]
    fn on_board(&self, index: usize, args: &[&str]) -> String {
        let output = self.nodes[index].told_on_board(args);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{args:?}: {said}");
        said
    }

    /// An administrator's, of a closed cluster.
    pub fn login(&self) -> Option<Login> {
        self.inside.as_ref().map(|inside| inside.login.clone())
    }

    /// Of the same.
    pub fn pass(&self) -> Option<Pass> {
        self.login().as_ref().map(Pass::of)
    }

    /// A setting of all nodes, from their next start on.
    pub fn set(&mut self, variable: &str, value: &str) {
        for node in &mut self.nodes {
            node.env.push((variable.into(), value.into()));
        }
    }

    /// All nodes are of the control build from their next start on, and have this fault.
    pub fn plant(&mut self, fault: &str) {
        for node in &mut self.nodes {
            node.program = control_server();
            node.env.push(("RUSTY_KV_PLANTED".into(), fault.into()));
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn start(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A further node of the same cluster name, found by mDNS, that does not belong to it. Not started.
    pub fn outsider(&self, name: &str) -> Node {
        let mut node = Node::new(self.path(), name, free_port());
        node.args = ["--cluster", &self.name, "--expect", &self.nodes.len().to_string(), "--interface", "lo"].map(String::from).into();
        node
    }

    /// What each node says of itself; `None` for one that does not answer.
    pub async fn statuses(&self) -> Vec<Option<StatusResponse>> {
        let mut asked = JoinSet::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
            let kv = node.kv();
            asked.spawn(async move { (index, kv.status().await.ok()) });
        }
        let mut statuses = vec![None; self.nodes.len()];
        while let Some(answer) = asked.join_next().await {
            let (index, status) = answer.expect("asking does not panic");
            statuses[index] = status;
        }
        statuses
    }

    /// Waits until all running nodes belong to one cluster and follow one of them. Returns its index.
    pub async fn settled(&self) -> usize {
        let statuses =
            eventually(SETTLE_LIMIT_S, "one cluster with a leader", || self.statuses(), |statuses| self.leader_of(statuses).is_some())
                .await;
        self.leader_of(&statuses).expect("just seen")
    }

    /// The node that all running ones follow, by what they say.
    pub fn leader_of(&self, statuses: &[Option<StatusResponse>]) -> Option<usize> {
        let running: Vec<&StatusResponse> = statuses
            .iter()
            .zip(&self.nodes)
            .filter(|(_, node)| node.is_running())
            .map(|(status, _)| status.as_ref())
            .collect::<Option<_>>()?;
        let leader = statuses.iter().position(|status| status.as_ref().is_some_and(|status| status.role() == Role::Leader))?;
        let of_leader = statuses[leader].as_ref()?;
        let agree = |status: &&StatusResponse| {
            status.leader_id == of_leader.node_id && status.term == of_leader.term && status.cluster_id == of_leader.cluster_id
        };
        (!of_leader.cluster_id.is_empty() && running.iter().all(agree)).then_some(leader)
    }

    /// What the leader says of itself, once there is one; also while nodes are outside.
    pub async fn led(&self) -> StatusResponse {
        let leader = |statuses: Vec<Option<StatusResponse>>| {
            let leaders = statuses.into_iter().flatten().filter(|status| status.role() == Role::Leader);
            leaders.max_by_key(|status| status.term)
        };
        eventually(SETTLE_LIMIT_S, "somebody leads", async || leader(self.statuses().await), Option::is_some).await.expect("just seen")
    }

    /// The index of a node that all members follow, by what they say; nodes that are no members may say what they like.
    pub fn leader_of_members(&self, statuses: &[Option<StatusResponse>]) -> Option<usize> {
        let running = statuses.iter().enumerate().filter(|(index, _)| self.nodes[*index].is_running());
        let all: Vec<(usize, &StatusResponse)> = running.map(|(index, status)| Some((index, status.as_ref()?))).collect::<Option<_>>()?;
        let leaders = all.iter().filter(|(_, status)| status.role() == Role::Leader);
        let (leader, of_leader) = leaders.max_by_key(|(_, status)| status.term)?;
        let agrees = |(_, status): &(usize, &StatusResponse)| {
            let is_member = of_leader.members.iter().any(|member| member.node_id == status.node_id);
            let follows = status.leader_id == of_leader.node_id && status.term == of_leader.term;
            !is_member || follows && status.cluster_id == of_leader.cluster_id
        };
        all.iter().all(agrees).then_some(*leader)
    }

    /// Nodes that were members once and are none any more.
    pub async fn removed(&self) -> Vec<usize> {
        let before = self.statuses().await;
        // Asked for later than what the others say of themselves: none of them has come in meanwhile and is not in it.
        let members = self.led().await.members;
        let is_removed =
            |status: &StatusResponse| !status.cluster_id.is_empty() && members.iter().all(|member| member.node_id != status.node_id);
        (0..before.len()).filter(|index| before[*index].as_ref().is_some_and(is_removed)).collect()
    }

    /// Waits until the leader shows this node as one that is outside. Returns its id.
    pub async fn outside(&self, index: usize) -> u64 {
        let seen = async || {
            let own = self.kv(index).status().await.ok().filter(|status| status.cluster_id.is_empty())?;
            self.led().await.pending.iter().any(|pending| pending.node_id == own.node_id).then_some(own.node_id)
        };
        let what = format!("{} is outside and seen", self.nodes[index].name);
        eventually(SETTLE_LIMIT_S, &what, seen, Option::is_some).await.expect("just seen")
    }

    /// Waits until all nodes run, have applied the same entries, and lack no blob; then their states must be equal.
    pub async fn equal(&self) {
        let equal = |statuses: &Vec<Option<StatusResponse>>| {
            let Some(all) = statuses.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return false };
            all.iter().all(|status| {
                status.applied_index == all[0].applied_index && status.applied_index == status.last_index && status.blobs_missing == 0
            })
        };
        let statuses = eventually(SETTLE_LIMIT_S, "all nodes have applied the same", || self.statuses(), equal).await;
        let hashes: Vec<_> = statuses.iter().flatten().map(|status| &status.state_hash).collect();
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1] && !pair[0].is_empty()), "states differ: {hashes:?}");
    }

    /// Runs the command line, told of every node.
    pub fn command(&self, args: &[&str]) -> Output {
        let addresses: Vec<String> = self.nodes.iter().map(Node::address).collect();
        client(self.path(), &[&["--addr", &addresses.join(",")], args].concat())
    }

    /// The same, with the exit code that it must have. Returns all that it said.
    #[track_caller]
    pub fn told(&self, args: &[&str], code: i32) -> String {
        let output = self.command(args);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    pub fn followers(&self, leader: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| *index != leader).collect()
    }

    /// The client library, which follows the leader and tries again.
    pub async fn client(&self, timeout: Duration) -> Client {
        let addresses: Vec<String> = self.nodes.iter().map(Node::address).collect();
        let peers = parse_peers(&addresses.join(",")).expect("addresses parse");
        let options = Options { timeout, stall: timeout, login: self.login(), ..Options::default() };
        Client::connect(Targets::Given(peers), options).await.expect("nothing is sent yet")
    }

    pub fn kv(&self, index: usize) -> Kv {
        self.nodes[index].kv()
    }

    pub fn assert_no_panics(&self) {
        for node in &self.nodes {
            node.assert_no_panic();
        }
    }
}
