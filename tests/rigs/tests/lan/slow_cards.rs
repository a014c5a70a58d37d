//! The worst cards and the worst Wi-Fi that the packaged timing is made for: every sync takes half a second and every frame up to 300 ms longer
//! than it should. The leader stays, and writes are acknowledged.

use std::time::{Duration, Instant};

use proto::v1::StatusResponse;
use rigs::{Cluster, Load, Plan, SlowSync, on_lan};

const SYNC_MS: u64 = 500;
const JITTER: Duration = Duration::from_millis(300);
/// For a longer watch than fits into a stage: seconds.
const WATCH_VARIABLE: &str = "RUSTY_KV_SLOW_CARDS_S";
const WATCH_DEFAULT_S: u64 = 45;
const LOOK_PERIOD: Duration = Duration::from_secs(1);

#[test]
#[ignore = "runs the cluster"]
fn slow_cards_and_a_jittering_network_do_not_unseat_the_leader() {
    let watch_s: u64 = std::env::var(WATCH_VARIABLE).map_or(WATCH_DEFAULT_S, |text| text.parse().expect("a number of seconds"));
    on_lan(3, async |lan| {
        let mut cluster = Cluster::on_lan("slow-cards", &lan.boards);
        let slow = SlowSync::new(cluster.path(), SYNC_MS);
        for node in &mut cluster.nodes {
            node.env.extend(slow.env());
        }
        let leader = cluster.close(3).await;
        let before = cluster.kv(leader).status().await.unwrap();
        slow.begin();
        lan.jitter(JITTER);
        let plan = Plan { writers: 2, readers_per_node: 1, keys: 16, pause: Duration::from_millis(200), timeout: Duration::from_secs(60) };
        let load = Load::start(&cluster, plan).await;
        let start = Instant::now();
        let mut latest = Duration::ZERO;
        while start.elapsed() < Duration::from_secs(watch_s) {
            tokio::time::sleep(LOOK_PERIOD).await;
            let asked = Instant::now();
            let statuses = cluster.statuses().await;
            latest = latest.max(asked.elapsed());
            // An answer may come too late; the terms tell at the end as well.
            for status in statuses.iter().flatten() {
                assert_leads(&before, status, start.elapsed());
            }
        }
        let frames: Vec<u64> = lan.boards.iter().map(|board| board.weather().arrived).collect();
        println!(
            "{watch_s} s ({WATCH_VARIABLE} makes it another time): one leader in term {}; frames at the boards: {frames:?}",
            before.term
        );
        assert!(load.acknowledged() >= watch_s / 10, "writes hardly go on");
        assert!(latest > JITTER / 2, "nothing was ever late ({latest:?}): the network is not in the way");
        let written = Instant::now();
        cluster.client(Duration::from_secs(60)).await.set(b"timed", "x", None).await.expect("slow is no fault");
        assert!(written.elapsed() > Duration::from_millis(SYNC_MS), "a write waited for no slow sync: the library is not in the way");
        lan.jitter(Duration::ZERO);
        for status in cluster.statuses().await.iter().map(|status| status.as_ref().expect("it answers")) {
            assert_leads(&before, status, start.elapsed());
        }
        load.verify(&cluster).await;
    });
}

fn assert_leads(before: &StatusResponse, status: &StatusResponse, after: Duration) {
    assert_eq!((status.term, status.leader_id), (before.term, before.node_id), "{} has another leader after {after:?}", status.name);
}
