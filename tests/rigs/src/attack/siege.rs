//! A closed cluster with an honest client, while others do what they can.
//!
//! Of each attack it must hold: the leader and its term stay, no node ends, and the honest client hardly notices. At the end the history of all that
//! the client saw must have one order, so that no write that was acknowledged is lost.

use std::net::Ipv4Addr;
use std::time::Duration;

use proto::v1::StatusResponse;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::load::{Load, Plan};

/// The honest client: a few operations at a time over connections that are up.
const PLAN: Plan = Plan { writers: 3, readers_per_node: 1, keys: 64, pause: Duration::from_millis(4), timeout: Duration::from_secs(20) };
/// Long enough for some hundred operations.
const BASELINE_TIME: Duration = Duration::from_millis(800);
const ATTACK_TIME_LEAST: Duration = Duration::from_millis(800);
/// An honest client may become slower by this.
const FACTOR: u32 = 3;
/// What is no slowness, whatever the baseline: three nodes, the network, the client and the attacker share this machine's processors here, so that
/// a few milliseconds of quiet become some tens for want of a processor alone. On a board they would be the node's own.
const FLOOR: Duration = Duration::from_millis(100);

pub struct Siege {
    pub cluster: Cluster,
    pub leader: usize,
    load: Load,
    before: Vec<StatusResponse>,
}

impl Siege {
    /// Of a closed cluster all of whose nodes are up.
    pub async fn begin(cluster: Cluster) -> Siege {
        let leader = cluster.settled().await;
        let load = Load::start(&cluster, PLAN).await;
        load.goes_on(200).await;
        let before = cluster.statuses().await.into_iter().map(|status| status.expect("it answers")).collect();
        Siege { cluster, leader, load, before }
    }

    /// What a node said of itself before all attacks.
    pub fn status(&self, node: usize) -> &StatusResponse {
        &self.before[node]
    }

    /// The honest client is measured without the attack and with it.
    #[track_caller]
    pub fn withstands<T>(&self, attack: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
        let caller = std::panic::Location::caller();
        self.measured(format!("{caller}: {attack}"), work)
    }

    async fn measured<T>(&self, attack: String, work: impl Future<Output = T>) -> T {
        self.load.p99();
        sleep(BASELINE_TIME).await;
        let (quiet, _) = self.load.p99();
        let start = Instant::now();
        let result = work.await;
        tokio::time::sleep_until(start + ATTACK_TIME_LEAST).await;
        let (busy, operations) = self.load.p99();
        let name = attack.rsplit("rs:").next().unwrap_or(&attack);
        println!("{name}: {:.1?}, p99 of {operations} operations {busy:.1?} (before {quiet:.1?})", start.elapsed());
        assert!(busy <= FLOOR.max(FACTOR * quiet), "{attack}: an honest client waits {busy:?} where it waited {quiet:?} before");
        self.stands(&attack).await;
        result
    }

    async fn stands(&self, attack: &str) {
        let leader = &self.before[self.leader];
        for (node, status) in self.cluster.nodes.iter().zip(self.cluster.statuses().await) {
            let status = status.unwrap_or_else(|| panic!("{attack}: {} does not answer an administrator", node.name));
            assert_eq!((status.term, status.leader_id), (leader.term, leader.node_id), "{attack}: {} has another leader", node.name);
        }
    }

    /// Callers that all nodes together have refused.
    pub async fn refused(&self) -> u64 {
        self.cluster.statuses().await.iter().flatten().map(|status| status.refused).sum()
    }

    /// Each node has logged refusals from an address once, if any, however many there were.
    pub fn assert_logged_once(&self, addresses: &[Ipv4Addr]) {
        for node in &self.cluster.nodes {
            let log = node.log_text();
            let refused: Vec<&str> = log.lines().filter(|line| line.contains("refused a caller")).collect();
            for address in addresses {
                // In the structured part of a line.
                let word = format!("address={address} ");
                let about = refused.iter().filter(|line| line.contains(&word)).count();
                assert!(about <= 1, "{} has logged refusals of {address} {about} times", node.name);
            }
        }
    }

    /// Ends the load and checks what it saw.
    pub async fn end(self) {
        self.load.verify(&self.cluster).await;
    }
}
