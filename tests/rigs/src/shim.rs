//! A library that stands between a node and the system, to make its disk slow.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk whose syncs can be made slow while nodes run on it.
#[derive(Debug)]
pub struct SlowSync {
    library: PathBuf,
    when: PathBuf,
    delay_ms: u64,
}

impl SlowSync {
    /// Compiles the library into `dir`.
    pub fn new(dir: &Path, delay_ms: u64) -> SlowSync {
        let library = dir.join("slow_sync.so");
        let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the rigs");
        let source = Path::new(&own).join("shim/slow_sync.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let status = compiler.status();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "cc {}: {status:?}", source.display());
        SlowSync { library, when: dir.join("syncs_are_slow"), delay_ms }
    }

    /// What a node's environment needs.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD".into(), text(&self.library)),
            ("SLOW_SYNC_WHEN".into(), text(&self.when)),
            ("SLOW_SYNC_MS".into(), self.delay_ms.to_string()),
        ]
    }

    /// From now on.
    pub fn begin(&self) {
        std::fs::write(&self.when, "").expect("the scratch directory is writable");
    }
}
