//! What the stage demands: determinism, each planted bug found, enough seeds and events without a failure, no class of faults idle.

use std::time::{Duration, Instant};

use raft::planted::{Bug, plant as plant_here};
use sim::{mutants, run::Plan, runner, summary::Summary};

pub const MINUTES: u64 = 8;
pub const MUTANT_SEEDS: u64 = 500;
const SEEDS_MIN: u64 = 5_000;
const EVENTS_MIN: u64 = 30_000_000;
const TWICE_SEEDS: u64 = 100;

/// On this thread.
pub fn plant(name: Option<&str>) -> Result<(), String> {
    let Some(name) = name else { return Ok(()) };
    let known = mutants::ALL.iter().find(|mutant| format!("{:?}", mutant.bug) == name);
    plant_here(Some(known.ok_or(format!("unknown bug '{name}'"))?.bug));
    Ok(())
}

/// Bugs found and bugs that were not.
pub fn mutants(seeds: u64, only: Option<&str>, until: Option<Instant>) -> (u64, u64) {
    runner::catch_panics();
    let (mut found, mut missed) = (0, 0);
    for mutant in mutants::ALL.iter().filter(|mutant| only.is_none_or(|name| format!("{:?}", mutant.bug) == name)) {
        let (mut runs, mut killed) = (0, None);
        let mut otherwise = 0;
        let wants_all = mutant.bug == Bug::Canary;
        runner::run_many(
            0..seeds,
            runner::threads(),
            until,
            Plan::of,
            || plant_here(Some(mutant.bug)),
            |seed, ended| {
                runs += 1;
                match ended.broken {
                    Some(broken) if mutant.found_by.contains(&broken.property) => {
                        killed.get_or_insert((seed, broken.property));
                    }
                    Some(_) => otherwise += 1,
                    // The canary must be noticed each time.
                    None if wants_all => {
                        otherwise = u64::MAX;
                        return false;
                    }
                    None => {}
                }
                killed.is_none() || wants_all && runs < CANARY_SEEDS
            },
        );
        let name = format!("{:?}", mutant.bug);
        match killed.filter(|_| otherwise < u64::MAX) {
            Some((seed, property)) => {
                found += 1;
                println!("  {name:<28}found by {property:?} in seed {seed} ({runs} runs)");
            }
            None => {
                missed += 1;
                println!("  {name:<28}NOT FOUND in {runs} seeds by {:?} (failed otherwise: {otherwise})", mutant.found_by);
            }
        }
    }
    (found, missed)
}

const CANARY_SEEDS: u64 = 50;

pub fn run(allowed: Duration) -> bool {
    runner::catch_panics();
    let start = Instant::now();
    let until = Some(start + allowed);
    println!("the same seed twice, {TWICE_SEEDS} times");
    let same = runs_twice();
    println!("planted bugs, each within {MUTANT_SEEDS} seeds");
    let (found, missed) = mutants(MUTANT_SEEDS, None, until);
    println!("{} s so far; the code as it is", start.elapsed().as_secs());
    let began = Instant::now();
    let mut summary = Summary::default();
    runner::run_many(
        0..u64::MAX,
        runner::threads(),
        until,
        Plan::of,
        || plant_here(None),
        |seed, ended| {
            summary.take(Plan::of(seed), &ended);
            summary.seeds < SEEDS_MIN || summary.events < EVENTS_MIN
        },
    );
    super::report(&summary, began.elapsed());
    let enough = summary.seeds >= SEEDS_MIN && summary.events >= EVENTS_MIN;
    let gaps = summary.gaps();
    gaps.iter().for_each(|gap| println!("GAP {gap}"));
    println!("{found} of {} planted bugs found; {} s in all", found + missed, start.elapsed().as_secs());
    if !enough {
        println!("TOO FEW: {SEEDS_MIN} seeds and {EVENTS_MIN} events are demanded");
    }
    let failures = missed + summary.failed + u64::from(!same) + u64::from(!enough) + gaps.len() as u64;
    let passed = found + summary.seeds - summary.failed + u64::from(same);
    let verdict = if failures == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failures} failed; 0 ignored; 0 measured; 0 filtered out");
    failures == 0
}

fn runs_twice() -> bool {
    let mut first = std::collections::BTreeMap::new();
    let mut same = true;
    for _ in 0..2 {
        runner::run_many(
            0..TWICE_SEEDS,
            runner::threads(),
            None,
            Plan::of,
            || plant_here(None),
            |seed, ended| {
                let before = first.entry(seed).or_insert_with(|| ended.clone());
                if *before != ended {
                    println!("FAILED seed {seed} ends with trace {:x} and with {:x}", before.report.trace, ended.report.trace);
                    same = false;
                }
                true
            },
        );
    }
    same
}
