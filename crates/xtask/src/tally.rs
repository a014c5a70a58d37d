//! Counts of tests, read from what cargo's test binaries print.

/// A test that finds at run time that it cannot run here prints a line that begins with this, then the reason.
const SKIP_MARK: &str = "SKIPPED: ";

#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Marked to be left out of an ordinary run: whoever runs them counts them.
    pub elsewhere: u64,
    /// Skipped in the binary whose closing line, which counts them as passed, is still to come.
    unsettled: u64,
}

impl Tally {
    /// Takes in one line of output. Returns the reason if the line says that a test was skipped.
    pub fn read<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if let Some(reason) = line.strip_prefix(SKIP_MARK) {
            self.skipped += 1;
            self.unsettled += 1;
            return Some(reason);
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed").saturating_sub(self.unsettled);
            self.unsettled = 0;
            self.failed += count(counts, "failed");
            self.elsewhere += count(counts, "ignored");
        }
        None
    }

    pub fn one_skipped() -> Tally {
        Tally { skipped: 1, ..Tally::default() }
    }

    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.elsewhere += other.elsewhere;
    }
}

/// The number before `what` in "ok. 5 passed; 0 failed; 1 ignored; ...".
fn count(counts: &str, what: &str) -> u64 {
    let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let number = words.windows(2).find(|pair| pair[1] == what).map(|pair| pair[0]);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally
    }

    #[test]
    fn closing_lines_of_several_binaries_add_up() {
        let tally = read_all(&[
            "running 6 tests",
            "test passed::failed ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ]);
        assert_eq!(tally, Tally { passed: 7, failed: 3, elsewhere: 1, ..Tally::default() });
    }

    #[test]
    fn a_test_that_skips_itself_did_not_pass() {
        let tally = read_all(&["SKIPPED: needs root", "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"]);
        assert_eq!(tally, Tally { passed: 1, skipped: 1, ..Tally::default() });
    }
}
