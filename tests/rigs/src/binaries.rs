//! The binaries under test: those that were built into the same target directory as the test.

use std::path::PathBuf;

/// The server of the control build, which can be told to have a fault (`RUSTY_KV_PLANTED`). The stages that need it build it.
pub fn control_server() -> PathBuf {
    let path = target_dir().join("controls/server");
    let build = "cargo build --release --workspace --features server/planted --bin server, then copy it there";
    assert!(path.is_file(), "{} is missing; `cargo xtask test` makes it: {build}", path.display());
    path
}

/// Debian's avahi-daemon and its libraries, unpacked and not installed; there if the stage that needs them could fetch them.
pub fn unpacked_avahi() -> PathBuf {
    target_dir().join("avahi/unpacked")
}

/// `server` or `client`, as built by `cargo build --release --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(path.is_file(), "{} is missing; build it first: cargo build --release --workspace --bins", path.display());
    path
}

fn target_dir() -> PathBuf {
    profile_dir().parent().expect("a profile lies in the target directory").to_path_buf()
}

/// Tests are built into PROFILE/deps, programs into PROFILE.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let dir = test.parent().expect("a program lies in a directory");
    let profile = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    profile.to_path_buf()
}
