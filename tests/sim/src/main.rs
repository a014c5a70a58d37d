//! The simulator's command: many seeds, one seed again, bugs on purpose, the whole stage, or on and on.

#[cfg(feature = "planted")]
mod stage;

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
        #[cfg(not(feature = "planted"))]
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
