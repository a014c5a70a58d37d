//! A board that was off for an evening comes back: the leader sends it the entries that it missed, once, and nothing else.

use std::time::Duration;

use proto::v1::StatusResponse;
use rigs::{Cluster, eventually};
use tokio::task::JoinSet;

const WRITES: u64 = 10_000;
const WRITERS: u64 = 32;
/// One after the other: about two seconds of writing.
const MEANWHILE: u64 = 300;
/// All of them together are more than the core keeps in memory, so the leader reads its disk for the follower.
const VALUE_BYTES: usize = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_follower_that_missed_ten_thousand_writes_is_sent_each_of_them_once() {
    let mut cluster = Cluster::of_three("catch-up").await;
    cluster.equal().await;
    let leader = cluster.settled().await;
    let absent = cluster.followers(leader)[0];
    let absent_status = status(&cluster, absent).await;
    cluster.nodes[absent].kill();

    write_many(&cluster).await;
    let all_written = |status: &StatusResponse| status.last_index >= absent_status.last_index + WRITES;
    let at_return = eventually(10, "the leader tells of all writes", || status(&cluster, leader), all_written).await;
    let missed = at_return.last_index - absent_status.last_index;
    let sent_before = sent_to(&at_return, absent_status.node_id);

    // Somebody goes on writing while it starts, connects and catches up.
    let meanwhile = tokio::spawn({
        let client = cluster.client(Duration::from_secs(20)).await;
        async move {
            for number in 0..MEANWHILE {
                client.set(format!("meanwhile/{number}").as_bytes(), "x", None).await.expect("two of three nodes serve");
            }
        }
    });
    cluster.nodes[absent].start();
    meanwhile.await.expect("writes go on");
    let caught_up = eventually(
        60,
        "the follower has all entries",
        || async { (status(&cluster, absent).await, status(&cluster, leader).await) },
        |(follower, leader)| follower.applied_index == leader.last_index,
    );
    let (_, of_leader) = caught_up.await;
    assert_eq!(of_leader.term, at_return.term, "the leader stayed, so its counters did too");
    let sent = sent_to(&of_leader, absent_status.node_id) - sent_before;
    let written_meanwhile = of_leader.last_index - at_return.last_index;
    assert!(sent >= missed, "{sent} entries cannot have filled a gap of {missed}");
    assert!(sent <= missed + written_meanwhile, "{sent} entries were sent for {missed} missed and {written_meanwhile} written meanwhile");
    println!("{missed} entries missed, {written_meanwhile} written meanwhile, {sent} sent");
    cluster.equal().await;
    cluster.assert_no_panics();
}

async fn write_many(cluster: &Cluster) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = cluster.client(Duration::from_secs(20)).await;
        writers.spawn(async move {
            for number in (writer..WRITES).step_by(WRITERS as usize) {
                let value = vec![number as u8; VALUE_BYTES];
                client.set(format!("evening/{number}").as_bytes(), value, None).await.expect("two of three nodes serve");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("every write is acknowledged");
    }
}

async fn status(cluster: &Cluster, index: usize) -> StatusResponse {
    let kv = cluster.kv(index);
    eventually(30, "the node answers", || kv.status(), Result::is_ok).await.expect("just checked")
}

/// Entries that this leader has sent to one follower.
fn sent_to(leader: &StatusResponse, follower: u64) -> u64 {
    let member = leader.members.iter().find(|member| member.node_id == follower).expect("a member");
    member.entries_sent.expect("a leader counts what it sends")
}
