//! A disk that has forgotten: the node gives up its id, keeps its old files aside and its images, and waits outside like a new board. As what it was
//! it is counted by nobody; as what it is now it can take its own old place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use client::Source;
use rigs::{Cluster, Load, Noise, Plan, eventually};
use rustix::process::Signal;
use tokio::time::timeout;

const PLAN: Plan = Plan { writers: 4, readers_per_node: 1, keys: 24, pause: Duration::from_millis(5), timeout: Duration::from_secs(20) };
const IMAGE_BYTES: u64 = 300_000;
const IMAGES: u64 = 3;
/// More than an anchor may lag behind.
const FORGOTTEN: u64 = 1_500;
const ACKNOWLEDGED: u64 = 40;
/// Of a write that nobody may acknowledge.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_log_of_an_earlier_day_makes_a_new_node_that_nobody_counts_until_it_is_let_in() {
    let mut cluster = Cluster::of_three("suspect-older").await;
    put_images(&cluster).await;
    cluster.equal().await;
    let leader = cluster.settled().await;
    let [victim, other] = [cluster.followers(leader)[0], cluster.followers(leader)[1]];
    assert!(cluster.nodes[victim].stop(Signal::TERM).status.success());
    let raft = cluster.nodes[victim].data_dir().join("raft");
    let older = cluster.path().join("older");
    copy_dir(&raft, &older);
    cluster.nodes[victim].start();
    let load = Load::start(&cluster, PLAN).await;
    load.goes_on(FORGOTTEN).await;
    assert!(cluster.nodes[victim].stop(Signal::TERM).status.success());
    fs::remove_dir_all(&raft).unwrap();
    copy_dir(&older, &raft);

    let [old, new] = comes_back_as_a_new_node(&mut cluster, victim).await;

    // With it and one voter of three nothing can be decided.
    cluster.nodes[other].kill();
    let kv = cluster.kv(leader);
    let written = timeout(PROBE_LIMIT, kv.set(b"probe", "x")).await;
    assert!(!matches!(written, Ok(Ok(()))), "a write was acknowledged by one voter of three and a node that is out");
    eventually(30, "the cluster is unavailable", async || cluster.command(&["status", "--check"]).status.code(), |code| *code == Some(11))
        .await;
    cluster.nodes[other].start();
    load.goes_on(ACKNOWLEDGED).await;

    cluster.told(&["member", "replace", &old, &new], 0);
    cluster.told(&["wait", "--healthy"], 0);
    // Now it counts.
    cluster.nodes[other].kill();
    load.goes_on(ACKNOWLEDGED).await;
    cluster.nodes[other].start();
    load.verify(&cluster).await;
    assert!(cluster.nodes[victim].data_dir().join("aside.1/raft").is_dir(), "the old files are kept for whoever wants to look");
}

