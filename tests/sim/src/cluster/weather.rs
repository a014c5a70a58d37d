//! How bad the world is to a cluster.

use crate::Rng;

/// Chances are per mille: of a message for the network's, of a member and tick for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub delay_max_ticks: u64,
    pub sync_max_ticks: u64,
    pub apply_max_ticks: u64,
    pub crash: u64,
    /// One member stops, or starts again, to hear another.
    pub cut: u64,
    /// The room on a member's disk changes.
    pub room: u64,
    pub write: u64,
    pub read: u64,
}

impl Weather {
    pub const CALM: Weather = Weather {
        lost: 0,
        doubled: 0,
        delay_max_ticks: 1,
        sync_max_ticks: 1,
        apply_max_ticks: 1,
        crash: 0,
        cut: 0,
        room: 0,
        // Enough to fill every place in the log where an entry in doubt may still stand.
        write: 400,
        read: 100,
    };

    pub fn any(rng: &mut Rng) -> Weather {
        Weather {
            lost: rng.between(0, 200),
            doubled: rng.between(0, 200),
            delay_max_ticks: rng.between(1, 12),
            sync_max_ticks: rng.between(1, 12),
            apply_max_ticks: rng.between(1, 20),
            crash: rng.between(0, 8),
            cut: rng.between(0, 8),
            room: rng.between(0, 3),
            write: rng.between(50, 400),
            read: rng.between(50, 300),
        }
    }
}
