//! The simulator's command: many seeds, one seed again, bugs on purpose, the whole stage, or on and on.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use sim::{
    run::{Faults, Plan},
    runner,
    shrink::replay_line,
    summary::Summary,
};

const USAGE: &str = "usage: sim run [--seed FIRST] [--seeds N]          run seeds
       sim soak --minutes N [--seed FIRST]        run seeds until the time is up
       sim replay SEED [--faults BITS] [--events N] [--bug NAME]
       sim mutants [--seeds N] [--bug NAME]       plant each bug, see it found    (feature `planted`)
       sim stage [--minutes N]                    all that the stage demands      (feature `planted`)";

const SOAK_FIRST_SEED: u64 = 1_000_000;
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match command(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(complaint) => {
            eprintln!("sim: {complaint}\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn command(words: &[String]) -> Result<bool, String> {
    let number = |name: &str, default: u64| {
        option(words, name).map_or(Ok(default), |word| word.parse().map_err(|_| format!("{name} takes a number")))
    };
    let verb = words.first().map(String::as_str).ok_or("say what to do")?;
    match verb {
        "run" => {
            let first = number("--seed", 0)?;
            let seeds = first..first.saturating_add(number("--seeds", 500)?);
            let (summary, took) = run_seeds(seeds, None);
            Ok(report(&summary, took))
        }
        "soak" => {
            let until = Instant::now() + Duration::from_secs(60 * number("--minutes", 10)?);
            let first = number("--seed", SOAK_FIRST_SEED)?;
            let (summary, took) = run_seeds(first..u64::MAX, Some(until));
            Ok(report(&summary, took))
        }
        "replay" => replay(words, number("--faults", u64::MAX)?, number("--events", 0)?),
        #[cfg(feature = "planted")]
        "mutants" => Ok(stage::mutants(number("--seeds", stage::MUTANT_SEEDS)?, option(words, "--bug"), None).1 == 0),
        #[cfg(feature = "planted")]
        "stage" => Ok(stage::run(Duration::from_secs(60 * number("--minutes", stage::MINUTES)?))),
        "mutants" | "stage" => Err("this build plants no bugs: --features planted".into()),
        _ => Err(format!("unknown command '{verb}'")),
    }
}

fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

fn replay(words: &[String], faults: u64, events: u64) -> Result<bool, String> {
    let seed = words.get(1).and_then(|word| word.parse().ok()).ok_or("replay takes a seed")?;
    let mut plan = Plan::of(seed);
    if let Ok(bits) = u32::try_from(faults) {
        plan.faults = Faults::of_bits(bits);
    }
    if events > 0 {
        plan.events_max = events;
    }
    #[cfg(feature = "planted")]
    stage::plant(option(words, "--bug"))?;
    println!("{plan:?}");
    let line = replay_line(&plan);
    let ended = runner::run(plan);
    println!("{:?}", ended.report);
    match &ended.broken {
        Some(broken) => println!("FAILED {broken}\n{line}"),
        None => println!("ok"),
    }
    Ok(ended.broken.is_none())
}

fn run_seeds(seeds: std::ops::Range<u64>, until: Option<Instant>) -> (Summary, Duration) {
    runner::catch_panics();
    let start = Instant::now();
    let mut summary = Summary::default();
    let threads = runner::threads();
    runner::run_many(
        seeds,
        threads,
        until,
        Plan::of,
        || {},
        |seed, ended| {
            summary.take(Plan::of(seed), &ended);
            true
        },
    );
    (summary, start.elapsed())
}

/// Prints what came of it. True if nothing failed.
fn report(summary: &Summary, took: Duration) -> bool {
    let seconds = took.as_secs_f64().max(0.001);
    println!("{}", summary.table());
    println!(
        "{} seeds, {} failed, {} events, {} entries committed in {seconds:.0} s: {:.0} seeds/s, {:.0} events/s",
        summary.seeds,
        summary.failed,
        summary.events,
        summary.committed,
        summary.seeds as f64 / seconds,
        summary.events as f64 / seconds
    );
    summary.failed == 0
}

#[cfg(feature = "planted")]
mod stage {
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
}
