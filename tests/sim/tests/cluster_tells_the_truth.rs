//! Whatever is lost, late, doubled or crashed: "written" stays, "not executed" never shows up, a read at any member sees all that was
//! acknowledged before it, and all members have the same state at the same index.

use sim::{
    Rng,
    cluster::{Answers, Flaw, Weather, World, is_noticed},
    seeds,
};

const SEEDS: u64 = 800;
const STORM_TICKS: u64 = 600;
/// An election with its longest back-off, and catching up.
const SETTLED_WITHIN_TICKS: u64 = 400;

#[test]
fn what_clients_are_told_is_what_happened() {
    let mut given = Answers::default();
    let mut runs = 0;
    seeds::each("cluster_tells_the_truth", SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let weather = Weather::any(&mut rng);
        let members = [1, 2, 3, 3, 3, 5][rng.index(6)];
        let mut world = World::new(members, weather, None, rng);
        world.run(STORM_TICKS)?;
        world.calm_down();
        world.run(SETTLED_WITHIN_TICKS)?;
        world.fall_silent();
        world.run(SETTLED_WITHIN_TICKS)?;
        given += world.ledger.answers();
        runs += 1;
        settled(&world)
    });
    println!("{given:?}");
    let Answers { written, overwritten, refused, no_room, blob_not_held, read } = given;
    let rarest = [written, overwritten, refused, no_room, blob_not_held, read].into_iter().min();
    assert!(runs < SEEDS || rarest >= Some(SEEDS / 10), "a kind of answer is hardly ever given: {given:?}");
}

#[test]
fn the_checks_notice_each_flaw() {
    for flaw in [Flaw::SyncedTooEarly, Flaw::ReadLocally, Flaw::DeclaredDead] {
        assert!(is_noticed(flaw, SEEDS, STORM_TICKS), "{flaw:?}");
    }
}

/// One leader, everything applied everywhere, everybody answered.
fn settled(world: &World) -> Result<(), String> {
    let leaders = world.members.iter().filter(|member| member.leads()).count();
    let committed = world.ledger.committed();
    if leaders != 1 || committed < 10 {
        return Err(format!("{leaders} leaders, {committed} entries"));
    }
    for (at, member) in world.members.iter().enumerate() {
        if member.applied().index != committed || member.replica().is_none_or(|replica| replica.applied() != committed) {
            return Err(format!("member {at} has applied {} of {committed}", member.applied()));
        }
        let waiting = world.ledger.unanswered(at, member);
        if !waiting.is_empty() {
            return Err(format!("member {at} never answered {waiting:?}"));
        }
    }
    Ok(())
}
