//! The checker against another one, stateright's, on small random histories: half of them executed by a register, sound or not, half invented.

mod real;
mod reference;
mod rng;
mod scene;

use std::collections::BTreeMap;

use check::{History, STEPS_MAX, Verdict, check};

use real::Fault;
use rng::Rng;
use scene::{Scene, Source};

const HISTORIES: u64 = 120_000;
const SHARE_MIN_PERCENT: u64 = 20;

const SOURCES: [Source; 12] = [
    Source::Sound,
    Source::Faulty(Fault::LostWrite),
    Source::Faulty(Fault::StaleRead),
    Source::Faulty(Fault::StaleCondition),
    Source::SwappedRead,
    Source::Reordered,
    Source::Invented,
    Source::Invented,
    Source::Invented,
    Source::Invented,
    Source::Invented,
    Source::Invented,
];

#[test]
fn two_checkers_that_share_nothing_agree_on_every_history() {
    // By source: accepted, rejected.
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let mut rejected = 0;
    for seed in 0..HISTORIES {
        let source = SOURCES[(seed % SOURCES.len() as u64) as usize];
        let scene = Scene::play(Rng::new(seed), source);
        let history = History::from(scene.operations.clone());
        let verdict = check(&history, STEPS_MAX);
        let shown = || format!("seed {seed}, {source:?}:\n{}", lines(&scene));
        let accepted = match verdict {
            Verdict::Ok => true,
            Verdict::Violation(_) => false,
            Verdict::NoVerdict { .. } => panic!("{verdict:?} on so short a history; {}", shown()),
        };
        assert!(accepted == reference::accepts(&scene.operations), "the other checker says otherwise than {verdict:?}; {}", shown());
        assert!(accepted || scene.spoilt, "nothing was done wrong, yet {verdict:?}; {}", shown());
        counts.entry(format!("{source:?}")).or_default()[usize::from(!accepted)] += 1;
        rejected += u64::from(!accepted);
    }
    println!("accepted and rejected: {counts:?}");
    let rejected_percent = rejected * 100 / HISTORIES;
    assert!((SHARE_MIN_PERCENT..=100 - SHARE_MIN_PERCENT).contains(&rejected_percent), "too one-sided to tell anything: {counts:?}");
    for (source, [_, rejected]) in &counts {
        assert!(*rejected > 0 || *source == format!("{:?}", Source::Sound), "what {source} does wrong was never found out: {counts:?}");
    }
}

fn lines(scene: &Scene) -> String {
    scene.operations.iter().map(|operation| format!("  {operation}   {operation:?}\n")).collect()
}
