//! Makes a failing run smaller: fault classes off, one after the other, then fewer events.

use crate::{
    properties::Property,
    run::{Plan, fault},
    runner,
};

/// Runs that a shrinking may take.
const TRIES_MAX: u32 = 60;

/// The smallest plan found that still breaks `property`.
pub fn shrink(plan: Plan, property: Property) -> Plan {
    let mut smallest = plan;
    let mut tries = 0;
    let mut still_breaks = |plan: &Plan| {
        tries += 1;
        tries <= TRIES_MAX && runner::run(plan.clone()).broken.is_some_and(|broken| broken.property == property)
    };
    loop {
        let before = smallest.faults;
        for fault in fault::ALL {
            let fewer = Plan { faults: smallest.faults.without(fault), ..smallest.clone() };
            if fewer.faults != smallest.faults && still_breaks(&fewer) {
                smallest = fewer;
            }
        }
        if smallest.faults == before {
            break;
        }
    }
    let mut step = smallest.events_max / 2;
    while step > 10 {
        let shorter = Plan { events_max: smallest.events_max - step, ..smallest.clone() };
        if still_breaks(&shorter) {
            smallest = shorter;
        }
        step = step.min(smallest.events_max) / 2;
    }
    smallest
}

/// The line that replays a run.
pub fn replay_line(plan: &Plan) -> String {
    let original = Plan::of(plan.seed);
    let mut line = format!("cargo run --release -p sim --features planted -- replay {}", plan.seed);
    if plan.faults != original.faults {
        line += &format!(" --faults {}", plan.faults.bits());
    }
    if plan.events_max != original.events_max {
        line += &format!(" --events {}", plan.events_max);
    }
    line
}
