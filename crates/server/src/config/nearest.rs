//! Which known word somebody probably meant.

use super::key::{KEYS, Key, SECTIONS};

/// The key meant by `name` in `section`: misspelt, or written into another section.
pub fn key(section: &str, name: &str) -> Option<&'static Key> {
    let cost = |key: &Key| 2 * distance(key.name(), name) + usize::from(key.section() != section);
    let key = KEYS.iter().copied().min_by_key(|key| cost(key))?;
    is_near(key.name(), name).then_some(key)
}

/// The section meant by `name`.
pub fn section(name: &str) -> Option<&'static str> {
    let section = SECTIONS.iter().map(|(section, _)| *section).min_by_key(|section| distance(section, name))?;
    is_near(section, name).then_some(section)
}

/// The key meant by an environment variable of this name.
pub fn env(name: &str) -> Option<&'static Key> {
    let key = KEYS.iter().copied().min_by_key(|key| distance(&key.env(), name))?;
    is_near(&key.env(), name).then_some(key)
}

/// Two slips of the finger, but less than half of a short word.
fn is_near(known: &str, written: &str) -> bool {
    distance(known, written) <= 2.min(known.len().saturating_sub(1) / 2)
}

/// Letters added, dropped, replaced, or swapped with their neighbour (the optimal string alignment distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_and_a_wrong_section_too() {
        for (section, name, meant) in [
            ("node", "prot", Some("node.port")),
            ("node", "Port", Some("node.port")),
            ("node", "datadir", Some("node.data_dir")),
            ("node", "expect", Some("cluster.expect")),
            ("cluster", "name", Some("cluster.name")),
            ("cluster", "nmae", Some("cluster.name")),
            ("network", "interface", Some("network.interfaces")),
            ("timing", "hearbeat_ms", Some("timing.heartbeat_ms")),
            ("node", "colour", None),
            ("node", "x", None),
        ] {
            assert_eq!(key(section, name).map(|key| key.path), meant, "{section}.{name}");
        }
        assert_eq!(super::section("nod"), Some("node"));
        assert_eq!(super::section("logging"), None);
        assert_eq!(env("RUSTY_KV_NOD_PORT").map(|key| key.path), Some("node.port"));
        assert_eq!(env("RUSTY_KV_ADDR").map(|key| key.path), None);
        assert_eq!(env("RUSTY_KV_CLUSTER").map(|key| key.path), None);
    }

    #[test]
    fn the_distance_counts_slips() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "ab", 2),
            ("port", "prot", 1),
            ("name", "nam", 1),
            ("abc", "xbc", 1),
            ("expect", "exepct", 1),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }
}
