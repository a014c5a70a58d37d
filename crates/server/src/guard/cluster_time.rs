//! Cluster time: what ends of validity are judged by.
//!
//! Boards boot in 1970, and clocks jump by years. So no board's clock decides about a certificate; the log does. The leader says how late it is
//! every hour: as late as its own clock says, but no earlier than the time that has passed since it last spoke and no later than twice as many.
//! A wrong clock thus costs nothing but a drift, and a cluster that was off for a year believes its certificates until it has caught up.

use std::{sync::Arc, time::Duration};

use raft::RoleName;
use replica::state::{self, TrustChange};
use tokio::time::{Instant, interval};

use super::{creation::wall_clock, tokens};
use crate::node::Node;

/// Between two words of the leader: a small entry an hour. What is not told when all boards restart is lost, so tokens live longer by that.
const PERIOD_S: u64 = 3_600;
const LOOK_PERIOD_S: u64 = 5;

/// Hears what the log says, and says it while this node leads. Runs as long as the node.
pub async fn keep_time(node: Arc<Node>) {
    let Some(member) = node.member() else { return };
    let mut heard_at = Instant::now();
    let mut heard = None;
    let mut look = interval(Duration::from_secs(LOOK_PERIOD_S));
    loop {
        look.tick().await;
        let Ok(Some(trust)) = state::trust(&*node.state.get()) else { continue };
        if heard != Some(trust.time) {
            heard = Some(trust.time);
            heard_at = Instant::now();
            node.guard.hears_time(trust.time);
        }
        let elapsed = heard_at.elapsed().as_secs();
        if elapsed >= PERIOD_S && member.engine.status().role == RoleName::Leader {
            let at = as_late_as_may_be(trust.time, elapsed, wall_clock());
            if let Err(status) = tokens::change(&node, TrustChange::Time { at }).await {
                log::debug!(reason = status.message(); "cluster time was not told");
            }
        }
    }
}

/// Cluster time, as late as this node can tell.
pub fn now(node: &Node) -> u64 {
    node.guard.now().0
}

fn as_late_as_may_be(last: u64, elapsed: u64, clock: u64) -> u64 {
    clock.clamp(last.saturating_add(elapsed), last.saturating_add(2 * elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const YEARS: u64 = 20 * 365 * DAY;

    #[test]
    fn a_right_clock_is_believed() {
        assert_eq!(as_late_as_may_be(1_000_000, 21_600, 1_021_630), 1_021_630);
    }

    #[test]
    fn a_clock_of_1970_lets_the_time_that_passed_pass() {
        assert_eq!(as_late_as_may_be(YEARS, 21_600, 12), YEARS + 21_600);
    }

    #[test]
    fn a_clock_that_jumps_by_years_ends_no_certificate() {
        assert_eq!(as_late_as_may_be(YEARS, 21_600, 3 * YEARS), YEARS + 43_200);
    }
}
