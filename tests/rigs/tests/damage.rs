//! Blobs that rot, shrink or vanish on one node's disk: readers get the right bytes, and the node mends itself from its peers.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use client::Source;
use proto::v1::DownloadRequest;
use proto::v1::download_response::Part;
use rigs::{Cluster, Kv, Noise, client_ok, eventually};

const SIZE_BYTES: usize = 3 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_damaged_blob_is_never_served_and_is_fetched_again() {
    let cluster = Cluster::of_three("damage").await;
    let leader = cluster.settled().await;
    let content = content(1);
    let hash = *blake3::hash(&content).as_bytes();
    let client = cluster.client(Duration::from_secs(30)).await;
    client.put(b"photo", Source::Bytes(content.clone()), None, &mut |_, _| {}).await.unwrap();
    for damaged in [leader, cluster.followers(leader)[0]] {
        let node = &cluster.nodes[damaged];
        let file = eventually(20, "it has the blob", || async { blob_of(node.data_dir()) }, Option::is_some).await.unwrap();
        let whole = || async { fs::read(&file).is_ok_and(|bytes| bytes == content) };
        let mended = || eventually(20, "the node has fetched it again", whole, |whole| *whole);

        // A bit flips: whoever reads the whole value notices, and a client that asks this node alone gets it all the same.
        let bytes = fs::File::options().write(true).open(&file).unwrap();
        bytes.write_all_at(&[!content[1_000_000]], 1_000_000).unwrap();
        let restored = cluster.path().join(format!("restored{damaged}"));
        client_ok(cluster.path(), &["--addr", &node.address(), "download", "photo", &restored.to_string_lossy()]);
        assert!(fs::read(&restored).unwrap() == content, "other bytes were downloaded");
        mended().await;

        // The file is cut short, or gone: seen before a byte of it is given out, also by those who want a part.
        fs::File::options().write(true).open(&file).unwrap().set_len(1_500_000).unwrap();
        assert_eq!(part(&node.kv(), 1_000_000, 1_000_000).await, content.slice(1_000_000..2_000_000));
        mended().await;
        fs::remove_file(&file).unwrap();
        assert_eq!(node.kv().digest(b"photo").await.unwrap(), Some((SIZE_BYTES as u64, hash)));
        mended().await;
    }
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_damaged_blob_does_not_count_when_its_content_is_uploaded_again() {
    let mut cluster = Cluster::of_three("damage-upload").await;
    let content = content(2);
    let client = cluster.client(Duration::from_secs(30)).await;
    client.put(b"one", Source::Bytes(content.clone()), None, &mut |_, _| {}).await.unwrap();
    cluster.equal().await;
    for node in &cluster.nodes {
        let file = eventually(20, "it has the blob", || async { blob_of(node.data_dir()) }, Option::is_some).await.unwrap();
        fs::File::options().write(true).open(&file).unwrap().write_all_at(&[!content[0]], 0).unwrap();
    }
    // Nobody has read the damaged files yet, so nobody knows; an acknowledged upload must not rest on them.
    client.put(b"two", Source::Bytes(content.clone()), None, &mut |_, _| {}).await.unwrap();
    let leader = cluster.settled().await;
    cluster.nodes[leader].kill();
    cluster.settled().await;
    let restored = cluster.path().join("restored");
    let node = cluster.followers(leader)[0];
    client_ok(cluster.path(), &["--addr", &cluster.nodes[node].address(), "download", "two", &restored.to_string_lossy()]);
    assert!(fs::read(&restored).unwrap() == content, "other bytes were downloaded");
    cluster.assert_no_panics();
}

fn content(seed: u64) -> Bytes {
    let mut noise = Noise::new(seed, SIZE_BYTES as u64);
    let mut bytes = Vec::new();
    while let Some(chunk) = noise.chunk(SIZE_BYTES) {
        bytes.extend_from_slice(&chunk);
    }
    bytes.into()
}

/// The one blob on this disk.
fn blob_of(data: &Path) -> Option<PathBuf> {
    let prefixes = fs::read_dir(data.join("blobs")).ok()?.flatten().filter(|entry| entry.file_name().len() == 2);
    prefixes.flat_map(|prefix| fs::read_dir(prefix.path()).into_iter().flatten().flatten()).map(|entry| entry.path()).next()
}

async fn part(kv: &Kv, offset: u64, length: u64) -> Bytes {
    let request = DownloadRequest { key: Bytes::from_static(b"photo"), offset, length, ..Default::default() };
    let mut stream = kv.service().download(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(Part::Chunk(chunk)) = message.part {
            bytes.extend_from_slice(&chunk);
        }
    }
    bytes.into()
}
