//! Where a node listens to those on its own board.

use std::path::{Path, PathBuf};

use super::Surroundings;

const NAME: &str = "control.sock";

/// In the directory that systemd made for it, else beside the data.
pub fn socket(data_dir: &Path, around: &Surroundings) -> PathBuf {
    let given = around.vars.iter().find(|(name, _)| name == "RUNTIME_DIRECTORY").and_then(|(_, value)| value.to_str());
    // systemd separates several directories with colons; the first is ours.
    match given.and_then(|list| list.split(':').next()).filter(|dir| !dir.is_empty()) {
        Some(directory) => Path::new(directory).join(NAME),
        None => data_dir.join(NAME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_systemd_says_else_beside_the_data() {
        let data = Path::new("/var/lib/rusty-kv");
        for (vars, found) in [
            (&[("RUNTIME_DIRECTORY", "/run/rusty-kv:/run/other")][..], "/run/rusty-kv/control.sock"),
            (&[("RUNTIME_DIRECTORY", "")], "/var/lib/rusty-kv/control.sock"),
            (&[], "/var/lib/rusty-kv/control.sock"),
        ] {
            assert_eq!(socket(data, &Surroundings::with_vars(vars)), Path::new(found), "{vars:?}");
        }
    }
}
