//! `cargo xtask bench`: builds, finds what is compared with, and hands over to the rigs' `bench` program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::args::BenchRequest;
use crate::packages;
use crate::workspace;

/// Debian's package of the store to compare with; unpacked, never installed.
const ETCD_PACKAGE: &str = "etcd-server";

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
        command.arg("--beside-etcd").arg(etcd()?);
    }
    Ok(command)
}

/// The program, unpacked below the target directory once.
fn etcd() -> Result<PathBuf, String> {
    let dir = workspace::target_dir().join("etcd");
    let program = dir.join("unpacked/usr/bin/etcd");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let script = format!("apt-get download {ETCD_PACKAGE} && dpkg -x {ETCD_PACKAGE}_*.deb unpacked");
    println!("+ cd {} && {script}", dir.display());
    match Command::new("sh").args(["-c", &script]).current_dir(&dir).status() {
        Ok(status) if status.success() && program.is_file() => Ok(program),
        _ => Err(format!("{ETCD_PACKAGE} could not be fetched; it needs Debian's package lists (apt-get update)")),
    }
}
