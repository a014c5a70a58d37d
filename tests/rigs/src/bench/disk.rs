//! Bytes that processes had written to the disk, as the kernel counts them.

use std::{fs, time::Duration};

/// The counters count as still when nothing was written for so long.
const REST: Duration = Duration::from_secs(3);
/// A store that never rests is measured as it is.
const REST_TRIES: usize = 20;

/// Of all these processes together, since each started.
pub fn written_bytes(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| of(*pid)).sum()
}

/// The same, once flushes and compactions that follow a load are done.
pub async fn written_bytes_at_rest(pids: &[u32]) -> u64 {
    let mut before = written_bytes(pids);
    for _ in 0..REST_TRIES {
        tokio::time::sleep(REST).await;
        let now = written_bytes(pids);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

fn of(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the kernel tells");
    line.parse().expect("a number")
}
