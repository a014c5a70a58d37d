//! The life of a node, from its configuration to its exit code.

use std::process::ExitCode;

use crate::config::Config;

/// Runs the node until it is told to stop.
pub fn run(config: Config) -> ExitCode {
    log::error!(port = config.port, data_dir:% = config.data_dir.display(); "the node is not built yet");
    ExitCode::FAILURE
}

/// Gives a node that holds no log entry a new id, so that it may form a cluster again.
pub fn forget_formation(config: Config) -> ExitCode {
    log::error!(data_dir:% = config.data_dir.display(); "the node is not built yet");
    ExitCode::FAILURE
}
