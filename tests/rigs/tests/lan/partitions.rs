//! A node is cut off from the others while clients reach all of them: it acknowledges no write and serves no read, the others go on, and when the
//! cut is healed all agree.

use std::time::{Duration, Instant};

use check::{STEPS_MAX, Verdict, check};
use proto::v1::{Role, StatusResponse};
use rigs::{Cluster, Kv, Lan, Load, Plan, eventually, on_lan};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a node does not know at this time after the cut, it was not told before.
const GRACE: Duration = Duration::from_secs(1);
/// Several elections.
const CUT_TIME: Duration = Duration::from_secs(6);
const PROBE_PERIOD: Duration = Duration::from_millis(250);
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// That many writes and reads at each node of the majority count as serving.
const SERVED: u64 = 50;
const PLAN: Plan = Plan { writers: 4, readers_per_node: 1, keys: 32, pause: Duration::from_millis(10), timeout: Duration::from_secs(20) };

#[derive(Clone, Copy, Debug)]
pub enum Cut {
    BothWays,
    /// Nobody hears it; it hears all.
    Mute,
    /// It hears nobody; all hear it.
    Deaf,
}

#[test]
#[ignore = "runs the cluster"]
fn whoever_is_cut_off_serves_nobody_and_the_others_go_on() {
    on_lan(3, async |lan| {
        let mut cluster = Cluster::on_lan("lan-cut", &lan.boards);
        cluster.close(3).await;
        let load = Load::start(&cluster, PLAN).await;
        for cut in [Cut::BothWays, Cut::Mute, Cut::Deaf] {
            let leader = cluster.settled().await;
            live_through(&lan, &cluster, &load, leader, cut).await;
        }
        let leader = cluster.settled().await;
        live_through(&lan, &cluster, &load, cluster.followers(leader)[0], Cut::BothWays).await;
        load.verify(&cluster).await;
    });
}

/// The other way round: a node that reads what it has, asking nobody, does so when it is cut off, and the same check finds it out.
#[test]
#[ignore = "runs the cluster"]
fn a_build_that_serves_reads_when_it_is_cut_off_is_found_out() {
    on_lan(3, async |lan| {
        let mut cluster = Cluster::on_lan("lan-cut-stale", &lan.boards);
        cluster.plant("local-reads");
        let leader = cluster.close(3).await;
        let load = Load::start(&cluster, PLAN).await;
        let victim = cluster.followers(leader)[0];
        cut_off(&lan, &cluster, victim, Cut::BothWays);
        tokio::time::sleep(GRACE).await;
        let (reads, writes) = (load.reads_at(victim), load.acknowledged());
        let served = || async { (load.reads_at(victim) - reads, load.acknowledged() - writes) };
        eventually(30, "stale reads and new writes", served, |(reads, writes)| *reads > SERVED && *writes > SERVED).await;
        lan.heal();
        cluster.settled().await;
        match check(&load.finish(&cluster).await, STEPS_MAX) {
            Verdict::Violation(explanation) => println!("found out, as it should be: {explanation}"),
            other => panic!("old values were read, and passed for linearizable: {other:?}"),
        }
    });
}

pub fn cut_off(lan: &Lan, cluster: &Cluster, victim: usize, cut: Cut) {
    for other in cluster.followers(victim) {
        if !matches!(cut, Cut::Deaf) {
            lan.cut(victim, other);
        }
        if !matches!(cut, Cut::Mute) {
            lan.cut(other, victim);
        }
    }
}

async fn live_through(lan: &Lan, cluster: &Cluster, load: &Load, victim: usize, cut: Cut) {
    let others = cluster.followers(victim);
    let of_victim = cluster.kv(victim).status().await.expect("it is well");
    let start = Instant::now();
    cut_off(lan, cluster, victim, cut);
    tokio::time::sleep(GRACE).await;
    let reads_before = load.reads_at(victim);
    let probes = tokio::spawn(probe(cluster.kv(victim), start + CUT_TIME));

    let victim_led = of_victim.leader_id == of_victim.node_id;
    let term_before = if victim_led { of_victim.term } else { of_victim.term - 1 };
    let leads = |leader: &Option<usize>| leader.is_some();
    let leader = eventually(30, "the majority follows one of its own", || leader_of(cluster, &others, term_before), leads).await;
    let elected = start.elapsed();
    // Those of the load's writers that wait for the old leader go on waiting: their writes may still come to be.
    let kv = cluster.kv(leader.expect("just seen"));
    // A leader just elected waits to hear that the others have room.
    eventually(30, "the majority takes a write", || kv.set(b"majority", "x"), Result::is_ok).await.expect("just checked");
    for number in 0..SERVED {
        kv.set(format!("majority/{number}").as_bytes(), "x").await.expect("a majority takes writes");
    }
    let reads = || async { others.iter().map(|other| load.reads_at(*other)).collect::<Vec<_>>() };
    let before = reads().await;
    let served = |now: &Vec<u64>| now.iter().zip(&before).all(|(now, before)| *now >= before + SERVED);
    eventually(30, "the majority serves reads", reads, served).await;
    let serving = start.elapsed();
    let (answered, asked) = probes.await.expect("asking does not panic");
    assert_eq!(answered, Vec::<String>::new(), "{cut:?}: a node that reaches no quorum answered");
    assert_eq!(load.reads_at(victim), reads_before, "{cut:?}: a node that reaches no quorum served a read");
    lan.heal();
    cluster.settled().await;
    let role = if victim_led { "leader" } else { "follower" };
    println!(
        "{role} cut off ({cut:?}): the others agree on a leader after {elected:.1?}, have served after {serving:.1?}; {asked} questions at the {role} refused"
    );
}

/// The one that all of these nodes follow in a term after `term`, if it is one of them.
async fn leader_of(cluster: &Cluster, nodes: &[usize], term: u64) -> Option<usize> {
    let statuses = cluster.statuses().await;
    let statuses: Option<Vec<_>> = nodes.iter().map(|node| Some((*node, statuses[*node].as_ref()?))).collect();
    let statuses = statuses?;
    let (leader, of_leader) = statuses.iter().find(|(_, status)| status.role() == Role::Leader)?;
    let follow = |(_, status): &(usize, &StatusResponse)| status.term == of_leader.term && status.leader_id == of_leader.node_id;
    (of_leader.term > term && statuses.iter().all(follow)).then_some(*leader)
}

/// Writes and reads at one node alone, several at a time. Returns what was answered, which is nothing, and how much was asked.
async fn probe(kv: Kv, until: Instant) -> (Vec<String>, u64) {
    let mut asked = 0;
    let mut answers = JoinSet::new();
    while Instant::now() + PROBE_LIMIT < until {
        let (writer, reader) = (kv.clone(), kv.clone());
        let key = format!("probe/{asked}");
        answers.spawn(async move {
            let written = timeout(PROBE_LIMIT, writer.set(key.as_bytes(), "x")).await;
            matches!(written, Ok(Ok(()))).then(|| format!("acknowledged the write of {key}"))
        });
        answers.spawn(async move {
            let read = timeout(PROBE_LIMIT, reader.get(b"load/0")).await;
            matches!(read, Ok(Ok(_))).then(|| "served a read".to_owned())
        });
        asked += 2;
        tokio::time::sleep(PROBE_PERIOD).await;
    }
    (answers.join_all().await.into_iter().flatten().collect(), asked)
}
