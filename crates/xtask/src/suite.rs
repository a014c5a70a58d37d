//! `cargo xtask test`: runs stages one after the other, within a deadline, and says what came of each.
//!
//! - A stage is started only if its budget fits in what is left; otherwise it counts as one skipped.
//! - A stage that runs into the deadline is killed and counts as failed.
//! - The last line is the sum, alone: `N passed, N failed, N skipped`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::TestRequest;
use crate::janitor::{self, Janitor};
use crate::packages;
use crate::stage::{Kind, Stage, Step};
use crate::tally::Tally;

const POLL_MS: u64 = 50;

pub fn run(request: &TestRequest) -> ExitCode {
    let deadline = request.deadline.map(|allowed| Instant::now() + allowed);
    let mut total = Tally::default();
    let mut report = Vec::new();
    if let Err(complaint) = packages::install_missing(packages::BUILD) {
        println!("{complaint}");
        total.failed += 1;
        report.push(format!("install   FAILED: {complaint}"));
    } else {
        for stage in &request.stages {
            let (tally, lines) = run_stage(stage, deadline);
            total.add(tally);
            report.extend(lines);
        }
    }
    println!();
    for line in report {
        println!("{line}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the stage adds to the counts, and its lines in the report.
fn run_stage(stage: &Stage, deadline: Option<Instant>) -> (Tally, Vec<String>) {
    let needed = stage.budget_minutes();
    if let Some(left) = deadline.map(minutes_left).filter(|left| *left < needed as f64) {
        let line = format!("{:<10}skipped: needs {needed} min, {left:.1} min left", stage.name);
        println!("\n== {line}");
        return (Tally::one_skipped(), vec![line]);
    }
    println!("\n== stage {} (about {needed} min)", stage.name);
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut notes = Vec::new();
    if let Err(complaint) = packages::install_missing(stage.packages) {
        // Its tests look for themselves, and say what they had to leave out.
        println!("{complaint}");
        notes.push(format!("          install: {complaint}"));
    }
    for step in stage.steps() {
        let name = step.name;
        let outcome = run_step(step, deadline);
        tally.add(outcome.tally);
        notes.extend(outcome.notes.into_iter().map(|note| format!("          {name}: {note}")));
        if outcome.blocks_the_rest {
            break;
        }
    }
    let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
    let seconds = start.elapsed().as_secs();
    let counts = format!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    let mut lines = vec![format!("{:<10}{verdict} in {}m{:02}s ({counts})", stage.name, seconds / 60, seconds % 60)];
    lines.extend(notes);
    (tally, lines)
}

struct Outcome {
    tally: Tally,
    notes: Vec<String>,
    /// Nothing after it can succeed.
    blocks_the_rest: bool,
}

fn run_step(mut step: Step, deadline: Option<Instant>) -> Outcome {
    if let Kind::Missing(reason) = step.kind {
        println!("-- {} skipped: {reason}", step.name);
        let tally = Tally::one_skipped();
        return Outcome { tally, notes: vec![format!("skipped: {reason}")], blocks_the_rest: false };
    }
    println!("-- {}: {}", step.name, command_line(&step));
    let mut outcome = Outcome { tally: Tally::default(), notes: Vec::new(), blocks_the_rest: false };
    let success = match watch(&mut step, deadline, &mut outcome) {
        Ok(Ended::ByItself(status)) => status.success(),
        Ok(Ended::ByDeadline) => {
            outcome.notes.push("FAILED: ended by the deadline".into());
            outcome.tally.failed += 1;
            outcome.blocks_the_rest = true;
            return outcome;
        }
        Err(error) => {
            outcome.notes.push(format!("FAILED to run: {error}"));
            false
        }
    };
    match (step.kind, success) {
        (Kind::Check, true) => outcome.tally.passed += 1,
        (Kind::Tests, false) if outcome.tally.failed > 0 => {}
        (_, false) => {
            outcome.tally.failed += 1;
            outcome.notes.push("FAILED".into());
            outcome.blocks_the_rest = step.kind == Kind::Preparation;
        }
        _ => {}
    }
    if outcome.tally.elsewhere > 0 && step.kind == Kind::Tests {
        outcome.notes.push(format!("{} tests left out here: other stages, or other tests, run them", outcome.tally.elsewhere));
    }
    outcome
}

enum Ended {
    ByItself(ExitStatus),
    ByDeadline,
}

/// Runs the step, showing its output as it comes and counting on the way.
fn watch(step: &mut Step, deadline: Option<Instant>, outcome: &mut Outcome) -> std::io::Result<Ended> {
    let mut janitor = Janitor::hire(None)?;
    let mut child = janitor.spawn(step.command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let output = child.stdout.take().expect("piped");
    let reader = thread::spawn(move || read_counts(output));
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Ended::ByItself(status);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            janitor::kill_group(&child);
            child.wait()?;
            break Ended::ByDeadline;
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    };
    janitor.forget(&child);
    let (tally, reasons) = reader.join().expect("the reader does not panic");
    outcome.tally = tally;
    outcome.notes.extend(reasons.into_iter().map(|reason| format!("skipped: {reason}")));
    Ok(ended)
}

fn read_counts(output: impl Read) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut reasons = Vec::new();
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        reasons.extend(tally.read(&line).map(String::from));
    }
    (tally, reasons)
}

fn minutes_left(deadline: Instant) -> f64 {
    deadline.saturating_duration_since(Instant::now()).as_secs_f64() / 60.0
}

fn command_line(step: &Step) -> String {
    let program = Path::new(step.command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(step.command.get_args()).map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}
