//! Exit codes, as scripts rely on them.

use crate::error::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The key is absent, or a condition is false.
    No,
    Usage,
    NotExecuted,
    Unknown,
    Rejected,
    Verification,
    File,
    /// `status --check`
    Degraded,
    /// `can-stop`
    MustNotStop,
    /// `status --check`
    Unavailable,
    /// Ctrl+C, as shells report it.
    Interrupted,
    /// That of the program that did the work.
    Passed(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::NotExecuted => 3,
            Exit::Unknown => 4,
            Exit::Rejected => 5,
            Exit::Verification => 6,
            Exit::File => 7,
            Exit::Degraded | Exit::MustNotStop => 10,
            Exit::Unavailable => 11,
            Exit::Interrupted => 130,
            Exit::Passed(code) => code,
        }
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Exit {
        match kind {
            Kind::NotExecuted => Exit::NotExecuted,
            Kind::Rejected => Exit::Rejected,
            Kind::Unknown => Exit::Unknown,
            Kind::Usage => Exit::Usage,
            Kind::File => Exit::File,
            // `rusty-kv list | head` is no failure.
            Kind::OutputClosed => Exit::Done,
            Kind::Verification => Exit::Verification,
        }
    }
}
