//! Random lives of whole clusters, and the laws that must hold after every single event.
//!
//! A seed decides everything: the cluster's size, how bad its network and disks are, and each event. [`world::World`] lets it happen,
//! [`laws::Laws`] watches without asking the core what it believes: it counts disks itself. Each life ends with a healed cluster that must
//! elect, commit and answer within a bound.
//!
//! A failing seed is printed; `RAFT_SEED=<seed> cargo test --release -p raft --test properties` replays it alone, and
//! `RAFT_SEEDS=<count>` tries more of them.

mod disk;
mod laws;
mod rng;
mod world;

use world::{Tally, World};

const SEEDS: u64 = 1_500;
const EVENTS: usize = 20_000;

#[test]
fn every_law_holds_in_every_life() {
    if let Some(seed) = from_env("RAFT_SEED") {
        println!("{:?}", live(seed));
        return;
    }
    let seeds = from_env("RAFT_SEEDS").unwrap_or(SEEDS);
    let mut total = Tally::default();
    for seed in 0..seeds {
        total += live(seed);
    }
    println!("{seeds} lives: {total:?}");
    if seeds < SEEDS {
        return;
    }
    // Lives in which little happens prove little.
    let per_life = |count: u64, least: u64| count >= least * seeds;
    assert!(per_life(total.elections, 5) && per_life(total.crashes, 5), "{total:?}");
    assert!(per_life(total.committed, 50) && per_life(total.truncations, 1), "{total:?}");
    assert!(per_life(total.reads, 20) && per_life(total.lost_batches, 1), "{total:?}");
    assert!(per_life(total.early_completions, 5) && per_life(total.entries_read, 1), "{total:?}");
    assert!(per_life(total.configurations, 1) && per_life(total.transfers, 1), "{total:?}");
    assert!(per_life(total.cuts, 5) && per_life(total.installs, 1), "{total:?}");
}

fn live(seed: u64) -> Tally {
    let named = OnPanic(seed);
    let mut world = World::new(seed);
    for _ in 0..EVENTS {
        world.event();
    }
    world.heal();
    std::mem::forget(named);
    world.tally
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Says how to replay the life that broke a law.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        eprintln!("seed {} failed; replay it with RAFT_SEED={}", self.0, self.0);
    }
}
