//! The checker against another one, stateright's, on small random histories: half of them executed by a register, sound or not, half invented.
//! Long histories, which the other cannot take, are spoilt in a way that needs no second opinion.

mod real;
mod reference;
mod rng;
mod scene;

use std::collections::BTreeMap;

use check::{Action, History, Operation, STEPS_MAX, Verdict, check};

use real::Fault;
use rng::Rng;
use scene::{Scene, Size, Source};

const HISTORIES: u64 = 120_000;
const SMALL: Size = Size { clients_max: 4, operations_min: 2, operations_max: 8 };
const SHARE_MIN_PERCENT: u64 = 20;

const LONG_HISTORIES: u64 = 200;
const LONG: Size = Size { clients_max: 6, operations_min: 80, operations_max: 160 };
const LONG_STEPS_MAX: u64 = 20_000;

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
        let scene = Scene::play(Rng::new(seed), SMALL, source);
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

/// Of the operations one in ten or so has an unknown outcome. A stale read behind them makes the search try everything else first.
#[test]
fn long_histories_with_many_operations_of_unknown_outcome_get_no_wrong_verdict() {
    let mut found_out = 0;
    for seed in 0..LONG_HISTORIES {
        let sound = Scene::play(Rng::new(seed), LONG, Source::Sound).operations;
        assert_eq!(check(&History::from(sound.clone()), LONG_STEPS_MAX), Verdict::Ok, "seed {seed}");
        let end = sound.iter().map(|operation| operation.returned.unwrap_or(operation.called)).max().unwrap_or_default();
        let at_end = |action, after| Operation { client: u64::MAX, key: 1, action, called: end + after, returned: Some(end + after + 1) };
        let (first, second) = (u64::MAX - 1, u64::MAX);
        let stale = [
            at_end(Action::Write { value: first }, 1),
            at_end(Action::Write { value: second }, 3),
            at_end(Action::Read { found: Some(first) }, 5),
        ];
        match check(&History::from([&sound[..], &stale[..]].concat()), LONG_STEPS_MAX) {
            Verdict::Ok => panic!("seed {seed}: a stale read was accepted"),
            Verdict::Violation(_) => found_out += 1,
            Verdict::NoVerdict { .. } => {}
        }
    }
    println!("found out: {found_out} of {LONG_HISTORIES}");
    assert!(found_out >= LONG_HISTORIES / 2, "only {found_out} of {LONG_HISTORIES} stale reads were found out");
}

fn lines(scene: &Scene) -> String {
    scene.operations.iter().map(|operation| format!("  {operation}   {operation:?}\n")).collect()
}
