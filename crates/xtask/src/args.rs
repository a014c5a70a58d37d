//! What was asked for, read from the command line.

use std::time::Duration;

use crate::stage::{self, Stage};

#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Test(TestRequest),
    Demo,
    Bench(BenchRequest),
    Soak(SoakRequest),
}

#[derive(Debug, PartialEq)]
pub struct SoakRequest {
    pub minutes: u64,
    /// The first one; the simulator's choice if absent.
    pub seed: Option<u64>,
}

#[derive(Debug, PartialEq)]
pub struct TestRequest {
    /// In the order asked for; every stage when none was named.
    pub stages: Vec<&'static Stage>,
    /// Time for everything together, counted from the start of the command.
    pub deadline: Option<Duration>,
}

#[derive(Debug, PartialEq)]
pub struct BenchRequest {
    pub beside_etcd: bool,
    /// For the rigs' program, which knows what they mean.
    pub rest: Vec<String>,
}

pub fn usage() -> String {
    let stages: Vec<String> = stage::ALL.iter().map(|stage| format!("  {:<9}{}", stage.name, stage.about)).collect();
    format!(
        "usage: cargo xtask test [STAGE...] [--deadline TIME]   run the tests; TIME as in 90s, 80m or 2h\n       \
         cargo xtask demo                               watch three nodes survive the loss of their leader\n       \
         cargo xtask bench [--beside etcd] [--seconds N] [--clients N,N...] [--only PART,PART...] [--failovers N] [--unary]\n       \
         cargo xtask bench idle [--seconds N]           measure a cluster on this machine; parts: writes reads each uploads failover\n       \
         cargo xtask soak --minutes N [--seed S]        simulate one seed after the other; failing ones are made small and shown\n\n\
         stages (all of them when none is named):\n{}",
        stages.join("\n")
    )
}

/// Errors are sentences for the user.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    match words.next().as_deref() {
        None => Err("xtask: say what to do".into()),
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some("demo") => match words.next() {
            None => Ok(Command::Demo),
            Some(word) if is_help(&word) => Ok(Command::Help),
            Some(word) => Err(format!("xtask demo: unknown argument '{word}'")),
        },
        Some("test") => parse_test(words),
        Some("bench") => parse_bench(words),
        Some("soak") => parse_soak(words),
        Some(word) => Err(format!("xtask: unknown command '{word}'")),
    }
}

fn parse_test(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut request = TestRequest { stages: Vec::new(), deadline: None };
    while let Some(word) = words.next() {
        if is_help(&word) {
            return Ok(Command::Help);
        } else if word == "--deadline" {
            let value = words.next().ok_or("xtask test: --deadline needs a time")?;
            request.deadline = Some(parse_time(&value)?);
        } else if let Some(value) = word.strip_prefix("--deadline=") {
            request.deadline = Some(parse_time(value)?);
        } else if word.starts_with('-') {
            return Err(format!("xtask test: unknown flag '{word}'"));
        } else {
            let stage = stage::ALL.iter().find(|stage| stage.name == word);
            request.stages.push(stage.ok_or_else(|| format!("xtask test: unknown stage '{word}'"))?);
        }
    }
    if request.stages.is_empty() {
        request.stages = stage::ALL.iter().collect();
    }
    Ok(Command::Test(request))
}

fn parse_bench(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut request = BenchRequest { beside_etcd: false, rest: Vec::new() };
    while let Some(word) = words.next() {
        if is_help(&word) {
            return Ok(Command::Help);
        }
        if word == "--unary" || word == "idle" {
            request.rest.push(word);
            continue;
        }
        let value = words.next().ok_or_else(|| format!("xtask bench: {word} needs a value"))?;
        match word.as_str() {
            "--beside" if value == "etcd" => request.beside_etcd = true,
            "--beside" => return Err(format!("xtask bench: --beside knows etcd, not '{value}'")),
            "--seconds" | "--failovers" if value.parse::<u64>().is_err() => {
                return Err(format!("xtask bench: {word} takes a number, not '{value}'"));
            }
            "--seconds" | "--failovers" | "--clients" | "--only" | "--unary" => request.rest.extend([word, value]),
            _ => return Err(format!("xtask bench: unknown flag '{word}'")),
        }
    }
    Ok(Command::Bench(request))
}

fn parse_soak(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut minutes, mut seed) = (None, None);
    while let Some(word) = words.next() {
        if is_help(&word) {
            return Ok(Command::Help);
        }
        let value = words.next().ok_or_else(|| format!("xtask soak: {word} needs a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("xtask soak: {word} takes a number, not '{value}'"))?;
        match word.as_str() {
            "--minutes" => minutes = Some(number),
            "--seed" => seed = Some(number),
            _ => return Err(format!("xtask soak: unknown flag '{word}'")),
        }
    }
    let minutes = minutes.ok_or("xtask soak: say for how long: --minutes N")?;
    Ok(Command::Soak(SoakRequest { minutes, seed }))
}

fn is_help(word: &str) -> bool {
    matches!(word, "--help" | "-h")
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let complaint = || format!("xtask test: '{text}' is no time; write 90s, 80m or 2h");
    let unit = text.chars().last().ok_or_else(complaint)?;
    let seconds_per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(complaint()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| complaint())?;
    count.checked_mul(seconds_per_unit).map(Duration::from_secs).ok_or_else(complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(String::from))
    }

    fn stages_of(line: &str) -> Vec<&'static str> {
        match parse_line(line) {
            Ok(Command::Test(request)) => request.stages.iter().map(|stage| stage.name).collect(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn stages_run_in_the_order_asked_for_and_all_of_them_by_default() {
        assert_eq!(stages_of("test cluster unit"), ["cluster", "unit"]);
        assert_eq!(stages_of("test"), stage::ALL.iter().map(|stage| stage.name).collect::<Vec<_>>());
    }

    #[test]
    fn a_deadline_may_stand_anywhere_and_in_any_unit() {
        for (line, seconds) in [("test --deadline 80m", 4800), ("test unit --deadline=90s", 90), ("test --deadline 2h unit", 7200)] {
            let Ok(Command::Test(request)) = parse_line(line) else { panic!("{line}") };
            assert_eq!(request.deadline, Some(Duration::from_secs(seconds)), "{line}");
        }
    }

    #[test]
    fn a_soak_takes_its_time_and_perhaps_a_seed() {
        let soak = |minutes, seed| Ok(Command::Soak(SoakRequest { minutes, seed }));
        assert_eq!(parse_line("soak --minutes 30"), soak(30, None));
        assert_eq!(parse_line("soak --seed 7 --minutes 1"), soak(1, Some(7)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("test nonsense", "'nonsense'"),
            ("test --fast", "'--fast'"),
            ("test --deadline 80", "'80'"),
            ("test --deadline", "--deadline"),
            ("test --deadline 99999999999999999999m", "m'"),
            ("demo now", "'now'"),
            ("bench --beside redis", "'redis'"),
            ("bench --seconds soon", "'soon'"),
            ("bench --seconds", "--seconds"),
            ("bench --fast yes", "'--fast'"),
            ("soak", "--minutes"),
            ("soak --minutes long", "'long'"),
            ("soak --fast 1", "'--fast'"),
            ("dance", "'dance'"),
        ] {
            let complaint = parse_line(line).expect_err(line);
            assert!(complaint.contains(named), "{line}: {complaint}");
        }
    }
}
