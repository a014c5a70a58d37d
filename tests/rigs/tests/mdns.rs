//! Nodes that are told of nobody find each other by mDNS on loopback, and form exactly the clusters that they should.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use proto::v1::StatusResponse;
use rigs::{Cluster, Way, eventually, free_ports};
use rustix::process::Signal;

const FORM_LIMIT: Duration = Duration::from_secs(10);
/// Long enough for a mistake to happen.
const WATCH_TIME: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn two_clusters_form_beside_each_other_and_stay_apart() {
    let mut first = Cluster::new("mdns-first", 3, Way::Mdns);
    let mut second = Cluster::new("mdns-second", 3, Way::Mdns);
    let start = Instant::now();
    // Interleaved, so that each sees the other's nodes before its own are complete.
    for (one, other) in first.nodes.iter_mut().zip(&mut second.nodes) {
        one.start();
        other.start();
    }
    for cluster in [&first, &second] {
        cluster.settled().await;
        assert_eq!(cluster_ids(&cluster.statuses().await).len(), 1);
    }
    println!("both formed within {:?}", start.elapsed());
    assert!(start.elapsed() < FORM_LIMIT, "took {:?}", start.elapsed());
    let ids = |statuses: Vec<Option<StatusResponse>>| -> BTreeSet<u64> {
        statuses.iter().flatten().flat_map(|status| status.members.iter().map(|member| member.node_id)).collect()
    };
    let (members_of_first, members_of_second) = (ids(first.statuses().await), ids(second.statuses().await));
    assert_eq!((members_of_first.len(), members_of_second.len()), (3, 3));
    assert!(members_of_first.is_disjoint(&members_of_second));
    first.assert_no_panics();
    second.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_wiped_board_and_a_fourth_one_wait_outside() {
    let mut cluster = Cluster::new("mdns-outside", 3, Way::Mdns);
    cluster.start();
    let leader = cluster.settled().await;
    let wiped = cluster.followers(leader)[0];
    let members = member_ids(&cluster).await;

    cluster.nodes[wiped].kill();
    fs::remove_dir_all(cluster.nodes[wiped].data_dir()).unwrap();
    cluster.nodes[wiped].start();
    let mut fourth = cluster.outsider("fourth");
    fourth.start();
    for outsider in [&cluster.nodes[wiped], &fourth] {
        let kv = outsider.kv();
        let status = eventually(30, "it waits", || kv.status(), |status| status.as_ref().is_ok_and(|status| !status.waits_for.is_empty()));
        let status = status.await.unwrap();
        assert!(status.cluster_id.is_empty() && !members.contains(&status.node_id), "{status:?}");
        let own_id = status.node_id;
        let shown = |status: &Result<StatusResponse, tonic::Status>| {
            status.as_ref().is_ok_and(|status| status.pending.iter().any(|pending| pending.node_id == own_id))
        };
        let of_leader = cluster.kv(leader);
        eventually(30, "the leader shows it as pending", || of_leader.status(), shown).await.unwrap();
    }

    // Neither makes a cluster of its own, nor enters this one.
    tokio::time::sleep(WATCH_TIME).await;
    for outsider in [&cluster.nodes[wiped], &fourth] {
        assert!(outsider.kv().status().await.unwrap().cluster_id.is_empty());
        outsider.kv().set(b"key", "value").await.expect_err("it belongs to no cluster");
    }
    assert_eq!(member_ids_at(&cluster, leader).await, members);
    cluster.client(Duration::from_secs(10)).await.set(b"key", "two of three serve", None).await.unwrap();
    cluster.assert_no_panics();
    fourth.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn all_addresses_change_and_the_cluster_serves_again() {
    let mut cluster = Cluster::new("mdns-move", 3, Way::Mdns);
    cluster.start();
    cluster.settled().await;
    let members = member_ids(&cluster).await;
    cluster.client(Duration::from_secs(10)).await.set(b"key", "before", None).await.unwrap();

    for node in &mut cluster.nodes {
        assert!(node.stop(Signal::TERM).status.success());
    }
    for (node, port) in cluster.nodes.iter_mut().zip(free_ports::<3>()) {
        node.port = port;
        node.start();
    }
    cluster.settled().await;
    assert_eq!(member_ids(&cluster).await, members, "a node is who it is, wherever it is");
    for index in 0..3 {
        assert_eq!(cluster.kv(index).get(b"key").await.unwrap().as_deref(), Some(&b"before"[..]));
    }
    cluster.client(Duration::from_secs(10)).await.set(b"key", "after", None).await.unwrap();
    cluster.equal().await;
    cluster.assert_no_panics();
}

fn cluster_ids(statuses: &[Option<StatusResponse>]) -> BTreeSet<Vec<u8>> {
    statuses.iter().flatten().map(|status| status.cluster_id.to_vec()).collect()
}

async fn member_ids(cluster: &Cluster) -> BTreeSet<u64> {
    let leader = cluster.settled().await;
    member_ids_at(cluster, leader).await
}

async fn member_ids_at(cluster: &Cluster, index: usize) -> BTreeSet<u64> {
    let status = cluster.kv(index).status().await.unwrap();
    status.members.iter().map(|member| member.node_id).collect()
}
