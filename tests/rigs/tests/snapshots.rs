//! A board that was off while the logs were cut comes back by a snapshot, under load: it keeps the images that it has, fetches those that it lacks,
//! and gets there also when the leader dies in the middle of giving.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Source;
use rigs::{Cluster, Load, Noise, Plan, Way, eventually};
use tokio::task::JoinSet;

const PLAN: Plan = Plan { writers: 3, readers_per_node: 1, keys: 24, pause: Duration::from_millis(5), timeout: Duration::from_secs(20) };
/// Together they make a state that takes its time to travel.
const LARGE_WRITES: u64 = 1_600;
const LARGE_BYTES: usize = 60_000;
const WRITERS: u64 = 16;
/// Of these the absent one has some, and lacks some.
const IMAGES_BEFORE: u64 = 3;
const IMAGES_MEANWHILE: u64 = 2;
const IMAGE_BYTES: u64 = 1 << 20;
const ACKNOWLEDGED: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_follower_that_missed_a_cut_log_comes_back_by_a_snapshot_though_the_leader_dies_on_the_way() {
    let mut cluster = Cluster::new("snapshots", 3, Way::Peers);
    cluster.set("RUSTY_KV_STORAGE_LOG_KEEP_ENTRIES", "1000");
    cluster.set("RUSTY_KV_STORAGE_LOG_KEEP_MIB", "1");
    cluster.start();
    let leader = cluster.settled().await;
    put_images(&cluster, 0..IMAGES_BEFORE).await;
    cluster.equal().await;
    let absent = cluster.followers(leader)[0];
    let had =
        eventually(20, "it has its copies", async || cluster.nodes[absent].blobs(), |blobs| blobs.len() as u64 == IMAGES_BEFORE).await;
    let last = cluster.kv(absent).status().await.unwrap().last_index;
    cluster.nodes[absent].kill();
    let writing = Instant::now();
    write_large_values(&cluster).await;
    put_images(&cluster, IMAGES_BEFORE..IMAGES_BEFORE + IMAGES_MEANWHILE).await;
    println!("{LARGE_WRITES} values of {LARGE_BYTES} bytes written in {:.1?}", writing.elapsed());
    for present in cluster.followers(absent) {
        let kv = cluster.kv(present);
        let cut = |status: &Result<proto::v1::StatusResponse, _>| status.as_ref().is_ok_and(|status| status.mark_index > last);
        let status = eventually(30, "the log is cut by itself", || kv.status(), cut).await.unwrap();
        println!("{}: entries up to {} are gone; the absent one's log ends at {last}", status.name, status.mark_index);
    }

    let load = Load::start(&cluster, PLAN).await;
    load.goes_on(ACKNOWLEDGED).await;
    cluster.nodes[absent].start();
    let start = Instant::now();
    while cluster.nodes[absent].count_logged("fetching a snapshot") == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not fetch what it cannot be sent");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let giver = cluster.settled().await;
    cluster.nodes[giver].kill();
    cluster.nodes[absent].logged("a snapshot could not be fetched yet", 30).await;
    cluster.nodes[absent].logged("a snapshot is in force", 60).await;
    println!("the snapshot is in force {:.1?} after the start, with the giver killed on the way", start.elapsed());
    load.goes_on(ACKNOWLEDGED).await;
    cluster.nodes[giver].start();
    load.verify(&cluster).await;

    let node = &cluster.nodes[absent];
    let has = node.blobs();
    assert_eq!(has.len() as u64, IMAGES_BEFORE + IMAGES_MEANWHILE);
    assert!(had.iter().all(|(name, file)| has.get(name) == Some(file)), "what it had was fetched again: {had:?}, {has:?}");
    assert!(node.count_logged("fetched a blob that was missing here") as u64 <= IMAGES_MEANWHILE);
    for number in 0..IMAGES_BEFORE + IMAGES_MEANWHILE {
        let expected = Some((IMAGE_BYTES, Noise::new(number, IMAGE_BYTES).hash()));
        assert_eq!(node.kv().digest(format!("image/{number}").as_bytes()).await.unwrap(), expected);
    }
    for number in (0..LARGE_WRITES).step_by(97) {
        assert!(node.kv().get(format!("large/{number}").as_bytes()).await.unwrap() == Some(large(number)), "large/{number}");
    }
    println!("snapshots in force since: {}", cluster.nodes.iter().map(|node| node.count_logged("a snapshot is in force")).sum::<usize>());
}

/// Whoever needs the room may cut at once, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn logs_are_cut_on_request_and_a_new_node_gets_what_they_held() {
    let mut cluster = Cluster::new("compact", 2, Way::Alone);
    cluster.nodes[0].start();
    cluster.settled().await;
    let load = Load::start(&cluster, PLAN).await;
    load.goes_on(ACKNOWLEDGED).await;
    cluster.told(&["compact"], 0);
    eventually(10, "the log is cut", async || cluster.led().await.mark_index, |mark| *mark > 0).await;
    cluster.nodes[1].start();
    cluster.outside(1).await;
    cluster.told(&["member", "add", "node2"], 0);
    assert!(cluster.nodes[1].count_logged("a snapshot is in force") > 0, "there is no other way to what is gone from the log");
    // A snapshot outlives the process that fetched it.
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    load.goes_on(ACKNOWLEDGED).await;
    load.verify(&cluster).await;
}

async fn write_large_values(cluster: &Cluster) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = cluster.client(Duration::from_secs(30)).await;
        writers.spawn(async move {
            for number in (writer..LARGE_WRITES).step_by(WRITERS as usize) {
                client.set(format!("large/{number}").as_bytes(), large(number), None).await.expect("two of three nodes serve");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("every write is acknowledged");
    }
}

fn large(number: u64) -> Bytes {
    Noise::new(number, LARGE_BYTES as u64).chunk(LARGE_BYTES).expect("it is not empty")
}

async fn put_images(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let client = cluster.client(Duration::from_secs(30)).await;
    for number in numbers {
        let source = Source::Pipe("noise".into(), Box::new(Noise::new(number, IMAGE_BYTES)));
        client.put(format!("image/{number}").as_bytes(), source, None, &mut |_, _| {}).await.expect("two of three nodes serve");
    }
}
