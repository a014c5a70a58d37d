//! Developer commands: `cargo xtask test`, `cargo xtask demo`, `cargo xtask bench` and `cargo xtask soak`.
//!
//! Promises that on a Debian machine with git, rustup and gcc alone each command installs what it needs, says every command it
//! installs with, and leaves no process behind, however it ends. It depends on no other crate, so that it builds in seconds before
//! anything that it installs is there.

mod args;
mod bench;
mod demo;
mod janitor;
mod json;
mod nodes;
mod packages;
mod soak;
mod stage;
mod suite;
mod tally;
mod unpacked;
mod workspace;

use std::process::ExitCode;

use args::Command;

/// The command line made no sense.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(complaint) => {
            eprintln!("{complaint}\n\n{}", args::usage());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match command {
        Command::Help => {
            println!("{}", args::usage());
            ExitCode::SUCCESS
        }
        Command::Test(request) => suite::run(&request),
        Command::Demo => demo::run(),
        Command::Bench(request) => bench::run(&request),
        Command::Soak(request) => soak::run(&request),
    }
}
