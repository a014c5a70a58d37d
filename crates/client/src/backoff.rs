//! Pauses between rounds of tries.
//!
//! Jittered, so that many clients cut off by the same election do not come back in step.

use std::time::Duration;

const FIRST_MS: u64 = 20;
const LONGEST_MS: u64 = 200;

/// Doubling pauses, each drawn from the upper half of its range.
#[derive(Debug)]
pub struct Backoff {
    range_ms: u64,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { range_ms: FIRST_MS }
    }

    /// The next pause; `random` is any number, evenly drawn.
    pub fn pause(&mut self, random: u32) -> Duration {
        let range = self.range_ms;
        self.range_ms = (range * 2).min(LONGEST_MS);
        Duration::from_millis(range / 2 + u64::from(random) % (range / 2 + 1))
    }
}

/// A number for [`Backoff::pause`]. Without system randomness all clients pause alike, which is slow, not wrong.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_stay_within_their_half() {
        let mut backoff = Backoff::new();
        for range in [20, 40, 80, 160, 200, 200] {
            let pause = backoff.pause(0x9e37_79b9).as_millis();
            assert!((range / 2..=range).contains(&pause), "{pause} ms of {range} ms");
        }
        assert_eq!(Backoff { range_ms: 200 }.pause(0), Duration::from_millis(100));
        assert_eq!(Backoff { range_ms: 200 }.pause(100), Duration::from_millis(200));
    }
}
