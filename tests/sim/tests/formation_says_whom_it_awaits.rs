//! A formation that cannot finish says so on every board, names whose promise is missing and what to do; and doing that, one board
//! after the other, ends it.

use sim::{
    Rng,
    formation::{Scenario, World},
    seeds,
};

const SEEDS: u64 = 2_000;
const STORM_TICKS: u64 = 300;
const SETTLED_WITHIN_TICKS: u64 = 200;
const FORGET: &str = "--forget-formation";

#[test]
fn every_board_that_can_start_does_and_every_other_says_why_not() {
    seeds::each("formation_says_whom_it_awaits", SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let mut scenario = Scenario::any(&mut rng);
        // A board with another plan may no longer ask those to whom it has promised.
        scenario.weather.replan = 0;
        let mut world = World::new(scenario, rng);
        world.run(STORM_TICKS)?;
        world.calm_down();
        world.run(SETTLED_WITHIN_TICKS)?;
        (0..world.boards.len()).try_for_each(|board| check(&world, board))
    });
}

#[test]
fn forgetting_board_by_board_where_advised_ends_a_stuck_formation() {
    seeds::each("formation_says_whom_it_awaits", SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::exact_with_wipes(&mut rng);
        let mut world = World::new(scenario, rng);
        world.run(STORM_TICKS)?;
        world.calm_down();
        world.run(SETTLED_WITHIN_TICKS)?;
        if world.boards.iter().any(|board| board.disk().started.is_some()) {
            return Ok(());
        }
        for board in 0..world.boards.len() {
            if world.boards[board].disk().promised.is_some() && world.boards[board].waits().contains(FORGET) {
                world.wipe(board);
                world.run(SETTLED_WITHIN_TICKS)?;
            }
        }
        match world.all_formed() {
            true => Ok(()),
            false => Err(format!("still stuck: {:?}", world.boards.iter().map(|board| board.waits()).collect::<Vec<_>>())),
        }
    });
}

fn check(world: &World, board: usize) -> Result<(), String> {
    let (record, waits) = (world.boards[board].disk(), world.boards[board].waits());
    if record.started.is_some() {
        return Ok(());
    }
    if waits.is_empty() {
        return Err(format!("board {board} waits without a word: {record:?}"));
    }
    let Some(list) = &record.promised else { return Ok(()) };
    let present = |id| world.boards.iter().any(|other| other.id() == id);
    if list.iter().all(|id| present(*id) && world.ledger.has_promised(*id, list)) {
        return Err(format!("board {board} has every promise and does not start: {waits}"));
    }
    if list.iter().any(|id| present(*id) && world.ledger.has_promised(*id, list) && world.ledger.has_started(*id)) {
        return Err(format!("board {board} is called by a started node and does not start: {waits}"));
    }
    let awaited = |id| !world.ledger.has_promised(id, list) || !present(id);
    match list.iter().all(|id| awaited(*id) == waits.contains(&id.to_string())) && waits.contains(FORGET) {
        true => Ok(()),
        false => Err(format!("board {board} does not name exactly those it waits for: {waits}")),
    }
}
