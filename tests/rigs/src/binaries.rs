//! The binaries under test: those that were built into the same target directory as the test.

use std::path::PathBuf;

/// `server` or `client`, as built by `cargo build --release --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("tests are built into PROFILE/deps");
    let path = profile.join(name);
    assert!(path.is_file(), "{} is missing; build it first: cargo build --release --workspace --bins", path.display());
    path
}
