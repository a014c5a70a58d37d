//! Whatever is lost, late, doubled, crashed or wiped: boards of one name never make two clusters that share a node, fewer than 2N
//! never make two at all, a node promises once, and who starts has every promise.

use sim::{
    Rng,
    formation::{Flaw, Scenario, World, is_noticed},
    seeds,
};

const SEEDS: u64 = 3_000;
const TICKS: u64 = 400;

#[test]
fn boards_of_one_name_never_make_two_clusters() {
    seeds::each("formation_never_forks", SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let scenario = if rng.chance(700) { Scenario::any(&mut rng) } else { Scenario::exact_with_wipes(&mut rng) };
        let mut world = World::new(scenario, rng);
        world.run(TICKS)?;
        world.calm_down();
        world.run(TICKS)
    });
}

#[test]
fn the_checks_notice_each_flaw() {
    for flaw in [Flaw::ToldBeforeDurable, Flaw::SecondPromise, Flaw::MajorityIsEnough] {
        assert!(is_noticed(flaw, SEEDS, TICKS, Scenario::any), "{flaw:?}");
    }
}
