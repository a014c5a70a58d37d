//! A morning on one machine: nodes come, change and leave, each with an engine and sockets of its own, on 127.0.0.1 only.
//!
//! Other nodes may be running on this machine meanwhile, so each story looks only at nodes it made.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use discovery::{Browser, Discovery, Error, Event, PROTOCOL_VERSION, Record, Scope, Sighting, State, find};
use tokio::time::{sleep, timeout};

/// Generous: a node is seen within about a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    discovery: Discovery,
    browser: Browser,
    record: Record,
}

impl Node {
    fn start(cluster: &str, node_id: u64, port: u16) -> Node {
        let discovery = Discovery::start(Scope::Loopback).unwrap();
        let record = Record {
            protocol_version: PROTOCOL_VERSION,
            cluster_name: cluster.parse().unwrap(),
            cluster_id: None,
            node_id,
            node_name: format!("node-{port}").parse().unwrap(),
            state: State::Blank,
            board_hint: None,
        };
        let browser = discovery.browse();
        discovery.announce(&record, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap();
        Node { discovery, browser, record }
    }

    fn sighting(&self, port: u16) -> Event {
        Event::Seen(Sighting { record: self.record.clone(), addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))] })
    }

    /// Waits until each of `expected` has been reported, in any order; other events about `ours` are wrong.
    async fn sees(&mut self, ours: &[u64], mut expected: Vec<Event>) {
        while !expected.is_empty() {
            let event = timeout(PATIENCE, self.browser.next()).await.unwrap_or_else(|_| panic!("still waiting for {expected:?}")).unwrap();
            if !ours.contains(&about(&event)) {
                continue;
            }
            let at = expected.iter().position(|wanted| *wanted == event);
            expected.remove(at.unwrap_or_else(|| panic!("{event:?} instead of {expected:?}")));
        }
    }

    async fn sees_nothing(&mut self, ours: &[u64], during: Duration) {
        let quiet = async {
            loop {
                let event = self.browser.next().await.unwrap();
                assert!(!ours.contains(&about(&event)), "{event:?}");
            }
        };
        let _elapsed = timeout(during, quiet).await;
    }
}

fn about(event: &Event) -> u64 {
    match event {
        Event::Seen(sighting) => sighting.record.node_id,
        Event::Gone(node_id) => *node_id,
    }
}

fn random_id() -> u64 {
    RandomState::new().hash_one("a node") | 1
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_change_and_leave() {
    let ours = [random_id(), random_id(), random_id()];
    let [mut a, mut b, mut c] = [("garden", 1), ("garden", 2), ("kitchen", 3)].map(|(name, n)| Node::start(name, ours[n - 1], n as u16));

    // Each sees the two others at their loopback address, the one of another cluster under that cluster's name, and never itself.
    a.sees(&ours, vec![b.sighting(2), c.sighting(3)]).await;
    b.sees(&ours, vec![a.sighting(1), c.sighting(3)]).await;
    c.sees(&ours, vec![a.sighting(1), b.sighting(2)]).await;

    // States move fast while a cluster forms; the last one counts.
    b.record.state = State::Promised;
    b.discovery.update(&b.record).unwrap();
    a.sees(&ours, vec![b.sighting(2)]).await;
    b.record.state = State::Formed;
    b.record.cluster_id = Some([7; 16]);
    b.discovery.update(&b.record).unwrap();
    a.sees(&ours, vec![b.sighting(2)]).await;

    // An idle network is silent, though announcements are repeated.
    a.sees_nothing(&ours, Duration::from_secs(3)).await;

    // One leaves, and comes back.
    timeout(Duration::from_secs(5), c.discovery.shutdown()).await.expect("a goodbye is bounded");
    a.sees(&ours, vec![Event::Gone(ours[2])]).await;
    let c = Node::start("kitchen", ours[2], 3);
    a.sees(&ours, vec![c.sighting(3)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_without_announcing() {
    let node = Node::start("garden", random_id(), 4);
    let wanted = |seen: &[Sighting]| seen.iter().any(|sighting| sighting.record == node.record);
    let found = find(Scope::Loopback, PATIENCE, wanted).await.unwrap();
    assert!(wanted(&found));
}

#[tokio::test]
async fn silence_names_the_interfaces_tried() {
    let error = find(Scope::Named(vec!["absent0".into()]), Duration::from_millis(200), |_| true).await.unwrap_err();
    assert!(matches!(error, Error::Silence { .. }), "{error:?}");
    let text = error.to_string();
    // The way without mDNS is told by whoever asked: it is --addr for a client, --peers for a node.
    assert!(text.contains("absent0 (not up)") && text.contains("0.2 s"), "{text}");
}

/// A node that is killed says no goodbye. The one started in its place under the same id is the same node at another port.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_elsewhere_is_seen_there() {
    let ours = [random_id(), random_id()];
    let mut watcher = Node::start("garden", ours[0], 5);
    let mut node = Node::start("garden", ours[1], 6);
    watcher.sees(&ours, vec![node.sighting(6)]).await;
    // A later second: an older record is replaced by a newer one only then (RFC 6762, section 10.2).
    sleep(Duration::from_millis(1_500)).await;
    node.discovery.announce(&node.record, SocketAddr::from((Ipv4Addr::LOCALHOST, 7))).unwrap();
    watcher.sees(&ours, vec![node.sighting(7)]).await;
    node.sees_nothing(&[ours[1]], Duration::from_millis(500)).await;
}
