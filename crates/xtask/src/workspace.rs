//! Where things are, and how cargo is called.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's top directory.
pub fn root() -> PathBuf {
    let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).ancestors().nth(2).expect("xtask lives two levels below the top").to_path_buf()
}

/// `CARGO_TARGET_DIR` if set, else `target` at the top.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |set| root().join(set))
}

/// A release binary of the workspace.
pub fn binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// The cargo that runs this program, at the top of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this program about itself must not reach the crates that the inner cargo builds: some build scripts watch these
    // variables, and would run again each time the outer command changes.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

/// Whether RocksDB, which compiles for a quarter of an hour, has been compiled already.
pub fn rocksdb_is_built() -> bool {
    let Ok(builds) = std::fs::read_dir(target_dir().join("release/build")) else { return false };
    builds
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("librocksdb-sys-") && entry.path().join("out/librocksdb.a").is_file())
}

/// Builds all binaries, with the same selection as the tests, so that both share one RocksDB.
pub fn build() -> Result<(), String> {
    let wait = if rocksdb_is_built() { "" } else { " (RocksDB compiles once: 5 to 20 minutes)" };
    println!("Building{wait} ...");
    match cargo().args(["build", "--release", "--workspace", "--bins"]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the build failed ({status})")),
        Err(error) => Err(format!("cargo did not start: {error}")),
    }
}
