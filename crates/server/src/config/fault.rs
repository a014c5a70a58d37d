//! What is wrong with a configuration, told so that the next step is plain.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    /// `line` counts from 1; 0 is the file as a whole.
    File {
        path: PathBuf,
        line: usize,
    },
    /// The variable's name.
    Env(String),
    /// Without the dashes.
    Flag(&'static str),
}

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub source: Source,
    /// Names the key and the value.
    pub problem: String,
    /// What is allowed, or what to do next.
    pub advice: String,
}

/// Everything that is wrong at once, in the order of the layers. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub faults: Vec<Fault>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line: 0 } => write!(f, "{}", path.display()),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Env(name) => write!(f, "environment {name}"),
            Source::Flag(long) => write!(f, "--{long}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.source, self.problem, self.advice)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => write!(f, "1 error in the configuration")?,
            n => write!(f, "{n} errors in the configuration")?,
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {}", fault.to_string().replace('\n', "\n  ")))
    }
}

impl std::error::Error for ConfigError {}

/// Longest piece of somebody's text that an error repeats.
const QUOTED_MAX_CHARS: usize = 80;

/// Somebody's text made fit for one line of an error.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String =
        text.chars().take(QUOTED_MAX_CHARS).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    if text.chars().nth(QUOTED_MAX_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}
