//! `sim run | mutants | stage | soak | replay`.

use std::{process::ExitCode, time::Instant};

use sim::{run::{Plan, fault}, runner};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| args.get(place).and_then(|word| word.parse().ok()).unwrap_or(default);
    if args.first().map(String::as_str) == Some("replay") {
        let ended = runner::run(Plan::of(number(1, 0)));
        println!("{ended:#?}");
        return ExitCode::SUCCESS;
    }
    runner::catch_panics();
    #[cfg(feature = "planted")]
    if args.first().map(String::as_str) == Some("mutants") {
        let count = number(1, 500);
        for bug in sim::mutants::ALL.iter().filter(|m| args.get(2).is_none_or(|name| format!("{:?}", m.0) == *name)) {
            let start = Instant::now();
            let mut kills = std::collections::BTreeMap::new();
            let mut first = None;
            let mut sample = String::new();
            let mut n = 0;
            runner::run_many(0..count, 2, None, Plan::of, || raft::planted::plant(Some(bug.0)), |seed, ended| {
                n += 1;
                if let Some(broken) = ended.broken {
                    *kills.entry(broken.property).or_insert(0u32) += 1;
                    if sample.is_empty() { sample = format!("{seed}: {broken}").chars().take(200).collect(); }
                    first.get_or_insert(seed);
                }
                true
            });
            println!("{:?} first {first:?} of {n} {kills:?} {:.1}s  {sample}", bug.0, start.elapsed().as_secs_f64());
        }
        return ExitCode::SUCCESS;
    }
    let (first, count) = (number(1, 0), number(2, 100));
    let start = Instant::now();
    let (mut events, mut failed, mut committed, mut ticks) = (0, 0, 0, 0);
    let mut acted = vec![0; fault::ALL.len()];
    let mut answers = Vec::new();
    runner::run_many(first..first + count, 2, None, Plan::of, || {}, |seed, ended| {
        events += ended.report.events;
        committed += ended.report.committed;
        ticks += ended.report.ticks;
        answers.push(ended.report.answers);
        for (place, fault) in fault::ALL.iter().enumerate() {
            acted[place] += u64::from(ended.report.acted(*fault));
        }
        if let Some(broken) = ended.broken {
            failed += 1;
            let what: String = broken.to_string().chars().take(600).collect();
            println!("seed {seed}: {what}");
        }
        true
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} seeds, {failed} failed, {events} events, {:.0} seeds/s {:.0} events/s committed {committed} ticks {ticks}", count as f64 / seconds, events as f64 / seconds);
    for (place, fault) in fault::ALL.iter().enumerate() {
        print!("{}={} ", fault.name(), acted[place]);
    }
    println!();
    let mut sum = std::collections::BTreeMap::new();
    for one in answers {
        for word in format!("{one:?}").trim_start_matches("Answers { ").trim_end_matches(" }").split(", ") {
            let (name, n) = word.split_once(": ").unwrap();
            *sum.entry(name.to_owned()).or_insert(0u64) += n.parse::<u64>().unwrap();
        }
    }
    println!("{sum:?}");
    ExitCode::from(u8::from(failed > 0))
}
