//! The membership changes and the lead is handed over while boards are cut off; logs are so short that whoever comes back needs a snapshot.

use std::fs;
use std::time::Duration;

use rigs::{Cluster, Council, Load, Plan, eventually, is_changing, on_lan};

use super::partitions::{Cut, cut_off};

const PLAN: Plan = Plan { writers: 4, readers_per_node: 1, keys: 32, pause: Duration::from_millis(5), timeout: Duration::from_secs(20) };
const VOTERS: usize = 3;
/// While a board is cut off; more than the logs keep.
const WRITES: u64 = 300;
const KEPT_ENTRIES: &str = "100";

#[test]
#[ignore = "runs the cluster"]
fn members_change_while_boards_are_cut_off() {
    on_lan(VOTERS as u8 + 1, async |lan| {
        let mut cluster = Cluster::on_lan("lan-changes", &lan.boards);
        cluster.set("RUSTY_KV_STORAGE_LOG_KEEP_ENTRIES", KEPT_ENTRIES);
        cluster.close(VOTERS).await;
        let load = Load::start(&cluster, PLAN).await;
        let mut council = Council::of(&cluster).await;
        let (mut renewed, mut in_change) = (0, 0);
        for (number, cut) in [Cut::BothWays, Cut::Mute, Cut::Deaf, Cut::BothWays, Cut::Mute, Cut::BothWays].into_iter().enumerate() {
            renewed += renew(&mut cluster).await;
            let leader = followed(&cluster).await;
            let statuses = cluster.statuses().await;
            let victim = if number % 2 == 0 { leader } else { cluster.followers(leader)[number / 2 % VOTERS] };
            council.propose(&cluster, &statuses, statuses[leader].as_ref().expect("it has just answered"));
            cut_off(&lan, &cluster, victim, cut);
            load.goes_on(WRITES).await;
            in_change += usize::from(is_changing(&cluster.led().await));
            lan.heal();
        }
        followed(&cluster).await;
        let taken = council.adjourn().await;
        end_changes(&mut cluster, &mut council, &mut renewed).await;
        let snapshots: usize = cluster.nodes.iter().map(|node| node.count_logged("a snapshot is in force")).sum();
        println!(
            "{taken:?} and told so; {in_change} cuts met a change, {renewed} boards came back as new ones, {snapshots} snapshots came into force"
        );
        println!("the longest time without an acknowledged write: {:.1?}", load.longest_gap());
        assert!(taken.replaced > 0 && renewed > 0, "the membership hardly changed");
        assert!(snapshots > 0, "nobody needed what was gone from the logs");
        for node in &cluster.nodes {
            assert_eq!((node.set_aside(), node.count_logged("has forgotten")), (0, 0), "{} lost nothing, and is suspect", node.name);
        }
        load.verify(&cluster).await;
    });
}

/// Waits until all members follow one of them.
async fn followed(cluster: &Cluster) -> usize {
    let leader = async || cluster.leader_of_members(&cluster.statuses().await);
    eventually(60, "all members follow one leader", leader, Option::is_some).await.expect("just seen")
}

/// Boards that were removed are wiped, and wait to be let in again.
async fn renew(cluster: &mut Cluster) -> usize {
    followed(cluster).await;
    let removed = cluster.removed().await;
    for index in &removed {
        let node = &mut cluster.nodes[*index];
        node.kill();
        fs::remove_dir_all(node.data_dir()).expect("it can be wiped");
        node.start();
        cluster.let_in(*index).await;
    }
    removed.len()
}

/// Waits until no change is under way and every node is a member.
async fn end_changes(cluster: &mut Cluster, council: &mut Council, renewed: &mut usize) {
    for _ in 0..600 {
        *renewed += renew(cluster).await;
        let leader = cluster.led().await;
        if !is_changing(&leader) {
            if leader.members.len() == cluster.nodes.len() {
                return;
            }
            council.adjourn().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a change does not end: {:?}", cluster.led().await);
}
