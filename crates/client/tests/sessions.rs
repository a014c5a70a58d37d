//! Each write takes effect once, however often it is sent, and nobody is told more than is known.

mod common;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use client::{Client, Condition, Deleted, Kind, Options, Reason, Source, Targets, Written, parse_peers};
use common::fake::{Fake, Order, expired, not_executed, redirect, refusal};
use proto::v1::Outcome;

const PATIENCE: Duration = Duration::from_secs(60);

async fn client(nodes: &[&Fake], timeout: Duration) -> Client {
    let addresses: Vec<&str> = nodes.iter().map(|node| node.addr.as_str()).collect();
    let options = Options { timeout, ..Options::default() };
    Client::connect(Targets::Given(parse_peers(&addresses.join(",")).unwrap()), options).await.unwrap()
}

fn in_doubt() -> Order {
    Order::Answer(refusal(Outcome::Unknown, Reason::TimedOut, ""))
}

#[track_caller]
fn revision(written: Result<Written, client::Error>) -> u64 {
    let Ok(Written::Done(meta)) = written else { panic!("{written:?}") };
    meta.modify_revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_takes_effect_once_and_is_answered_as_the_first_time() {
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    node.order([Order::LoseAnswer, Order::LoseAnswer]);
    assert_eq!(revision(client.set(b"k", "v", Some(Condition::Absent)).await), 1, "the key was absent");
    node.order([Order::LoseAnswer]);
    assert_eq!(client.delete(b"k", None).await.unwrap(), Deleted::Done, "there was such a key");
    let stamps = node.stamps();
    assert!(stamps[..3].iter().all(|stamp| *stamp == stamps[0]), "{stamps:?}");
    assert!(stamps[3..].iter().all(|stamp| *stamp == (stamps[0].0, stamps[0].1, 2)), "{stamps:?}");
    assert_eq!(stamps.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_answer_is_lost_takes_effect_once() {
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    node.order([Order::LoseAnswer]);
    let source = Source::Bytes(vec![7; 1_000_000].into());
    assert_eq!(revision(client.put(b"k", source, Some(Condition::Absent), &mut |_, _| {}).await), 1);
    let stamps = node.stamps();
    assert_eq!(stamps, [stamps[0]; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_one_after_the_other_share_a_session_with_rising_numbers() {
    let node = Fake::start();
    node.state.identity.lock().unwrap().applied_index = 42;
    let client = client(&[&node], PATIENCE).await;
    for _ in 0..2 {
        client.set(b"k", "v", None).await.unwrap();
        client.delete(b"k", None).await.unwrap();
    }
    client.put(b"k", Source::Bytes(vec![7; 100_000].into()), None, &mut |_, _| {}).await.unwrap();
    let stamps = node.stamps();
    let session = stamps[0].0;
    assert_eq!(stamps, [1, 2, 3, 4, 5].map(|serial| (session, 42, serial)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_at_the_same_time_have_different_sessions_and_one_given_up_keeps_its_own() {
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    node.order([Order::Hang]);
    {
        let mut slow = pin!(client.set(b"slow", "v", None));
        let hangs = async {
            while node.stamps().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = &mut slow => panic!("it hangs"),
            () = hangs => {}
        }
        client.set(b"k", "v", None).await.unwrap();
    }
    client.set(b"k", "w", None).await.unwrap();
    let mut meanwhile = pin!(client.set(b"k", "x", None));
    std::future::poll_fn(|cx| std::task::Poll::Ready(meanwhile.as_mut().poll(cx).is_pending())).await;
    client.set(b"k", "y", None).await.unwrap();
    meanwhile.await.unwrap();
    let stamps = node.stamps();
    let (slow, quick) = (stamps[0].0, stamps[1].0);
    assert_ne!(slow, quick);
    assert_eq!((stamps[2].0, stamps[2].2), (quick, 2));
    assert!(stamps[1..].iter().all(|stamp| stamp.0 != slow), "what became of its write is not known");
    assert_ne!(stamps[3].0, stamps[4].0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_forgotten_before_the_write_is_replaced_at_the_index_told() {
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    client.set(b"k", "v", None).await.unwrap();
    node.order([not_executed(Reason::NoLeader), expired(50)]);
    client.set(b"k", "w", None).await.unwrap();
    client.set(b"k", "x", None).await.unwrap();
    assert_eq!(node.value(b"k").unwrap(), b"x");
    let stamps = node.stamps();
    let (old, new) = (stamps[0].0, stamps[3].0);
    assert_ne!(old, new);
    assert_eq!(stamps, [(old, 0, 1), (old, 0, 2), (old, 0, 2), (new, 50, 1), (new, 50, 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_attempt_in_doubt_a_forgotten_session_tells_nothing() {
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    for doubt in [Order::LoseAnswer, in_doubt()] {
        node.order([doubt, expired(50)]);
        let before = node.stamps().len();
        assert_eq!(client.set(b"k", "v", None).await.unwrap_err().kind, Kind::Unknown);
        assert_eq!(node.stamps().len() - before, 2, "a new session might write it twice");
    }
    client.set(b"k", "w", None).await.unwrap();
    let stamps = node.stamps();
    assert!(stamps[..4].iter().all(|stamp| stamp.0 != stamps[4].0), "sessions in doubt are not used again: {stamps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_attempt_in_doubt_no_refusal_makes_it_not_executed() {
    for refused in [Reason::NoLeader, Reason::NoRoom] {
        let node = Fake::start();
        let client = client(&[&node], Duration::from_secs(3)).await;
        node.order([in_doubt()]);
        node.order((0..1_000).map(|_| not_executed(refused)));
        assert_eq!(client.set(b"k", "v", None).await.unwrap_err().kind, Kind::Unknown, "{refused:?}");
        let stamps = node.stamps();
        assert!(stamps.len() > 2 && stamps.iter().all(|stamp| *stamp == stamps[0]));
    }
    let node = Fake::start();
    let client = client(&[&node], PATIENCE).await;
    node.order([in_doubt(), Order::Answer(refusal(Outcome::Rejected, Reason::Malformed, ""))]);
    assert_eq!(client.set(b"k", "v", None).await.unwrap_err().kind, Kind::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_refused_before_it_is_done_leaves_no_doubt() {
    let (node, leader) = (Fake::start(), Fake::start());
    let client = client(&[&node], PATIENCE).await;
    node.order([not_executed(Reason::Overloaded), redirect(&leader)]);
    leader.order([not_executed(Reason::LeaderChanged)]);
    client.set(b"k", "v", None).await.unwrap();
    let (at_node, at_leader) = (node.stamps(), leader.stamps());
    assert!(at_node.iter().chain(&at_leader).all(|stamp| *stamp == at_node[0]), "{at_node:?} {at_leader:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_does_not_keep_a_write_until_the_deadline() {
    let (cut_off, new) = (Fake::start(), Fake::start());
    let client = client(&[&cut_off, &new], PATIENCE).await;
    cut_off.order([Order::Hang]);
    let begun = std::time::Instant::now();
    client.set(b"k", "v", None).await.unwrap();
    assert!(begun.elapsed() < PATIENCE / 2);
    assert_eq!(new.value(b"k").unwrap(), b"v");
    assert_eq!(cut_off.stamps(), new.stamps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_doubt_is_never_put_to_another_cluster() {
    let (mut node, foreign) = (Fake::start(), Fake::start());
    foreign.state.identity.lock().unwrap().cluster_id = vec![0xcd; 16].into();
    let client = client(&[&node, &foreign], Duration::from_secs(3)).await;
    node.order([Order::Hang]);
    let writer = client.clone();
    let write = tokio::spawn(async move { writer.set(b"k", "v", None).await });
    node.wait_until_it_hangs();
    node.kill();
    assert_eq!(write.await.unwrap().unwrap_err().kind, Kind::Unknown);
    assert!(foreign.stamps().is_empty());
}
