//! A board that comes back with an empty card: the new node takes the old one's place by itself, and only then.

use std::fs;
use std::time::Duration;

use rigs::{Cluster, Way, eventually};

/// Beyond what counts as alive, so that a slow machine replaces nobody.
const REPLACE_AFTER_S: u64 = 5;
const RETURN_LIMIT_S: u64 = 90;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn the_same_board_takes_its_old_place_and_a_strange_one_does_not() {
    let mut cluster = Cluster::new("returning", 3, Way::Mdns);
    cluster.set("RUSTY_KV_CLUSTER_REPLACE_AFTER_S", &REPLACE_AFTER_S.to_string());
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        node.env.push(("RUSTY_KV_NODE_BOARD".into(), format!("board {number}")));
    }
    cluster.start();
    let leader = cluster.settled().await;
    cluster.told(&["set", "key", "value"], 0);
    let victim = cluster.followers(leader)[0];
    let old = cluster.kv(victim).status().await.unwrap().node_id;
    cluster.nodes[victim].kill();
    fs::remove_dir_all(cluster.nodes[victim].data_dir()).unwrap();
    let mut stranger = cluster.outsider("stranger");
    stranger.env.push(("RUSTY_KV_NODE_BOARD".into(), "board 9".into()));
    stranger.start();
    cluster.nodes[victim].start();

    // People need not wait for that: the leader knows whose place it is.
    let new = cluster.outside(victim).await;
    let earlier = async || cluster.led().await.pending.into_iter().map(|node| (node.node_id, node.earlier_id)).collect::<Vec<_>>();
    let told = eventually(30, "its earlier self is known", earlier, |now| now.contains(&(new, old))).await;
    assert!(told.iter().all(|(node, earlier)| *node == new || *earlier == 0), "a strange board was nobody: {told:x?}");

    let replaced = async || {
        let status = cluster.led().await;
        let voters: Vec<u64> = status.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
        (voters.len(), voters.contains(&old), status.members.len())
    };
    eventually(RETURN_LIMIT_S, "the board is back in its place", replaced, |now| *now == (3, false, 3)).await;
    assert_ne!(new, old);
    assert!(cluster.led().await.members.iter().any(|member| member.node_id == new && member.voter));
    cluster.told(&["wait", "--healthy"], 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.led().await.members.len(), 3, "the strange board still waits");
    stranger.kill();
    cluster.assert_no_panics();
}
