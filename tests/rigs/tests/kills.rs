//! Nodes die by SIGKILL while clients write and read. Nothing acknowledged is lost, and what clients saw fits one order.

use std::time::{Duration, Instant};

use rigs::{Cluster, Load, Plan};

const WRITES: u64 = 1_000;
const KILL_PERIOD: Duration = Duration::from_secs(1);
/// At least this many kills, however fast the writes go.
const KILLS: usize = 15;
const TIME_LIMIT: Duration = Duration::from_secs(90);

fn plan() -> Plan {
    Plan { writers: 4, readers_per_node: 1, keys: 16, pause: Duration::from_millis(5), timeout: Duration::from_secs(15) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_random_node_is_killed_every_second() {
    let mut cluster = Cluster::of_three("kills-one").await;
    let load = Load::start(&cluster, plan()).await;
    let start = Instant::now();
    let mut kills = 0;
    let mut victim = 0;
    while kills < KILLS || load.acknowledged() < WRITES {
        assert!(start.elapsed() < TIME_LIMIT, "{kills} kills, {} writes in {:?}", load.acknowledged(), start.elapsed());
        tokio::time::sleep(KILL_PERIOD).await;
        // Steps that do not repeat after three, so that leaders and followers are hit alike.
        victim = (victim + 1 + (kills * kills + kills / 3) % 2) % cluster.nodes.len();
        cluster.nodes[victim].kill();
        cluster.nodes[victim].start();
        kills += 1;
    }
    load.verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn all_nodes_are_killed_at_once() {
    let mut cluster = Cluster::of_three("kills-all").await;
    let load = Load::start(&cluster, plan()).await;
    for _ in 0..4 {
        let before = load.acknowledged();
        tokio::time::sleep(KILL_PERIOD).await;
        for node in &mut cluster.nodes {
            node.kill();
        }
        cluster.start();
        cluster.settled().await;
        assert!(load.acknowledged() > before, "nothing was written, so nothing could be lost");
    }
    load.verify(&cluster).await;
}
