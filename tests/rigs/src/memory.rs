//! What a process takes of the machine's memory, as the kernel counts it.

use std::fs;

#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Most resident bytes so far: no sample misses it.
    pub peak: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Memory {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
            let kib: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number of kB");
            kib * 1024
        };
        Memory { peak: field("VmHWM") }
    }
}
