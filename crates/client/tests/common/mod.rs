//! Runs the real `client` binary, and a test peer that misbehaves on command.

#![allow(dead_code)] // each test program uses a part

pub mod fake;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A user with an empty home directory, removed at the end.
pub struct User {
    pub home: PathBuf,
}

impl User {
    pub fn new(name: &str) -> User {
        let home = std::env::temp_dir().join(format!("rusty-kv-client-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&home);
        std::fs::create_dir(&home).unwrap();
        User { home }
    }

    /// The client with nothing of the surroundings in its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(args).env_clear().env("HOME", &self.home).current_dir(&self.home).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.spawn(self.command(args).stdin(Stdio::piped()));
        // A client that needs no input may end before it has taken all.
        let _all_taken = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    pub fn spawn(&self, command: &mut Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.home);
    }
}

/// The exit code must be `code`; returns stdout and stderr.
#[track_caller]
pub fn expect(output: Output, code: i32) -> (Vec<u8>, String) {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "stderr: {stderr}");
    (output.stdout, stderr)
}
