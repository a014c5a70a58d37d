//! Debian's avahi-daemon, which boards run for their `.local` names, shares port 5353 with a node: neither is in the other's way.
//!
//! The cluster is open, as only an open one forms of what mDNS shows: nobody finds anybody in another way.

use std::time::{Duration, Instant};

use rigs::{Avahi, Cluster, Load, Plan, client_ok, eventually, on_lan, skip};

const FORM_LIMIT: Duration = Duration::from_secs(10);
const PLAN: Plan = Plan { writers: 2, readers_per_node: 1, keys: 16, pause: Duration::from_millis(20), timeout: Duration::from_secs(15) };
/// Each by the command line, which takes seconds.
const LOOKS: usize = 2;

#[test]
#[ignore = "runs the cluster"]
fn avahi_beside_a_node_disturbs_nothing() {
    if let Some(reason) = Avahi::missing() {
        return skip(&reason);
    }
    on_lan(3, async |lan| {
        let mut cluster = Cluster::open_on_lan("lan-avahi", &lan.boards);
        let dir = cluster.path().to_path_buf();
        // It is there first, as on a board that boots.
        let first = Avahi::start(&lan.boards[0], "pi1", &dir);
        is_up(&first).await;
        let start = Instant::now();
        cluster.start();
        let leader = cluster.settled().await;
        println!("formed beside avahi within {:?}", start.elapsed());
        assert!(start.elapsed() < FORM_LIMIT, "took {:?}", start.elapsed());
        all_are_seen(&cluster);
        shows_the_names(&cluster, &first).await;

        // It comes later, beside the leader and a follower, and goes again.
        let others: Vec<Avahi> = (1..3).map(|board| Avahi::start(&lan.boards[board], &format!("pi{}", board + 1), &dir)).collect();
        for avahi in &others {
            is_up(avahi).await;
            shows_the_names(&cluster, avahi).await;
        }
        assert_eq!(first.resolve("pi2.local"), Ok(lan.boards[1].address), "they see each other, too");
        all_are_seen(&cluster);
        drop(others);
        drop(first);
        all_are_seen(&cluster);
        let again = Avahi::start(&lan.boards[leader], "pi9", &dir);
        is_up(&again).await;
        let load = Load::start(&cluster, PLAN).await;
        cluster.nodes[leader].kill();
        cluster.settled().await;
        cluster.nodes[leader].start();
        cluster.settled().await;
        all_are_seen(&cluster);
        shows_the_names(&cluster, &again).await;
        load.verify(&cluster).await;
    });
}

async fn is_up(avahi: &Avahi) {
    eventually(20, "avahi starts", || async { avahi.log_text() }, |_| avahi.is_up()).await;
}

/// By the command line on another computer.
fn all_are_seen(cluster: &Cluster) {
    for look in 0..LOOKS {
        let seen = String::from_utf8(client_ok(cluster.path(), &["discover"])).unwrap();
        for node in &cluster.nodes {
            assert!(seen.contains(&node.address()), "look {look}: {} is not in sight:\n{seen}", node.address());
        }
    }
    client_ok(cluster.path(), &["set", "key", "value"]);
    assert_eq!(client_ok(cluster.path(), &["get", "key"]), b"value");
}

/// Programs on a board that ask its avahi find our nodes, those of other boards and the one beside it.
async fn shows_the_names(cluster: &Cluster, avahi: &Avahi) {
    for (node, status) in cluster.nodes.iter().zip(cluster.statuses().await) {
        let host = format!("rusty-kv-{:016x}.local", status.expect("it answers").node_id);
        assert_eq!(avahi.resolve(&host).map(|address| address.to_string()), Ok(node.host.clone()), "{host}: {}", avahi.log_text());
    }
}