/// Nothing in such a directory contradicts itself: only the leader, which has heard more of this node, can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn an_old_copy_of_a_whole_directory_is_found_out_by_the_leader_and_makes_a_new_node() {
    let mut cluster = Cluster::of_three("suspect-copy").await;
    put_images(&cluster).await;
    cluster.equal().await;
    let leader = cluster.settled().await;
    let victim = cluster.followers(leader)[0];
    assert!(cluster.nodes[victim].stop(Signal::TERM).status.success());
    let data = cluster.nodes[victim].data_dir().to_owned();
    let older = cluster.path().join("older");
    copy_dir(&data, &older);
    cluster.nodes[victim].start();
    let load = Load::start(&cluster, PLAN).await;
    load.goes_on(FORGOTTEN / 10).await;
    assert!(cluster.nodes[victim].stop(Signal::TERM).status.success());
    fs::remove_dir_all(&data).unwrap();
    copy_dir(&older, &data);

    cluster.nodes[victim].start();
    let status = cluster.nodes[victim].wait_for_end(20);
    assert_eq!(status.code(), Some(1), "it ends, so that nothing counts on it: {status}");
    let [old, new] = comes_back_as_a_new_node(&mut cluster, victim).await;
    cluster.told(&["member", "replace", &old, &new], 0);
    cluster.told(&["wait", "--healthy"], 0);
    load.goes_on(ACKNOWLEDGED).await;
    load.verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_log_that_lost_its_tail_makes_a_new_node_and_so_does_one_without_its_anchor() {
    let mut cluster = Cluster::of_three("suspect-tail").await;
    put_images(&cluster).await;
    cluster.equal().await;
    let load = Load::start(&cluster, PLAN).await;
    type Harm = fn(&Path);
    let harm: [(&str, Harm); 2] = [
        ("half of the newest segment is gone", |data| {
            let newest = newest_segment(&data.join("raft"));
            let file = File::options().write(true).open(&newest).unwrap();
            // Room set aside for what is to come lies behind what was written.
            let written = fs::read(&newest).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
            file.set_len(written / 2).unwrap();
        }),
        ("the anchor is gone", |data| fs::remove_file(data.join("anchor")).unwrap()),
    ];
    for (what, harm) in harm {
        let leader = cluster.settled().await;
        let victim = cluster.followers(leader)[0];
        load.goes_on(FORGOTTEN / 3).await;
        assert!(cluster.nodes[victim].stop(Signal::TERM).status.success());
        harm(cluster.nodes[victim].data_dir());
        println!("{}: {what}", cluster.nodes[victim].name);
        let [old, new] = comes_back_as_a_new_node(&mut cluster, victim).await;
        cluster.told(&["member", "replace", &old, &new], 0);
    }
    load.verify(&cluster).await;
}

/// Starts it and sees it come back as another, with the images of the one before. Returns the old id and the new.
async fn comes_back_as_a_new_node(cluster: &mut Cluster, victim: usize) -> [String; 2] {
    let (blobs, asides, log) = {
        let node = &cluster.nodes[victim];
        (node.blobs(), node.set_aside(), node.count_logged("the disk has forgotten"))
    };
    assert_eq!(blobs.len() as u64, IMAGES, "there are images to keep");
    let before = cluster.led().await;
    let name = cluster.nodes[victim].name.clone();
    let is_victim = |member: &&proto::v1::Member| member.name == name;
    let old = before.members.iter().find(is_victim).expect("it is a member").node_id;
    cluster.nodes[victim].start();
    let new = cluster.outside(victim).await;
    let node = &cluster.nodes[victim];
    assert_eq!((node.set_aside(), node.count_logged("the disk has forgotten")), (asides + 1, log + 1), "{name}");
    assert_eq!(node.blobs(), blobs, "images do not lie; they stay");
    assert_ne!(old, new);
    let after = cluster.led().await;
    let voters = |status: &proto::v1::StatusResponse| -> BTreeMap<u64, bool> {
        status.members.iter().map(|member| (member.node_id, member.voter)).collect()
    };
    assert_eq!(voters(&after), voters(&before), "nobody is let in without being asked for");
    let of_old = after.members.iter().find(|member| member.node_id == old).expect("it is a member still");
    let silent = of_old.last_contact_ms.is_none_or(|ms| ms > 0) && of_old.durable_index.is_none_or(|index| index < after.last_index);
    assert!(silent, "the old one is heard: {of_old:?}");
    node.kv().set(b"key", "x").await.expect_err("it belongs to no cluster");
    [format!("{old:016x}"), format!("{new:016x}")]
}

async fn put_images(cluster: &Cluster) {
    let client = cluster.client(Duration::from_secs(30)).await;
    for number in 0..IMAGES {
        let source = Source::Pipe("noise".into(), Box::new(Noise::new(number, IMAGE_BYTES)));
        client.put(format!("image/{number}").as_bytes(), source, None, &mut |_, _| {}).await.expect("all nodes serve");
    }
    for node in &cluster.nodes {
        eventually(20, "it has its copies", async || node.blobs(), |blobs| blobs.len() as u64 == IMAGES).await;
    }
}

fn newest_segment(raft: &Path) -> PathBuf {
    let files = fs::read_dir(raft).unwrap().flatten().map(|entry| entry.path());
    let mut segments: Vec<PathBuf> =
        files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log."))).collect();
    segments.sort();
    segments.pop().expect("a log has a segment")
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} cannot be copied", from.display());
}
