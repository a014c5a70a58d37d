//! Runs one seed to its end, or many on several threads.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{
    properties::{Broken, Property},
    run::{Plan, Report, World},
};

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub report: Report,
    pub broken: Option<Broken>,
}

/// Keeps panics of the code under test quiet: each is the broken property of its run.
pub fn catch_panics() {
    set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let text = info.payload().downcast_ref::<String>().cloned();
        let text = text.or_else(|| info.payload().downcast_ref::<&str>().map(|text| (*text).to_owned()));
        PANIC.set(Some(format!("{} ({place})", text.unwrap_or_default())));
    }));
}

/// One run. Same plan, same end.
pub fn run(plan: Plan) -> Ended {
    let mut world = World::new(plan);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(Ok(report)) => Ended { report, broken: None },
        Ok(Err(broken)) => Ended { report: world.report(), broken: Some(broken) },
        Err(_) => {
            let what = PANIC.take().unwrap_or_else(|| "panicked".into());
            Ended { report: world.report(), broken: Some(Property::Asserts.broken(what)) }
        }
    }
}

/// As many as run at a time on this machine.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Hands out seeds in order until all are gone, time is up, or `each` has seen enough. `each` is called as runs end, and says whether
/// to go on.
pub fn run_many(
    seeds: std::ops::Range<u64>,
    threads: usize,
    until: Option<Instant>,
    plan_of: impl Fn(u64) -> Plan + Sync,
    on_start: impl Fn() + Sync,
    each: impl FnMut(u64, Ended) -> bool + Send,
) {
    let next = AtomicU64::new(seeds.start);
    let enough = AtomicBool::new(false);
    let each = Mutex::new(each);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                on_start();
                while !enough.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let ended = run(plan_of(seed));
                    let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
                    if !each(seed, ended) {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
