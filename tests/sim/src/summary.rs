//! What many runs came to, for people.

use crate::run::Plan;
use crate::{
    properties::{self, Property},
    run::{Report, fault},
    runner::Ended,
    shrink::{replay_line, shrink},
};

/// Each class must have acted in this share of the runs, or they prove nothing of it.
pub const ACTED_MIN_PERCENT: u64 = 5;
/// Failing seeds that are shrunk and shown.
const SHOWN_MAX: u64 = 3;

#[derive(Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub failed: u64,
    pub events: u64,
    pub committed: u64,
    acted: [u64; fault::ALL.len()],
    /// Property by fault class: how often it was looked at in runs in which the class acted.
    checks: Vec<[u64; fault::ALL.len()]>,
    checked: Vec<u64>,
}

impl Summary {
    /// Takes in a run; a failed one is shrunk and shown.
    pub fn take(&mut self, plan: Plan, ended: &Ended) {
        self.seeds += 1;
        self.count(&ended.report);
        let Some(broken) = &ended.broken else { return };
        self.failed += 1;
        println!("FAILED seed {}: {broken}", plan.seed);
        if self.failed <= SHOWN_MAX {
            let small = shrink(plan, broken.property);
            let left: Vec<String> = small.faults.iter().map(|fault| fault.name()).collect();
            println!("  shrunk to {} events before the liveness phase, with {}", small.events_max, left.join(", "));
            println!("  replay: {}", replay_line(&small));
        } else {
            println!("  replay: {}", replay_line(&plan));
        }
    }

    fn count(&mut self, report: &Report) {
        self.events += report.events;
        self.committed += report.committed;
        self.checks.resize(properties::ALL.len(), [0; fault::ALL.len()]);
        self.checked.resize(properties::ALL.len(), 0);
        for (row, property) in properties::ALL.into_iter().enumerate() {
            self.checked[row] += report.checks.of(property);
            for (column, fault) in fault::ALL.into_iter().enumerate() {
                if report.acted(fault) {
                    self.checks[row][column] += report.checks.of(property);
                }
            }
        }
        for (column, fault) in fault::ALL.into_iter().enumerate() {
            self.acted[column] += u64::from(report.acted(fault));
        }
    }

    /// Classes that acted in too few runs, and properties that were never looked at.
    pub fn gaps(&self) -> Vec<String> {
        let lazy = fault::ALL.into_iter().zip(self.acted).filter(|(_, acted)| acted * 100 < self.seeds * ACTED_MIN_PERCENT);
        let mut gaps: Vec<String> =
            lazy.map(|(fault, acted)| format!("{} acted in {acted} of {} seeds only", fault.name(), self.seeds)).collect();
        let looked_at = |property: Property| self.checked.get(property as usize).is_some_and(|checks| *checks > 0);
        let idle = properties::ALL.into_iter().filter(|property| *property != Property::Asserts && !looked_at(*property));
        gaps.extend(idle.map(|property| format!("{property:?} was never looked at")));
        gaps
    }

    /// Property by fault class.
    pub fn table(&self) -> String {
        let mut lines =
            vec!["times that a property was looked at in runs in which a class of faults acted (k: thousands, M: millions)".to_owned()];
        let names: Vec<String> = fault::ALL.iter().map(|fault| fault.name().chars().take(7).collect()).collect();
        let cells = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>8}")).collect::<String>();
        lines.push(format!("{:<22}{:>8}{}", "", "all", cells(names)));
        for (row, property) in properties::ALL.into_iter().enumerate().filter(|(row, _)| self.checked.get(*row).is_some_and(|n| *n > 0)) {
            let numbers = self.checks[row].iter().map(|number| short(*number)).collect();
            lines.push(format!("{:<22}{:>8}{}", format!("{property:?}"), short(self.checked[row]), cells(numbers)));
        }
        lines.push(format!("{:<22}{:>8}{}", "seeds", self.seeds, cells(self.acted.iter().map(u64::to_string).collect())));
        lines.join("\n")
    }
}

fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}
