//! The library's stream of calls against a peer that misbehaves: each caller gets its own answer, or is told the truth.

mod common;

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use client::{Client, Deleted, Kind, Options, Reason, Targets, Value, Written, parse_peers};
use common::fake::{Fake, Order, not_executed};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

async fn client(nodes: &[&Fake], options: Options) -> Client {
    let addresses: Vec<&str> = nodes.iter().map(|node| node.addr.as_str()).collect();
    Client::connect(Targets::Given(parse_peers(&addresses.join(",")).unwrap()), options).await.unwrap()
}

fn options(timeout: Duration) -> Options {
    Options { timeout, ..Options::default() }
}

#[track_caller]
fn inline(value: Option<Value>) -> Vec<u8> {
    let Some(Value::Inline(_, bytes)) = value else { panic!("{value:?}") };
    bytes.to_vec()
}

/// As often as needed for the other side to catch up.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_clones_share_one_stream_and_each_call_gets_its_own_answer() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    let mut calls = JoinSet::new();
    for number in 0..500_u32 {
        let client = client.clone();
        calls.spawn(async move {
            let key = number.to_be_bytes();
            let Written::Done(meta) = client.set(&key, number.to_string(), None).await.unwrap() else { panic!("no condition") };
            assert_eq!(meta.size, number.to_string().len() as u64);
            assert_eq!(inline(client.get(&key).await.unwrap()), number.to_string().into_bytes());
        });
    }
    calls.join_all().await;
    assert_eq!(node.state.streams_opened.load(Ordering::Relaxed), 1);
    assert_eq!(node.calls().len(), 1_000);
    drop(client);
    eventually("the stream ends with its last client", || node.state.streams_open.load(Ordering::Relaxed) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_take_turns_among_connections() {
    let node = Fake::start();
    let client = client(&[&node], Options { connections: 3, ..options(PATIENCE) }).await;
    for number in 0..30_u32 {
        client.set(&number.to_be_bytes(), "v", None).await.unwrap();
    }
    assert_eq!(node.state.streams_opened.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_may_come_in_any_order() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    for key in [b"a", b"b", b"c"] {
        node.insert(key, key);
    }
    node.order([Order::HoldBack, Order::HoldBack, Order::Obey]);
    let (mut a, mut b) = (pin!(client.get(b"a")), pin!(client.get(b"b")));
    let early = async {
        tokio::select! {
            early = &mut a => Some(early),
            early = &mut b => Some(early),
            () = async { while node.calls().len() < 2 { tokio::task::yield_now().await } } => None,
        }
    };
    assert!(early.await.is_none(), "both are held back");
    assert_eq!(inline(client.get(b"c").await.unwrap()), b"c");
    assert_eq!((inline(a.await.unwrap()), inline(b.await.unwrap())), (b"a".to_vec(), b"b".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_never_answered_holds_nobody_up() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    node.order([Order::Hang]);
    let (slow, clone) = (client.clone(), client.clone());
    let slow = tokio::spawn(async move { slow.set(b"slow", "v", None).await });
    node.wait_until_it_hangs();
    for number in 0..1_000_u32 {
        clone.set(&number.to_be_bytes(), "v", None).await.unwrap();
    }
    slow.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_take_its_answer_holds_nobody_up() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    client.set(b"k", "v", None).await.unwrap();
    // It is made, and then nobody looks after it. One that is answered while it is being made, on a busy machine, will not do.
    let idle = loop {
        let mut idle = Box::pin(client.get(b"k"));
        let begun = std::future::poll_fn(|cx| Poll::Ready(idle.as_mut().poll(cx).is_pending())).await;
        if begun {
            break idle;
        }
    };
    for number in 0..2_000_u32 {
        client.set(&number.to_be_bytes(), "v", None).await.unwrap();
    }
    assert_eq!(inline(idle.await.unwrap()), b"v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_stream_ends_its_calls_go_elsewhere() {
    let (node, other) = (Fake::start(), Fake::start());
    node.insert(b"k", b"here");
    other.insert(b"k", b"there");
    let client = client(&[&node, &other], options(PATIENCE)).await;
    node.order([Order::Hang, Order::Hang, Order::EndStream]);
    let (writer, reader) = (client.clone(), client.clone());
    let write = tokio::spawn(async move { writer.set(b"w", "v", None).await });
    node.wait_until_it_hangs();
    let read = tokio::spawn(async move { reader.get(b"k").await });
    node.wait_until_it_hangs();
    assert_eq!(client.delete(b"other", None).await.unwrap(), Deleted::Absent);
    assert!(matches!(write.await.unwrap().unwrap(), Written::Done(_)));
    assert_eq!(inline(read.await.unwrap().unwrap()), b"there");
    assert_eq!((node.calls().len(), other.calls().len()), (3, 3), "each was made once more");
    let first = node.stamps();
    assert!(first.len() == 1 && other.stamps().contains(&first[0]), "under its own number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_no_call_ends_the_stream() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    node.order([Order::WrongTag]);
    client.set(b"k", "v", None).await.unwrap();
    assert_eq!(node.state.streams_opened.load(Ordering::Relaxed), 2);
    node.order([Order::WrongTag]);
    assert_eq!(inline(client.get(b"k").await.unwrap()), b"v", "a read is put again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_after_its_caller_has_gone_is_for_nobody() {
    let node = Fake::start();
    let client = client(&[&node], options(PATIENCE)).await;
    node.order([Order::HoldBack, Order::Obey, Order::Obey]);
    tokio::select! {
        _ = client.set(b"gone", "v", None) => panic!("it is held back"),
        () = async { while node.calls().is_empty() { tokio::task::yield_now().await } } => {}
    }
    client.set(b"k", "v", None).await.unwrap();
    client.set(b"k", "w", None).await.unwrap();
    assert_eq!(node.state.streams_opened.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_at_its_limit_does_not_take_is_not_executed() {
    let node = Fake::start();
    let client = client(&[&node], options(Duration::from_secs(4))).await;
    client.set(b"k", "v", None).await.unwrap();
    node.order([Order::StopReading]);
    let mut calls = JoinSet::new();
    // Far more than flow control lets through, and than may be under way.
    for number in 0..2_000_u32 {
        let client = client.clone();
        calls.spawn(async move { client.set(&number.to_be_bytes(), vec![7; 60_000], None).await.unwrap_err().kind });
    }
    let kinds = calls.join_all().await;
    let unknown = kinds.iter().filter(|kind| **kind == Kind::Unknown).count();
    let not_executed = kinds.iter().filter(|kind| **kind == Kind::NotExecuted).count();
    assert_eq!(unknown + not_executed, 2_000);
    assert!(unknown > 0 && not_executed > 976, "{unknown} may have been executed, {not_executed} never left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_no_stream_gets_unary_calls() {
    let node = Fake::start();
    node.state.streams.store(false, Ordering::Relaxed);
    let client = client(&[&node], options(PATIENCE)).await;
    client.set(b"k", "v", None).await.unwrap();
    node.order([not_executed(Reason::NoLeader)]);
    assert_eq!(inline(client.get(b"k").await.unwrap()), b"v");
    client.delete(b"k", None).await.unwrap();
    assert_eq!(node.calls(), ["set", "get", "get", "delete"]);
    assert_eq!(node.state.streams_opened.load(Ordering::Relaxed), 0);
}
