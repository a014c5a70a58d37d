//! Images that no key names any more are unlinked on every disk, and nothing else is: whoever uploads the same content at that moment, or a moment
//! later, finds it there afterwards.

use std::time::Duration;

use client::Source;
use rigs::{Cluster, Noise, Way, eventually};

const IMAGE_BYTES: u64 = 200_000;
const KEPT: u64 = 2;
const DELETED: u64 = 3;
/// Uploads of one content around its own collections.
const TURNS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn deleted_images_go_from_all_disks_and_come_back_when_they_are_uploaded_again() {
    let mut cluster = Cluster::new("collection", 3, Way::Peers);
    cluster.set("RUSTY_KV_LIMITS_COLLECT_MINUTES", "0");
    cluster.start();
    let leader = cluster.settled().await;
    let client = cluster.client(Duration::from_secs(30)).await;
    for number in 0..KEPT + DELETED {
        put(&client, &format!("image/{number}"), number).await;
    }
    // A second name for a content keeps it.
    put(&client, "second name", 0).await;
    images(&cluster, KEPT + DELETED).await;
    client.delete(b"image/0", None).await.unwrap();
    for number in KEPT..KEPT + DELETED {
        client.delete(format!("image/{number}").as_bytes(), None).await.unwrap();
    }
    images(&cluster, KEPT).await;

    // Now a content comes back just when it has gone from one disk: it may be about to go from the others.
    let first = cluster.followers(leader)[0];
    let mut waited = 0;
    for turn in 0..TURNS {
        put(&client, "again", 100).await;
        client.delete(b"again", None).await.unwrap();
        if turn % 2 == 0 {
            // Or at any moment before that.
            eventually(40, "a disk has dropped it", async || cluster.nodes[first].blobs().len() as u64, |held| *held == KEPT).await;
            waited += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(170 * turn)).await;
        }
        put(&client, "again", 100).await;
        let expected = Some((IMAGE_BYTES, Noise::new(100, IMAGE_BYTES).hash()));
        for node in &cluster.nodes {
            assert_eq!(node.kv().digest(b"again").await.unwrap(), expected, "{} in turn {turn}", node.name);
        }
    }
    images(&cluster, KEPT + 1).await;
    // And there it stays.
    tokio::time::sleep(Duration::from_secs(3)).await;
    images(&cluster, KEPT + 1).await;
    let collected: usize = cluster.nodes.iter().map(|node| node.count_logged("blobs that nothing refers to are unlinked")).sum();
    println!("{collected} collections on three disks; a content came back {TURNS} times, {waited} of them just after it had gone");
    for node in &cluster.nodes {
        for (key, number) in [("image/1", 1), ("second name", 0), ("again", 100)] {
            let expected = Some((IMAGE_BYTES, Noise::new(number, IMAGE_BYTES).hash()));
            assert_eq!(node.kv().digest(key.as_bytes()).await.unwrap(), expected, "{}: {key}", node.name);
        }
    }

    // A node that was down when they went drops them, too.
    let absent = cluster.followers(leader)[1];
    cluster.nodes[absent].kill();
    client.delete(b"again", None).await.unwrap();
    cluster.nodes[absent].start();
    images(&cluster, KEPT).await;
    cluster.equal().await;
    cluster.assert_no_panics();
}

/// Waits until every disk holds so many.
async fn images(cluster: &Cluster, count: u64) {
    let held = async || cluster.nodes.iter().map(|node| node.blobs().len() as u64).collect::<Vec<_>>();
    eventually(40, &format!("every disk holds {count} images"), held, |held| held.iter().all(|held| *held == count)).await;
}

async fn put(client: &client::Client, key: &str, seed: u64) {
    let source = Source::Pipe("noise".into(), Box::new(Noise::new(seed, IMAGE_BYTES)));
    client.put(key.as_bytes(), source, None, &mut |_, _| {}).await.unwrap_or_else(|error| panic!("{key}: {error}"));
}
