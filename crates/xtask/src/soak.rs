//! `cargo xtask soak`: the simulator, seed after seed, until the time is up.

use std::process::ExitCode;

use crate::args::SoakRequest;
use crate::packages;
use crate::stage;

pub fn run(request: &SoakRequest) -> ExitCode {
    if let Err(complaint) = packages::install_missing(packages::BUILD) {
        eprintln!("soak failed: {complaint}");
        return ExitCode::FAILURE;
    }
    let mut command = stage::simulator(&["soak", "--minutes", &request.minutes.to_string()]);
    if let Some(seed) = request.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak did not start: {error}");
            ExitCode::FAILURE
        }
    }
}
