//! One line a measurement.

use super::Figures;

pub fn row(store: &str, what: &str, clients: u64, figures: &Figures) {
    println!(
        "{store:<10} {what:<7} {clients:>4} clients {:>9.0}/s   p50 {:>8.2} ms   p99 {:>8.2} ms   {} failed",
        figures.per_second,
        figures.p50.as_secs_f64() * 1e3,
        figures.p99.as_secs_f64() * 1e3,
        figures.failed
    );
}

pub fn ratio(what: &str, clients: u64, ours: &Figures, theirs: &Figures) {
    println!(
        "ratio      {what:<7} {clients:>4} clients {:>9.2}x   p99 {:>5.2}x",
        ours.per_second / theirs.per_second,
        ours.p99.as_secs_f64() / theirs.p99.as_secs_f64()
    );
}
