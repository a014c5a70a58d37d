//! Exactly the boards that were asked for, none of them wiped: once the network heals and all are up, they are one cluster.

use sim::{
    Rng,
    formation::{Scenario, World},
    seeds,
};

const SEEDS: u64 = 3_000;
const STORM_TICKS: u64 = 300;
/// Late answers (60), their oblivion (30), two writes, and a few rounds of asking.
const FORMED_WITHIN_TICKS: u64 = 200;

#[test]
fn exactly_the_wanted_boards_become_one_cluster() {
    seeds::each("formation_finishes", SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::exact(&mut rng);
        let storm = rng.between(0, STORM_TICKS);
        let mut world = World::new(scenario, rng);
        world.run(storm)?;
        world.calm_down();
        world.run(FORMED_WITHIN_TICKS)?;
        match world.all_formed() && world.ledger.clusters("home") == 1 {
            true => Ok(()),
            false => Err(format!("not formed: {:?}", world.boards.iter().map(|board| board.waits()).collect::<Vec<_>>())),
        }
    });
}
