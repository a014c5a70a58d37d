//! What processes take of the machine, as the kernel counts it.

use std::{fs, time::Duration};

/// The unit of processor time in `/proc`: fixed for user space since Linux 2.6.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of some processes, and of this one, which holds the clients.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub servers: Duration,
    pub clients: Duration,
}

impl Usage {
    pub fn now(pids: &[u32]) -> Usage {
        let ticks: u64 = pids.iter().map(|pid| ticks(&pid.to_string())).sum();
        Usage { servers: time(ticks), clients: time(ticks_of_self()) }
    }

    pub fn since(self, earlier: Usage) -> Usage {
        Usage { servers: self.servers.saturating_sub(earlier.servers), clients: self.clients.saturating_sub(earlier.clients) }
    }
}

/// Resident memory of a process.
pub fn rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

fn ticks_of_self() -> u64 {
    ticks("self")
}

fn ticks(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name, in parentheses, may contain anything; behind it come state, then numbers.
    let behind = stat.rsplit_once(')').expect("the kernel tells").1;
    let field = |number: usize| behind.split_whitespace().nth(number).and_then(|ticks| ticks.parse::<u64>().ok()).expect("a number");
    field(11) + field(12)
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}
