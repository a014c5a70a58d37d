//! From the leader's SIGKILL to the next acknowledged write.

use std::time::{Duration, Instant};

use crate::Cluster;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Kills the leader `times` times; a client that knows all nodes writes at once after each kill.
pub async fn failovers(cluster: &mut Cluster, times: u64) -> Vec<Duration> {
    let mut gaps = Vec::new();
    for number in 0..times {
        let leader = cluster.settled().await;
        let client = cluster.client(CALL_TIMEOUT).await;
        client.set(b"failover/warm", "x", None).await.expect("the cluster serves");
        cluster.nodes[leader].kill();
        let killed = Instant::now();
        // What was on its way to the dead leader has an unknown outcome; the next attempt is what counts.
        while client.set(format!("failover/{number}").as_bytes(), "x", None).await.is_err() {
            assert!(killed.elapsed() < CALL_TIMEOUT, "two of three nodes elect a leader");
        }
        gaps.push(killed.elapsed());
        cluster.nodes[leader].start();
        cluster.equal().await;
    }
    gaps.sort_unstable();
    gaps
}
