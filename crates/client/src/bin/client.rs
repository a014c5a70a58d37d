//! The `rusty-kv` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(client::cli::main(std::env::args_os()))
}
