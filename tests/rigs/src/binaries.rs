//! The binaries under test: those that were built into the same target directory as the test.

use std::path::PathBuf;

/// `server` or `client`, as built by `cargo build --release --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let dir = test.parent().expect("a program lies in a directory");
    // Tests are built into PROFILE/deps, programs into PROFILE.
    let profile = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = profile.join(name);
    assert!(path.is_file(), "{} is missing; build it first: cargo build --release --workspace --bins", path.display());
    path
}
