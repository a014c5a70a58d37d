//! The installed commands as a user runs them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::binaries::binary;

/// Runs the client in `home` with an almost empty environment.
pub fn client(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary("client"));
    command.args(args).current_dir(home).env_clear().env("HOME", home).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

/// Its stdout; panics unless it succeeds.
#[track_caller]
pub fn client_ok(home: &Path, args: &[&str]) -> Vec<u8> {
    let output = client(home, args);
    assert!(output.status.success(), "{args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The first join token in what a command wrote.
#[track_caller]
pub fn token_in(text: &str) -> String {
    text.split_whitespace().find(|word| word.starts_with("rkv1.")).unwrap_or_else(|| panic!("no token was printed: {text}")).to_owned()
}
