//! `cargo xtask bench`: builds, finds what is compared with, and hands over to the rigs' `bench` program.

use std::process::{Command, ExitCode};

use crate::args::BenchRequest;
use crate::packages;
use crate::unpacked::Unpacked;
use crate::workspace;

/// The store to compare with.
const ETCD: Unpacked = Unpacked { dir: "etcd", packages: &["etcd-server"], program: "usr/bin/etcd" };

pub fn run(request: &BenchRequest) -> ExitCode {
    match prepare(request).and_then(|mut command| command.status().map_err(|error| format!("bench did not start: {error}"))) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => complain(&format!("it ended with {status}")),
        Err(complaint) => complain(&complaint),
    }
}

fn complain(complaint: &str) -> ExitCode {
    eprintln!("bench failed: {complaint}");
    ExitCode::FAILURE
}

fn prepare(request: &BenchRequest) -> Result<Command, String> {
    packages::install_missing(packages::BUILD)?;
    workspace::build()?;
    let mut command = Command::new(workspace::binary("bench"));
    command.args(&request.rest);
    if request.beside_etcd {
        command.arg("--beside-etcd").arg(ETCD.fetch()?);
    }
    Ok(command)
}
