//! What one core needs to know from outside: who it is, how long a tick counts, where its bounds are.

use crate::NodeId;

/// Settings of one core. Times are in ticks; the caller says how long a tick lasts.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: NodeId,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u64,
    /// Election timeouts are drawn from `election_min_ticks..=election_max_ticks`.
    pub election_min_ticks: u64,
    pub election_max_ticks: u64,
    /// Failed candidacies double the timeout up to the larger of this and `election_max_ticks`.
    pub backoff_max_ticks: u64,
    /// A leader whose sync takes longer, while another voter's does not, steps down.
    pub disk_stall_ticks: u64,
    /// Entries in one append; a single larger entry goes alone.
    pub append_max_bytes: usize,
    /// Entries sent to one peer and not yet durable there.
    pub inflight_max_bytes: usize,
    /// Entries proposed and not yet committed; beyond it proposals are refused as overloaded.
    pub uncommitted_max_bytes: usize,
    /// Entries kept in memory although they are durable.
    pub cache_max_bytes: usize,
    /// Seed of the election timeouts.
    pub seed: u64,
    /// Drawn at each start of the process; keeps read ids of different boots apart.
    pub boot: u64,
}

impl Config {
    /// The defaults of the design at 10 ms a tick: heartbeat 50 ms, election 150-300 ms.
    pub fn with_defaults(id: NodeId, seed: u64, boot: u64) -> Config {
        Config {
            id,
            heartbeat_ticks: 5,
            election_min_ticks: 15,
            election_max_ticks: 30,
            backoff_max_ticks: 3_000,
            disk_stall_ticks: 200,
            append_max_bytes: 512 << 10,
            inflight_max_bytes: 4 << 20,
            uncommitted_max_bytes: 16 << 20,
            cache_max_bytes: 8 << 20,
            seed,
            boot,
        }
    }
}
