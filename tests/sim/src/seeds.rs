//! Runs a property over many seeds.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs `property` for each seed in `0..count`, or only for that in the environment's `SIM_SEED`.
///
/// `test` is the name of the test's file, for the line that replays a failure.
///
/// # Panics
/// At the first seed whose run breaks the property or panics.
pub fn each(test: &str, count: u64, mut property: impl FnMut(u64) -> Result<(), String>) {
    let seeds = match env::var("SIM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let broken = match catch_unwind(AssertUnwindSafe(|| property(seed))) {
            Ok(Ok(())) => continue,
            Ok(Err(broken)) => broken,
            Err(_) => "panicked (see above)".into(),
        };
        panic!("seed {seed}: {broken}\nreplay: SIM_SEED={seed} cargo test --release -p sim --test {test}");
    }
}
