//! A small part of what the stage `sim` runs, in seconds: under every fault nothing breaks that must hold, the same seed is the same run, and
//! each class of faults really acts.

use sim::{Rng, run::Plan, runner, seeds, summary::Summary};

const SEEDS: u64 = 120;
const TWICE_SEEDS: u64 = 12;

#[test]
fn whatever_goes_wrong_every_promise_is_kept() {
    seeds::each("cluster_keeps_its_promises", SEEDS, |seed| match runner::run(Plan::of(seed)).broken {
        None => Ok(()),
        Some(broken) => Err(broken.to_string()),
    });
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..TWICE_SEEDS {
        let (first, second) = (runner::run(Plan::of(seed)), runner::run(Plan::of(seed)));
        assert_eq!(first, second, "seed {seed}");
        traces.insert(first.report.trace);
    }
    assert_eq!(traces.len() as u64, TWICE_SEEDS);
}

#[test]
fn no_class_of_faults_and_no_property_is_idle() {
    let mut summary = Summary::default();
    let first = Rng::new(1).between(0, 1 << 40);
    for seed in first..first + SEEDS {
        summary.take(Plan::of(seed), &runner::run(Plan::of(seed)));
    }
    assert_eq!((summary.failed, summary.gaps()), (0, vec![]));
}
