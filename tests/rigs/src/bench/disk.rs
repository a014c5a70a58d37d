//! Bytes that processes had written to the disk, as the kernel counts them.

use std::fs;

/// Of all these processes together, since each started.
pub fn written_bytes(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| of(*pid)).sum()
}

fn of(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the kernel tells");
    line.parse().expect("a number")
}
