//! Lines as they are measured, and a table of it all at the end.

use std::time::Duration;

use super::{Connections, Figures, Kind};

/// One line a measurement.
pub fn row(store: &str, kind: Kind, clients: usize, connections: Connections, figures: &Figures) {
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / figures.done.max(1) as f64;
    println!(
        "{store:<10} {:<7} {clients:>4} clients {:<14} {:>8.0}/s   p50 {:>7.2} ms   p99 {:>7.2} ms   CPU per request: servers {:>4.0} us, clients {:>3.0} us{}",
        kind.name(),
        connections.name(clients),
        figures.per_second,
        ms(figures.p50),
        ms(figures.p99),
        per_request(figures.usage.servers),
        per_request(figures.usage.clients),
        if figures.failed > 0 { format!("   {} FAILED", figures.failed) } else { String::new() },
    );
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Writes => "writes",
            Kind::Reads => "reads",
        }
    }
}

impl Connections {
    pub fn name(self, clients: usize) -> String {
        match self {
            Connections::Shared(_) => format!("on {} conns", self.of(clients)),
            Connections::OneEach => "one conn each".into(),
        }
    }
}

/// Everything measured, ours beside theirs and beside what is expected.
pub struct Table {
    ours: &'static str,
    beside: &'static str,
    lines: Vec<Line>,
}

/// `ours` and `theirs` in the same unit.
pub struct Line {
    pub what: String,
    pub ours: f64,
    pub theirs: Option<f64>,
    /// As the specification says it; empty: nothing is expected.
    pub expected: &'static str,
}

impl Table {
    /// With these names over its columns.
    pub fn new(ours: &'static str, beside: &'static str) -> Table {
        Table { ours, beside, lines: Vec::new() }
    }

    pub fn add(&mut self, what: impl Into<String>, ours: f64, theirs: Option<f64>, expected: &'static str) {
        self.lines.push(Line { what: what.into(), ours, theirs, expected });
    }

    pub fn print(&self) {
        if self.lines.is_empty() {
            return;
        }
        println!("\n{:<44} {:>10} {:>10} {:>8}   expected", "", self.ours, self.beside, "ratio");
        for line in &self.lines {
            let (theirs, ratio) = match line.theirs {
                Some(theirs) => (number(theirs), format!("{:.2}x", line.ours / theirs)),
                None => ("-".into(), "-".into()),
            };
            println!("{:<44} {:>10} {theirs:>10} {ratio:>8}   {}", line.what, number(line.ours), line.expected);
        }
    }
}

fn number(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
