//! How long a node waits, and which waits go together.

use std::time::Duration;

use super::key::{DISK_STALL_MS, ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS, Key};
use super::settings::Settings;

/// Waits of one node.
///
/// - `election_min` is at least twice the heartbeat: one lost heartbeat calls no election.
/// - `election_max` is at least 1.2 times `election_min`: two nodes seldom ask at the same moment (the Raft paper, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    pub election_min: Duration,
    pub election_max: Duration,
    /// A sync that takes longer costs a leader its office.
    pub disk_stall: Duration,
}

pub fn timing(settings: &mut Settings) -> Option<Timing> {
    let heartbeat = settings.whole(&HEARTBEAT_MS);
    let election_min = settings.whole(&ELECTION_MIN_MS);
    let election_max = settings.whole(&ELECTION_MAX_MS);
    let mut is_sound = true;
    if let (Some(heartbeat), Some(min)) = (heartbeat, election_min)
        && min < 2 * heartbeat
    {
        let problem = format!("{} is less than twice {}", told(settings, &ELECTION_MIN_MS, min), told(settings, &HEARTBEAT_MS, heartbeat));
        let advice = format!(
            "one late heartbeat would call an election: allowed is election_min_ms >= {} or heartbeat_ms <= {}",
            2 * heartbeat,
            min / 2
        );
        settings.fault(settings.nearer_source(&ELECTION_MIN_MS, &HEARTBEAT_MS), problem, advice);
        is_sound = false;
    }
    if let (Some(min), Some(max)) = (election_min, election_max)
        && 10 * max < 12 * min
    {
        let problem = format!("{} is less than 1.2 times {}", told(settings, &ELECTION_MAX_MS, max), told(settings, &ELECTION_MIN_MS, min));
        let advice = format!("nodes would ask for votes at the same moment: allowed is election_max_ms >= {}", (12 * min).div_ceil(10));
        settings.fault(settings.nearer_source(&ELECTION_MAX_MS, &ELECTION_MIN_MS), problem, advice);
        is_sound = false;
    }
    let timing = Timing {
        heartbeat: Duration::from_millis(heartbeat?),
        election_min: Duration::from_millis(election_min?),
        election_max: Duration::from_millis(election_max?),
        disk_stall: Duration::from_millis(settings.whole(&DISK_STALL_MS)?),
    };
    is_sound.then_some(timing)
}

/// `timing.heartbeat_ms = 200 (default)`.
fn told(settings: &Settings, key: &'static Key, value: u64) -> String {
    format!("{} = {value} ({})", key.path, settings.source(key))
}
