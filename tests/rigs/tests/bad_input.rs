//! What comes from outside may be anything: each piece of it gets a clear error, nothing is lost, and no node panics.

use std::fs;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::Kind;
use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::peer_frame::{self, Hello};
use proto::v1::upload_request::{End, Header, Part};
use proto::v1::{self, Outcome, PeerFrame, Reason, StatusResponse, UploadRequest};
use rigs::calls::{Calls, get, set};
use rigs::{Cluster, Failure, Kv, Node, SmallDisk, Way, call_raw, eventually, skip, within};
use rustix::process::{Pid, Signal, kill_process};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

const KEY_MAX_BYTES: usize = 4096;
const INLINE_MAX_BYTES: usize = 64 * 1024;
const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn requests_that_make_no_sense() {
    let cluster = Cluster::of_three("bad-requests").await;
    let leader = cluster.settled().await;
    let kv = cluster.kv(leader);
    kv.set(b"key", "value").await.unwrap();
    let before = log_end(&kv, 2).await;

    for key in [vec![], vec![b'k'; KEY_MAX_BYTES + 1]] {
        rejected(kv.set(&key, "value").await, Reason::KeySize);
        rejected(kv.delete(&key).await, Reason::KeySize);
        rejected(kv.get(&key).await, Reason::KeySize);
        rejected(kv.digest(&key).await, Reason::KeySize);
        rejected(upload(&kv, vec![header(&key), chunk(b"value"), end(b"value")]).await, Reason::KeySize);
    }
    rejected(kv.set(b"key", vec![0; INLINE_MAX_BYTES + 1]).await, Reason::ValueSize);

    // Larger than any message may be, and bytes that are no message: refused before our code sees them.
    let huge = kv.service().set(v1::SetRequest { key: "key".into(), value: vec![0; 4 << 20].into(), ..Default::default() }).await;
    assert_eq!(huge.expect_err("too large").code(), Code::OutOfRange);
    for path in [
        "/rustykv.v1.Kv/Set",
        "/rustykv.v1.Kv/Get",
        "/rustykv.v1.Kv/Calls",
        "/rustykv.v1.Kv/Upload",
        "/rustykv.v1.Raft/Identify",
        "/rustykv.v1.Raft/Converse",
    ] {
        let error = call_raw(kv.channel(), path, Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3])).await.expect_err(path);
        assert!(!matches!(error.code(), Code::Ok | Code::Unknown) && !error.message().is_empty(), "{path}: {error:?}");
    }
    let error = call_raw(kv.channel(), "/rustykv.v1.Kv/Dance", Bytes::new()).await.expect_err("no such method");
    assert_eq!(error.code(), Code::Unimplemented);

    let large = vec![7; 100_000];
    let uploads: [(Vec<UploadRequest>, Outcome, Reason); 7] = [
        (vec![], Outcome::NotExecuted, Reason::Truncated),
        (vec![header(b"key"), chunk(&large)], Outcome::NotExecuted, Reason::Truncated),
        (vec![header(b"key"), chunk(&large), end(b"other")], Outcome::Rejected, Reason::HashMismatch),
        (vec![header(b"key"), chunk(b"small"), end(b"other")], Outcome::Rejected, Reason::HashMismatch),
        (vec![chunk(&large), end(&large)], Outcome::Rejected, Reason::Malformed),
        (vec![header(b"key"), header(b"key"), end(b"")], Outcome::Rejected, Reason::Malformed),
        (vec![header(b"key"), chunk(&vec![0; 300 << 10])], Outcome::Rejected, Reason::Malformed),
    ];
    for (number, (parts, outcome, reason)) in uploads.into_iter().enumerate() {
        let failure = upload(&kv, parts).await.expect_err("nothing to store");
        assert_eq!((failure.outcome, failure.reason), (outcome, reason), "upload {number}: {}", failure.message);
    }

    assert_eq!(log_end(&kv, before).await, before, "something that was refused reached the log");
    assert_eq!(kv.get(b"key").await.unwrap().as_deref(), Some(&b"value"[..]));
    // What is just allowed works, with any bytes.
    let longest: Vec<u8> = (0..KEY_MAX_BYTES).map(|byte| byte as u8).collect();
    for key in [&b"\0"[..], &longest] {
        kv.set(key, vec![0xff; INLINE_MAX_BYTES]).await.unwrap();
        assert_eq!(kv.get(key).await.unwrap().map(|value| value.len()), Some(INLINE_MAX_BYTES));
    }
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn calls_that_make_no_sense() {
    let cluster = Cluster::of_three("bad-calls").await;
    let leader = cluster.settled().await;
    let kv = cluster.kv(leader);
    kv.set(b"key", "value").await.unwrap();
    let before = log_end(&kv, 2).await;

    // Each is refused by itself; the stream goes on.
    let mut calls = Calls::open(&kv).await.unwrap();
    let senseless = [
        (Some(set(b"", "value")), Reason::KeySize),
        (Some(set(&[b'k'; KEY_MAX_BYTES + 1], "value")), Reason::KeySize),
        (Some(set(b"key", vec![0; INLINE_MAX_BYTES + 1])), Reason::ValueSize),
        (Some(get(b"")), Reason::KeySize),
        (Some(Call::Delete(v1::DeleteRequest::default())), Reason::KeySize),
        (
            Some(Call::Set(v1::SetRequest { key: "key".into(), condition: Some(v1::Condition::default()), ..Default::default() })),
            Reason::Malformed,
        ),
        (None, Reason::Malformed),
    ];
    for (tag, (call, reason)) in (u64::MAX - 10..).zip(senseless) {
        calls.send(tag, call).await.unwrap();
        let (answered, answer) = calls.next().await.unwrap();
        assert_eq!(answered, tag);
        rejected(answer, reason);
    }
    assert_eq!(log_end(&kv, before).await, before, "something that was refused reached the log");

    // One tag for many calls: each is answered with it.
    for value in ["a", "b", "c"] {
        calls.send(7, Some(set(b"tag", value))).await.unwrap();
    }
    for _ in 0..3 {
        let (tag, answer) = calls.next().await.unwrap();
        assert!(tag == 7 && matches!(answer, Ok(Answer::Set(_))), "{answer:?}");
    }

    // More than any message may be: what came before is answered, then the stream ends.
    calls.send(1, Some(set(b"key", "last"))).await.unwrap();
    calls.send(2, Some(set(b"key", vec![0; 1 << 20]))).await.unwrap();
    assert!(matches!(calls.next().await, Ok((1, Ok(Answer::Set(_))))));
    assert_eq!(calls.next().await.expect_err("the stream ends").code(), Code::OutOfRange);
    assert_eq!(kv.get(b"key").await.unwrap().as_deref(), Some(&b"last"[..]));

    // More calls than may be under way: the node takes them as it gets done.
    let Calls { requests, answers } = Calls::open(&kv).await.unwrap();
    let sender = tokio::spawn(async move {
        for tag in 0..5_000 {
            let call = if tag % 2 == 0 { set(&long_key(tag % 100), "value") } else { get(&long_key(0)) };
            requests.send(v1::CallRequest { tag, call: Some(call) }).await.unwrap();
        }
    });
    let mut seen = vec![false; 5_000];
    let mut answers = Calls { requests: tokio::sync::mpsc::channel(1).0, answers };
    for _ in 0..5_000 {
        let (tag, answer) = answers.next().await.unwrap();
        answer.unwrap();
        assert!(!std::mem::replace(&mut seen[tag as usize], true), "{tag} was answered twice");
    }
    sender.await.unwrap();
    // The client has said everything: so does the node.
    assert!(answers.answers.message().await.unwrap().is_none());
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn clients_that_never_read_their_answers() {
    const STREAMS: u64 = 32;
    /// Calls that a node takes from one stream, and what flow control has under way beside them.
    const TAKEN_MAX: u64 = 30_000;
    let cluster = Cluster::of_three("bad-readers").await;
    let leader = cluster.settled().await;
    let kv = cluster.kv(leader);
    kv.set(&long_key(0), vec![7; INLINE_MAX_BYTES]).await.unwrap();
    let before = cluster.nodes[leader].memory().peak;

    let mut deaf = Vec::new();
    for number in 0..STREAMS {
        let calls = Calls::open(&kv).await.unwrap();
        // Half of them write, half of them read large values.
        let call = move |tag: u64| if number % 2 == 0 { get(&long_key(0)) } else { set(&key(tag % 100), vec![1; 10_000]) };
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let requests = calls.requests.clone();
        let sender = tokio::spawn(async move {
            for tag in 0.. {
                requests.send(v1::CallRequest { tag, call: Some(call(tag)) }).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        deaf.push((calls, sender, sent));
    }
    // They come to a stand, one after the other, because nobody takes the answers.
    let total = || deaf.iter().map(|(_, _, sent)| sent.load(Ordering::Relaxed)).sum::<u64>();
    let mut counted = u64::MAX;
    let still = || {
        let grew = std::mem::replace(&mut counted, total()) != counted;
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            grew
        }
    };
    eventually(60, "the node takes no more from them", still, |grew| !grew).await;
    println!("{} calls taken from {STREAMS} clients that read no answer", total());
    assert!(total() < STREAMS * TAKEN_MAX);

    // Everybody else is served, and what the deaf cost is bounded.
    let others = cluster.client(Duration::from_secs(20)).await;
    for number in 0..100 {
        others.set(&key(number), "value", None).await.unwrap();
    }
    let grown = cluster.nodes[leader].memory().peak - before;
    println!("the leader grew by {} MiB", grown / MIB);
    assert!(grown < STREAMS * 3 * MIB, "{} MiB for {STREAMS} streams", grown / MIB);
    for (calls, sender, _) in deaf {
        sender.abort();
        drop(calls);
    }
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn calls_that_nobody_can_confirm() {
    let cluster = Cluster::of_three("bad-confirm").await;
    let leader = cluster.settled().await;
    let kv = cluster.kv(leader);
    kv.set(b"key", "value").await.unwrap();
    let mut calls = Calls::open(&kv).await.unwrap();
    calls.send(0, Some(get(b"key"))).await.unwrap();
    calls.next().await.unwrap().1.unwrap();

    let followers: Vec<Pid> =
        cluster.followers(leader).iter().map(|index| Pid::from_raw(cluster.nodes[*index].pid() as i32).unwrap()).collect();
    for pid in &followers {
        halt(*pid).await;
    }
    calls.send(1, Some(set(b"key", "other"))).await.unwrap();
    calls.send(2, Some(get(b"key"))).await.unwrap();
    // The read gives up first.
    let (tag, answer) = calls.next().await.unwrap();
    let failure = answer.expect_err("there is no quorum");
    assert_eq!((tag, failure.outcome), (2, Outcome::NotExecuted), "{}", failure.message);
    let (tag, answer) = calls.next().await.unwrap();
    let failure = answer.expect_err("there is no quorum");
    assert_eq!((tag, failure.outcome, failure.reason), (1, Outcome::Unknown, Reason::TimedOut), "{}", failure.message);

    // The replies that come after all are for nobody; the stream goes on.
    followers.iter().for_each(|pid| kill_process(*pid, Signal::CONT).unwrap());
    cluster.settled().await;
    calls.send(3, Some(get(b"key"))).await.unwrap();
    let (tag, answer) = calls.next().await.unwrap();
    let Ok(Answer::Get(found)) = answer else { panic!("{answer:?}") };
    assert!(tag == 3 && (found.value == "value" || found.value == "other"), "{found:?}");
    cluster.equal().await;
    cluster.assert_no_panics();
}

/// One thread takes the signal and then halts the others: until it has its turn, on a busy machine, they go on and answer.
async fn halt(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let halted = async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let mut states = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
        states.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    };
    eventually(10, "every thread is halted", halted, |all| *all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn peers_that_do_not_belong() {
    let cluster = Cluster::of_three("bad-peers").await;
    let leader = cluster.settled().await;
    let kv = cluster.kv(leader);
    let status = kv.status().await.unwrap();
    let other = cluster.kv(cluster.followers(leader)[0]).status().await.unwrap().node_id;
    let true_hello = Hello {
        protocol_version: 1,
        cluster_id: status.cluster_id.clone(),
        from: other,
        to: status.node_id,
        boot_nonce: 1,
        port: 1,
        name: "impostor".into(),
        cluster_name: status.cluster_name.clone(),
    };

    for (hello, reason) in [
        (Hello { cluster_id: vec![9; 16].into(), ..true_hello.clone() }, Reason::OtherCluster),
        (Hello { cluster_id: vec![9; 3].into(), ..true_hello.clone() }, Reason::Malformed),
        (Hello { from: status.node_id, ..true_hello.clone() }, Reason::OtherCluster),
        (Hello { to: other, ..true_hello.clone() }, Reason::OtherCluster),
        (Hello { protocol_version: 99, ..true_hello.clone() }, Reason::ProtocolVersion),
    ] {
        rejected(converse(&kv, vec![frame(peer_frame::Part::Hello(hello))]).await, reason);
    }
    rejected(converse(&kv, vec![PeerFrame::default()]).await, Reason::Malformed);

    // A member's own words, garbled: the stream ends, and nothing of it is believed.
    let hello = || frame(peer_frame::Part::Hello(true_hello.clone()));
    let garbled = |message| frame(peer_frame::Part::Messages(v1::PeerMessages { messages: vec![message] }));
    rejected(converse(&kv, vec![hello(), garbled(v1::PeerMessage { term: u64::MAX, kind: None })]).await, Reason::Malformed);
    rejected(converse(&kv, vec![hello(), hello()]).await, Reason::Malformed);
    let corrupt = v1::LogEntry { term: 1, index: 1, payload: Some(v1::log_entry::Payload::Command(Bytes::from_static(b"x"))), crc: 12345 };
    let append = v1::peer_message::Append { entries: vec![corrupt], prev: Some(v1::LogId::default()), ..Default::default() };
    let append = v1::PeerMessage { term: status.term, kind: Some(v1::peer_message::Kind::Append(append)) };
    rejected(converse(&kv, vec![hello(), garbled(append)]).await, Reason::Malformed);

    let pull = v1::PullBlobRequest { cluster_id: vec![9; 16].into(), from: other, hash: vec![0; 32].into(), offset: 0, length: 0 };
    let refused = kv.raft().pull_blob(pull).await.expect_err("of another cluster");
    assert_eq!(Failure::from(refused).reason, Reason::OtherCluster);

    assert_eq!(kv.status().await.unwrap().term, status.term, "an impostor unseated the leader");
    kv.set(b"key", "value").await.unwrap();
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn callers_that_say_nothing_keep_no_place() {
    const CONNECTIONS_MAX: usize = 16;
    let mut cluster = Cluster::new("bad-callers", 3, Way::Peers);
    for node in &mut cluster.nodes {
        node.env.push(("RUSTY_KV_LIMITS_MAX_CONNECTIONS".into(), CONNECTIONS_MAX.to_string()));
    }
    cluster.start();
    let leader = cluster.settled().await;
    let address = cluster.nodes[leader].address();
    let silent: Vec<TcpStream> = (0..2 * CONNECTIONS_MAX).map(|_| TcpStream::connect(&address).expect("the node listens")).collect();

    // Those beyond the bound at once, the others when they have said nothing for long: the node hangs up on every one.
    let hung_up = tokio::task::spawn_blocking(move || {
        for mut caller in silent {
            caller.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            if let Err(error) = caller.read_to_end(&mut Vec::new()) {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it goes on waiting: {error}");
            }
        }
    });
    within(60, "the node hangs up", hung_up).await.unwrap();
    eventually(20, "a fresh client is served", || async { cluster.kv(leader).set(b"key", "value").await }, Result::is_ok).await.unwrap();
    cluster.equal().await;
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_broken_invariant_ends_the_process() {
    let mut cluster = Cluster::of_three("bad-leader").await;
    let leader = cluster.settled().await;
    cluster.kv(leader).set(b"key", "value").await.unwrap();
    cluster.equal().await;
    let follower = cluster.followers(leader)[0];
    let kv = cluster.kv(follower);
    let (of_leader, before) = (cluster.kv(leader).status().await.unwrap(), kv.status().await.unwrap());

    // Only a cluster that has forgotten what it had committed writes another entry in its place.
    let term = before.term + 1;
    let crc = crc32(&[&term.to_le_bytes()[..], &1u64.to_le_bytes(), &[0]].concat());
    let other = v1::LogEntry { term, index: 1, payload: Some(v1::log_entry::Payload::Noop(true)), crc };
    let append = v1::peer_message::Append { prev: Some(v1::LogId::default()), entries: vec![other], ..Default::default() };
    let message = v1::PeerMessage { term, kind: Some(v1::peer_message::Kind::Append(append)) };
    let hello = Hello {
        protocol_version: 1,
        cluster_id: before.cluster_id.clone(),
        from: of_leader.node_id,
        to: before.node_id,
        boot_nonce: 1,
        port: 1,
        name: "leader".into(),
        cluster_name: before.cluster_name.clone(),
    };
    let frames =
        vec![frame(peer_frame::Part::Hello(hello)), frame(peer_frame::Part::Messages(v1::PeerMessages { messages: vec![message] }))];
    converse(&kv, frames).await.expect_err("nobody answers any more");
    let status = cluster.nodes[follower].wait_for_end(20);
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(cluster.nodes[follower].log_text().contains("which is committed here"));

    // Nothing of it reached the disk; the two others never stopped.
    cluster.client(Duration::from_secs(20)).await.set(b"key", "other", None).await.unwrap();
    cluster.nodes[follower].start();
    cluster.settled().await;
    cluster.equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn data_directories_that_do_not_belong() {
    let mut cluster = Cluster::of_three("bad-directories").await;
    cluster.kv(cluster.settled().await).set(b"key", "value").await.unwrap();
    cluster.equal().await;

    // Two processes, one directory.
    let mut second = cluster.outsider("second");
    second.set_data_dir(cluster.nodes[0].data_dir());
    refuses(&mut second, "in use").await;

    for node in &mut cluster.nodes {
        assert!(node.stop(Signal::TERM).status.success());
    }
    let [one, two] = [0, 1].map(|index| cluster.nodes[index].data_dir().to_path_buf());
    // Half of another node: a card that was copied, a backup put back in part.
    for part in ["anchor", "raft"] {
        swap(&one.join(part), &two.join(part));
        refuses(&mut cluster.nodes[0], "does not belong together").await;
        swap(&one.join(part), &two.join(part));
    }
    // The log is gone: a disk that was not mounted.
    let aside = cluster.path().join("aside");
    fs::rename(one.join("raft"), &aside).unwrap();
    refuses(&mut cluster.nodes[0], "is missing").await;
    fs::rename(&aside, one.join("raft")).unwrap();

    // Written by a version that does not exist yet.
    let anchor = fs::read(one.join("anchor")).unwrap();
    fs::write(one.join("anchor"), of_next_version(anchor.clone())).unwrap();
    refuses(&mut cluster.nodes[0], "newer").await;
    fs::write(one.join("anchor"), anchor).unwrap();

    cluster.start();
    cluster.settled().await;
    cluster.equal().await;
    for node in &cluster.nodes {
        assert_eq!(node.kv().get(b"key").await.unwrap().as_deref(), Some(&b"value"[..]), "{}", node.name);
    }
    cluster.assert_no_panics();
    second.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn disks_that_are_full() {
    let mut cluster = Cluster::new("bad-disk", 3, Way::Peers);
    let mut disks = Vec::new();
    for index in 0..cluster.nodes.len() {
        match SmallDisk::mount(cluster.path(), &format!("disk{index}"), 320 * MIB) {
            Ok(disk) => disks.push(disk),
            Err(reason) => return skip(&reason),
        }
        cluster.nodes[index].set_data_dir(&disks[index].path().join("data"));
    }
    cluster.start();
    let leader = cluster.settled().await;
    let client = cluster.client(Duration::from_secs(20)).await;
    let mut written = Vec::new();
    let large = Bytes::from(vec![3; 300_000]);
    client.put(b"large", client::Source::Bytes(large.clone()), None, &mut |_, _| {}).await.unwrap();
    write(&client, &mut written, 20).await.unwrap();

    // A follower without room: the others are a quorum with room.
    let follower = cluster.followers(leader)[0];
    disks[follower].fill_but(30 * MIB);
    room(&cluster, follower, true).await;
    write(&client, &mut written, 20).await.expect("two of three have room");

    // The leader without room: new values are refused, nothing else.
    disks[leader].fill_but(30 * MIB);
    room(&cluster, leader, true).await;
    let refusal = eventually(20, "new values are refused", || client.set(b"one more", "value", None), Result::is_err).await.unwrap_err();
    assert_eq!((refusal.kind, refusal.reason), (Kind::NotExecuted, Reason::NoRoom), "{refusal}");
    let refusal = client.put(b"large2", client::Source::Bytes(large.clone()), None, &mut |_, _| {}).await.unwrap_err();
    assert_eq!((refusal.kind, refusal.reason), (Kind::NotExecuted, Reason::NoRoom), "{refusal}");
    let deleted = client.delete(&key(written.pop().unwrap()), None).await.expect("deletes go on");
    assert_eq!(deleted, client::Deleted::Done);
    assert!(client.get(&key(0)).await.unwrap().is_some());
    disks[leader].relieve();
    disks[follower].relieve();
    room(&cluster, leader, false).await;
    room(&cluster, follower, false).await;
    eventually(20, "writes go on", || client.set(b"one more", "value", None), Result::is_ok).await.unwrap();

    // Not a byte left for a follower: it may end, saying why, or wait; the others serve, and once there is room again it is whole.
    disks[follower].fill();
    room(&cluster, follower, true).await;
    write(&client, &mut written, 200).await.expect("two of three have room");
    client.put(b"large3", client::Source::Bytes(vec![4; 2_000_000].into()), None, &mut |_, _| {}).await.expect("two of three have room");
    disks[follower].relieve();
    revive(&mut cluster.nodes[follower]);
    cluster.settled().await;

    // Not a byte left for the leader, in the middle of writes. What was acknowledged stays.
    let leader = cluster.settled().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (client, stop) = (cluster.client(Duration::from_secs(5)).await, stop.clone());
        async move {
            let (mut acknowledged, mut failed) = (Vec::new(), 0);
            for number in 10_000.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match write_one(&client, number).await {
                    Ok(()) => acknowledged.push(number),
                    Err(_) => failed += 1,
                }
            }
            (acknowledged, failed)
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    disks[leader].fill();
    tokio::time::sleep(Duration::from_secs(4)).await;
    disks[leader].relieve();
    revive(&mut cluster.nodes[leader]);
    cluster.settled().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let (acknowledged, failed) = within(60, "the writer", writer).await.unwrap();
    println!("{} writes while the leader's disk filled up and after, {failed} that failed", acknowledged.len());
    written.extend(acknowledged);
    cluster.settled().await;
    cluster.equal().await;
    for node in &cluster.nodes {
        let kv = node.kv();
        for number in &written {
            assert_eq!(kv.get(&key(*number)).await.unwrap().as_deref(), Some(&value(*number)[..]), "{} lost {number}", node.name);
        }
        assert_eq!(kv.digest(b"large").await.unwrap(), Some((300_000, *blake3::hash(&large).as_bytes())), "{}", node.name);
        assert_eq!(kv.digest(b"large3").await.unwrap().map(|(size, _)| size), Some(2_000_000), "{}", node.name);
    }
    println!("{} writes acknowledged on disks that filled up, all of them on every node", written.len());
    cluster.assert_no_panics();
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(answer: Result<T, Failure>, reason: Reason) {
    let failure = answer.expect_err("it makes no sense");
    assert_eq!((failure.outcome, failure.reason), (Outcome::Rejected, reason), "{}", failure.message);
    assert!(!failure.message.is_empty());
}

/// The last entry of the log, once the node's status has come to `at_least`.
async fn log_end(kv: &Kv, at_least: u64) -> u64 {
    let told = eventually(10, "the log grows", || kv.status(), |status| status.as_ref().is_ok_and(|status| status.last_index >= at_least));
    told.await.unwrap().last_index
}

fn header(key: &[u8]) -> UploadRequest {
    UploadRequest { part: Some(Part::Header(Header { key: Bytes::copy_from_slice(key), ..Header::default() })) }
}

fn chunk(bytes: &[u8]) -> UploadRequest {
    UploadRequest { part: Some(Part::Chunk(Bytes::copy_from_slice(bytes))) }
}

/// The end of an upload of `bytes`.
fn end(bytes: &[u8]) -> UploadRequest {
    UploadRequest { part: Some(Part::End(End { hash: Bytes::copy_from_slice(blake3::hash(bytes).as_bytes()) })) }
}

async fn upload(kv: &Kv, parts: Vec<UploadRequest>) -> Result<v1::UploadResponse, Failure> {
    let mut service = kv.service();
    let response =
        tokio::time::timeout(Duration::from_secs(20), service.upload(tokio_stream::iter(parts))).await.expect("an answer in time");
    Ok(response?.into_inner())
}

fn frame(part: peer_frame::Part) -> PeerFrame {
    PeerFrame { part: Some(part) }
}

/// Says `frames` to a node and listens for its refusal.
async fn converse(kv: &Kv, frames: Vec<PeerFrame>) -> Result<(), Failure> {
    // The stream stays open behind the frames: whoever ends it is the node.
    let frames = tokio_stream::iter(frames).chain(tokio_stream::pending());
    let conversation = async {
        let mut welcomes = kv.raft().converse(frames).await?.into_inner();
        while welcomes.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    Ok(tokio::time::timeout(Duration::from_secs(20), conversation).await.expect("an answer in time")?)
}

/// Starts a node that must end by itself and say why.
async fn refuses(node: &mut Node, why: &str) {
    let before = node.log_text().len();
    node.start();
    let status = node.wait_for_end(20);
    let said = node.log_text().split_off(before);
    assert!(!status.success(), "{} ended as if all were well: {said}", node.name);
    assert!(said.contains(why), "{} does not say \"{why}\": {said}", node.name);
}

/// The anchor's two slots of 4 KiB, each a length, a format version, a record and a CRC-32, with the version one higher.
fn of_next_version(mut anchor: Vec<u8>) -> Vec<u8> {
    for slot in anchor.chunks_mut(4096) {
        let (length, sealed) = slot.split_at_mut(2);
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        if length > 0 {
            sealed[0] += 1;
            let crc = crc32(&sealed[..length - 4]);
            sealed[length - 4..length].copy_from_slice(&crc.to_le_bytes());
        }
    }
    anchor
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn swap(one: &Path, two: &Path) {
    let aside = one.with_file_name("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(two, one).unwrap();
    fs::rename(&aside, two).unwrap();
}

async fn room(cluster: &Cluster, index: usize, low: bool) {
    let kv = cluster.kv(index);
    // A node whose disk filled up to the last byte may have ended; then it has no room.
    let told = |status: &Result<StatusResponse, Status>| status.as_ref().map_or(low, |status| status.room_low == low);
    let _ = eventually(20, "the node sees how full its disk is", || kv.status(), told).await;
}

/// Starts a node again if its disk ended it.
fn revive(node: &mut Node) {
    if let Some(status) = node.ended() {
        println!("{} ended when its disk was full: {status}", node.name);
        node.start();
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key/{number}").into_bytes()
}

/// So long that flow control holds its sender back: of smaller messages, each in a frame of its own, HTTP/2 lets only so many wait unread
/// before it ends the connection.
fn long_key(number: u64) -> Vec<u8> {
    format!("key/{number:0300}").into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 20_000]
}

async fn write_one(client: &client::Client, number: u64) -> Result<(), client::Error> {
    client.set(&key(number), value(number), None).await.map(|_| ())
}

/// Writes `count` more.
async fn write(client: &client::Client, written: &mut Vec<u64>, count: u64) -> Result<(), client::Error> {
    for _ in 0..count {
        let number = written.last().map_or(0, |last| last + 1);
        write_one(client, number).await?;
        written.push(number);
    }
    Ok(())
}
