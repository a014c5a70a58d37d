//! A card that takes half a second for every sync, twice the time of an election: the leader stays, and writes are acknowledged.

use std::time::{Duration, Instant};

use rigs::{Cluster, Way, eventually, slow_sync_library};

const SYNC_MS: u64 = 500;
const WATCH_TIME: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn syncs_longer_than_an_election_do_not_unseat_the_leader() {
    let mut cluster = Cluster::new("slow-sync", 3, Way::Peers);
    let library = slow_sync_library(cluster.path()).to_string_lossy().into_owned();
    for node in &mut cluster.nodes {
        node.env.extend([("LD_PRELOAD".into(), library.clone()), ("SLOW_SYNC_MS".into(), SYNC_MS.to_string())]);
    }
    cluster.start();
    // Making the databases takes dozens of syncs, and so may the first election.
    let leader = cluster.settled().await;
    let client = cluster.client(Duration::from_secs(30)).await;
    client.set(b"first", "x", None).await.unwrap();
    let before = cluster.kv(leader).status().await.unwrap();

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
    cluster.assert_no_panics();
}
