//! Where words go: data to stdout, everything else to stderr.

use std::io::{IsTerminal, Write, stderr, stdout};

use serde::Serialize;

use super::args::Format;
use super::exit::Exit;
use crate::error::{Error, Kind};
use crate::json;

pub struct Console {
    pub format: Format,
    pub quiet: bool,
}

impl Console {
    pub fn new(format: Format, quiet: bool) -> Console {
        Console { format, quiet }
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes data.
    pub fn data(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Error::file("cannot write to stdout", error))
    }

    /// Writes one object, one line.
    pub fn object(&self, value: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(value).expect("our own types are JSON");
        line.push(b'\n');
        self.data(&line)
    }

    /// Tells people that something is done.
    pub fn message(&self, text: &str) {
        if !self.quiet && !self.is_json() {
            say(text);
        }
    }

    /// Tells people what they must know before they decide.
    pub fn warn(&self, text: &str) {
        say(text);
    }

    /// Tells why the answer is no.
    pub fn no(&self, kind: &str, text: &str) -> Exit {
        if self.is_json() {
            say(&json::error(kind, &Error::new(Kind::Rejected, text, "")).to_string());
        } else {
            say(&format!("rusty-kv: {text}"));
        }
        Exit::No
    }

    /// Tells an error and what to do.
    pub fn fail(&self, error: &Error) -> Exit {
        let exit = Exit::from(error.kind);
        if error.kind == Kind::OutputClosed {
            return exit;
        }
        if self.is_json() {
            say(&json::error(kind_name(error.kind), error).to_string());
        } else if error.next.is_empty() {
            say(&format!("rusty-kv: {}", error.message));
        } else {
            say(&format!("rusty-kv: {}\n  {}", error.message, error.next));
        }
        exit
    }

    pub fn interrupted(&self) -> Exit {
        say("rusty-kv: interrupted; if something was being written, its outcome is unknown");
        Exit::Interrupted
    }

    /// Whether a progress bar has somebody to look at it.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && !self.is_json() && stderr().is_terminal()
    }

    /// Whether stdout may be coloured.
    pub fn colours(&self) -> bool {
        stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Text from the network must not move cursors: control characters but line ends are replaced. stderr that is closed is nobody's loss.
fn say(text: &str) {
    let harmless: String = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let _nobody_listens = writeln!(stderr().lock(), "{harmless}");
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::NotExecuted => "not_executed",
        Kind::Rejected => "rejected",
        Kind::Unknown => "unknown",
        Kind::Usage => "usage",
        Kind::File | Kind::OutputClosed => "file",
        Kind::Verification => "verification",
    }
}
