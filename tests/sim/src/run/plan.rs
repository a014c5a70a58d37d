//! What a seed decides before its run begins.

use raft::{Config, NodeId};

use super::fault::{self, Fault, Faults};
use crate::Rng;

/// Virtual time of one tick of an honest clock.
pub const TICK: u64 = 1_000;

const VOTERS_MAX: u64 = 7;
/// Boards that are not members at the start, so that there is somebody to take in.
const SPARES_MAX: u64 = 2;
/// Chance of each class of faults to be part of a run.
const FAULT_PERMILLE: u64 = 380;
const TOKENS_PERMILLE: u64 = 300;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub faults: Faults,
    pub voters: usize,
    pub spares: usize,
    pub clients: usize,
    pub keys: usize,
    /// Longest pause of a client between two calls.
    pub think_max: u64,
    /// The safety phase ends behind this many events.
    pub events_max: u64,
    /// Chances of a message, in a thousand, as far as the classes are switched on.
    pub drop: u64,
    pub duplicate: u64,
    pub delay_max: u64,
    /// Longest time between two strikes.
    pub strike_max: u64,
    pub sync_max: u64,
    pub apply_max: u64,
    pub settings: Settings,
    /// Every board has settings of its own: a leader that is patient among members that are not.
    pub mixed_settings: bool,
    /// Strikes aim at leaders, and cut them off from all others, when a partition comes: reads and writes meet those that lead no more.
    pub hunts_leaders: bool,
    /// Boards that die do so again and again.
    pub relapses: bool,
    /// Clients also hand out tokens and race for them.
    pub tokens: bool,
}

/// Settings of a member, which it may change with a restart.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    heartbeat_ticks: u64,
    election_min_ticks: u64,
    disk_stall_ticks: u64,
    append_max_bytes: usize,
    inflight_max_bytes: usize,
    uncommitted_max_bytes: usize,
    pub cache_max_bytes: usize,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let mut faults = fault::ALL.into_iter().filter(|_| rng.chance(FAULT_PERMILLE)).fold(Faults::NONE, Faults::with);
        if rng.chance(30) {
            faults = Faults::NONE;
        }
        let hunts_leaders = rng.chance(200);
        if hunts_leaders {
            let needed = [Fault::Partition, Fault::StalledSync, Fault::Delay];
            faults = needed.into_iter().fold(faults, Faults::with).without(Fault::DiskFull);
        }
        let relapses = rng.chance(150);
        if relapses {
            faults = faults.with(Fault::Crash).with(Fault::Duplicate).with(Fault::Delay);
        }
        Plan {
            hunts_leaders,
            relapses,
            mixed_settings: rng.chance(300) || hunts_leaders,
            seed,
            faults,
            voters: [1, 2, 3, 3, 3, 4, 5, 5, 6, VOTERS_MAX as usize][rng.index(10)],
            spares: rng.between(0, SPARES_MAX) as usize,
            clients: rng.between(2, 6) as usize,
            keys: rng.between(2, 5) as usize,
            think_max: rng.between(1, 10) * TICK,
            events_max: rng.between(4_000, 8_000),
            drop: rng.between(5, 150),
            duplicate: rng.between(5, 150),
            delay_max: rng.between(3, 25) * TICK,
            strike_max: rng.between(20, 120) * TICK,
            sync_max: rng.between(1, 6) * TICK / 2,
            apply_max: rng.between(1, 8) * TICK / 2,
            settings: Settings::any(&mut rng),
            tokens: rng.chance(TOKENS_PERMILLE),
        }
    }

    pub fn boards(&self) -> usize {
        self.voters + self.spares
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }
}

impl Settings {
    pub fn any(rng: &mut Rng) -> Settings {
        let heartbeat_ticks = rng.between(2, 7);
        let append_max_bytes = rng.between(100, 1_000) as usize;
        Settings {
            heartbeat_ticks,
            election_min_ticks: heartbeat_ticks * rng.between(3, 5),
            disk_stall_ticks: rng.between(30, 80),
            append_max_bytes,
            inflight_max_bytes: append_max_bytes * rng.between(1, 8) as usize,
            uncommitted_max_bytes: rng.between(1_500, 8_000) as usize,
            // So little that entries are often read back from the disk.
            cache_max_bytes: rng.between(0, 2_500) as usize,
        }
    }

    pub fn config(&self, id: NodeId, seed: u64, boot: u64) -> Config {
        Config {
            heartbeat_ticks: self.heartbeat_ticks,
            election_min_ticks: self.election_min_ticks,
            election_max_ticks: self.election_min_ticks * 2,
            backoff_max_ticks: self.election_min_ticks * 6,
            disk_stall_ticks: self.disk_stall_ticks,
            append_max_bytes: self.append_max_bytes,
            inflight_max_bytes: self.inflight_max_bytes,
            uncommitted_max_bytes: self.uncommitted_max_bytes,
            cache_max_bytes: self.cache_max_bytes,
            ..Config::with_defaults(id, seed, boot)
        }
    }
}
