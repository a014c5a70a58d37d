//! Cards that take half a second for every sync, twice the time of an election: the leader stays, writes are acknowledged, and when the leader
//! dies another is elected.

use std::time::{Duration, Instant};

use client::Kind;
use rigs::{Cluster, SlowSync, Way, eventually};

const SYNC_MS: u64 = 500;
const WATCH_TIME: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn syncs_longer_than_an_election_do_not_unseat_the_leader() {
    let mut cluster = Cluster::new("slow-sync", 3, Way::Peers);
    let slow = SlowSync::new(cluster.path(), SYNC_MS);
    for node in &mut cluster.nodes {
        node.env.extend(slow.env());
    }
    cluster.start();
    let leader = cluster.settled().await;
    let client = cluster.client(Duration::from_secs(30)).await;
    client.set(b"first", "x", None).await.unwrap();
    let before = cluster.kv(leader).status().await.unwrap();

    // Making the databases took dozens of syncs; only now they become slow.
    slow.begin();
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut writes = 0;
    while start.elapsed() < WATCH_TIME {
        let called = Instant::now();
        client.set(format!("key/{writes}").as_bytes(), vec![7; 1000], None).await.expect("a slow disk is no fault");
        slowest = slowest.max(called.elapsed());
        writes += 1;
    }
    assert!(slowest > Duration::from_millis(SYNC_MS), "no write waited for a slow sync: the library is not in the way");
    let statuses = cluster.statuses().await;
    for status in statuses.iter().map(|status| status.as_ref().expect("it answers")) {
        assert_eq!((status.term, status.leader_id), (before.term, before.node_id), "{} has seen another leader", status.name);
    }
    println!("{writes} writes, the slowest took {slowest:?}; one leader in term {}", before.term);
    let applied = |statuses: &Vec<Option<proto::v1::StatusResponse>>| statuses.iter().flatten().all(|s| s.applied_index == s.last_index);
    eventually(30, "the followers apply", || cluster.statuses(), applied).await;

    let killed = Instant::now();
    cluster.nodes[leader].kill();
    // A write that went out on the dead leader's connection has an unknown outcome, and says so; the next one is on its way to the living.
    if let Err(error) = client.set(b"last", "x", None).await {
        assert_eq!(error.kind, Kind::Unknown, "{error:?}");
        client.set(b"last", "x", None).await.expect("two nodes elect one of them, however slow their disks");
    }
    println!("the next write after the loss of the leader took {:?}", killed.elapsed());
    cluster.assert_no_panics();
}
