//! The checker is checked: a build whose followers answer reads from what they happen to have applied is told from one that asks the leader, by the
//! same load and the same search that the other stories trust.

use std::fs;
use std::time::Duration;

use check::{STEPS_MAX, Verdict, check};
use rigs::{Cluster, Load, Plan, SlowSync, Way};

/// One follower applies nothing before its own disk holds it, so it lags behind by that much.
const SYNC_MS: u64 = 500;
const LOAD_TIME: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_follower_that_lags_reads_no_old_value() {
    assert_eq!(reads_beside_a_slow_follower("fresh-reads", None).await, Verdict::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_build_that_reads_old_values_is_found_out() {
    match reads_beside_a_slow_follower("stale-reads", Some("local-reads")).await {
        Verdict::Violation(explanation) => println!("found out, as it should be: {explanation}"),
        other => panic!("local reads of a follower passed for linearizable: {other:?}"),
    }
}

async fn reads_beside_a_slow_follower(test: &str, planted: Option<&str>) -> Verdict {
    let mut cluster = Cluster::new(test, 3, Way::Peers);
    let dirs: Vec<_> = cluster.nodes.iter().map(|node| cluster.path().join(format!("{}.shim", node.name))).collect();
    let mut slow = Vec::new();
    for (node, dir) in cluster.nodes.iter_mut().zip(&dirs) {
        fs::create_dir(dir).unwrap();
        slow.push(SlowSync::new(dir, SYNC_MS));
        node.env.extend(slow.last().expect("just made").env());
    }
    if let Some(fault) = planted {
        cluster.plant(fault);
    }
    cluster.start();
    let leader = cluster.settled().await;
    let follower = cluster.followers(leader)[0];
    slow[follower].begin();
    let plan = Plan { writers: 2, readers_per_node: 1, keys: 4, pause: Duration::from_millis(10), timeout: Duration::from_secs(15) };
    let load = Load::start(&cluster, plan).await;
    tokio::time::sleep(LOAD_TIME).await;
    let at_follower = load.reads_at(follower);
    println!("{} writes acknowledged, {} reads, {at_follower} of them at the slow follower", load.acknowledged(), load.reads());
    assert!(load.acknowledged() > 100 && at_follower > 0, "too little happened to tell anything");
    let history = load.finish(&cluster).await;
    cluster.assert_no_panics();
    check(&history, STEPS_MAX)
}
