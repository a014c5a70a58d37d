//! Large values: whole on every node or on none, and never in memory.

use std::time::Duration;

use bytes::Bytes;
use client::Source;
use proto::v1::UploadRequest;
use proto::v1::upload_request::{Header, Part};
use rigs::{Cluster, Noise, eventually, within};

const MIB: u64 = 1024 * 1024;
const RESIDENT_MAX_BYTES: u64 = 150 * MIB;
const CHUNK_BYTES: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_gibibyte_passes_through_little_memory() {
    let cluster = Cluster::of_three("uploads-large").await;
    let noise = Noise::new(1, 1024 * MIB);
    let hash = noise.clone().hash();
    put(&cluster, "large", noise).await;
    let held_by_all =
        |statuses: &Vec<Option<proto::v1::StatusResponse>>| statuses.iter().all(|s| s.as_ref().is_some_and(|s| s.blobs_missing == 0));
    eventually(120, "each node has its copy", || cluster.statuses(), held_by_all).await;
    for node in &cluster.nodes {
        assert_eq!(node.kv().digest(b"large").await.unwrap(), Some((1024 * MIB, hash)), "{}", node.name);
    }
    for node in &cluster.nodes {
        let peak = node.memory().peak;
        println!("{}: {} MiB at most", node.name, peak / MIB);
        assert!(peak < RESIDENT_MAX_BYTES, "{} took {} MiB", node.name, peak / MIB);
    }
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn the_leader_dies_in_the_middle_of_an_upload() {
    let mut cluster = Cluster::of_three("uploads-kill").await;
    let leader = cluster.settled().await;
    let noise = Noise::new(2, 64 * MIB);
    let hash = noise.clone().hash();
    let mut contents = Vec::new();
    let mut copy = noise.clone();
    while let Some(chunk) = copy.chunk(CHUNK_BYTES) {
        contents.extend_from_slice(&chunk);
    }

    // Half of it is on its way when the leader dies; the client starts again at the next one.
    let (half, halfway) = tokio::sync::oneshot::channel();
    let mut half = Some(half);
    let client = cluster.client(Duration::from_secs(30)).await;
    let upload = tokio::spawn(async move {
        let mut progress = |sent: u64, _: Option<u64>| {
            if sent > 32 * MIB
                && let Some(half) = half.take()
            {
                let _ = half.send(());
            }
        };
        client.put(b"photo", Source::Bytes(contents.into()), None, &mut progress).await
    });
    within(30, "half of the upload", halfway).await.unwrap();
    cluster.nodes[leader].kill();
    within(90, "the upload", upload).await.unwrap().expect("the upload starts again at the new leader");
    cluster.nodes[leader].start();
    cluster.equal().await;
    for node in &cluster.nodes {
        assert_eq!(node.kv().digest(b"photo").await.unwrap(), Some((64 * MIB, hash)), "{}", node.name);
    }
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_client_that_vanishes_leaves_nothing_to_be_seen() {
    let cluster = Cluster::of_three("uploads-vanish").await;
    let leader = cluster.settled().await;
    cluster.kv(leader).set(b"photo", "old").await.unwrap();

    let kv = cluster.kv(leader);
    let (parts, queue) = tokio::sync::mpsc::channel(4);
    let call = tokio::spawn(async move { kv.service().upload(tokio_stream::wrappers::ReceiverStream::new(queue)).await });
    let header = Header { key: Bytes::from_static(b"photo"), size: Some(64 * MIB), ..Header::default() };
    parts.send(UploadRequest { part: Some(Part::Header(header)) }).await.unwrap();
    let mut noise = Noise::new(3, 16 * MIB);
    while let Some(chunk) = noise.chunk(CHUNK_BYTES) {
        parts.send(UploadRequest { part: Some(Part::Chunk(chunk)) }).await.expect("the leader takes chunks");
    }
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()));
    drop(parts);

    // The same key can be written at once, and what was sent shows nowhere.
    for node in &cluster.nodes {
        assert_eq!(node.kv().get(b"photo").await.unwrap().as_deref(), Some(&b"old"[..]), "{}", node.name);
    }
    put(&cluster, "photo", Noise::new(4, MIB)).await;
    for node in &cluster.nodes {
        let expected = Some((MIB, Noise::new(4, MIB).hash()));
        assert_eq!(node.kv().digest(b"photo").await.unwrap(), expected, "{}", node.name);
    }
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_follower_that_was_down_fetches_what_it_missed() {
    let mut cluster = Cluster::of_three("uploads-absent").await;
    let leader = cluster.settled().await;
    let absent = cluster.followers(leader)[0];
    cluster.nodes[absent].kill();
    let photos: Vec<(String, Noise)> = (10..15).map(|seed| (format!("photo{seed}"), Noise::new(seed, 5 * MIB))).collect();
    for (key, noise) in &photos {
        put(&cluster, key, noise.clone()).await;
    }

    cluster.nodes[absent].start();
    // A blob counts as missing only after a while, in case that its upload is still under way; so the disk is asked.
    let blobs = cluster.nodes[absent].data_dir().join("blobs");
    eventually(60, "all blobs lie on its disk", || async { bytes_below(&blobs) }, |bytes| *bytes >= 25 * MIB).await;
    cluster.equal().await;
    // Each of the others is away once, so neither is needed for the bytes. (Both cannot be: to know that what it reads is current it needs a
    // leader.)
    for other in cluster.followers(absent) {
        cluster.nodes[other].kill();
        cluster.settled().await;
        for (key, noise) in &photos {
            let digest = cluster.kv(absent).digest(key.as_bytes()).await.unwrap();
            assert_eq!(digest, Some((5 * MIB, noise.clone().hash())), "{key}");
        }
        cluster.nodes[other].start();
        cluster.settled().await;
    }
    cluster.assert_no_panics();
}

async fn put(cluster: &Cluster, key: &str, noise: Noise) {
    let client = cluster.client(Duration::from_secs(60)).await;
    let source = Source::Pipe("noise".into(), Box::new(noise));
    let written = within(180, "the upload", client.put(key.as_bytes(), source, None, &mut |_, _| {})).await;
    written.unwrap_or_else(|error| panic!("{key}: {error}"));
}

/// Files may come and go while they are counted.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() { bytes_below(&path) } else { path.metadata().map_or(0, |meta| meta.len()) }
    });
    sizes.sum()
}
