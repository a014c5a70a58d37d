//! A library that stands between a node and the system, to make its disk slow.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the library into `dir`. Set as `LD_PRELOAD`, it makes each sync take `SLOW_SYNC_MS` longer.
pub fn slow_sync_library(dir: &Path) -> PathBuf {
    let library = dir.join("slow_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/slow_sync.c");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "cc {}: {status:?}", source.display());
    library
}
