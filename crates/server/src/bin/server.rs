//! `rusty-kvd`, the node.

use std::process::ExitCode;

fn main() -> ExitCode {
    server::args::main()
}
