//! Where a node keeps its data when nobody says where.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Surroundings;

/// The directory that systemd gave, else one per port in the user's state directory. `None` if the user has no home.
pub fn default(port: u16, around: &Surroundings) -> Option<PathBuf> {
    let var = |name: &str| around.vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str());
    // systemd separates several directories with colons; the first is ours.
    let given = var("STATE_DIRECTORY").and_then(|list| list.to_str()).and_then(|list| list.split(':').next()).filter(|dir| !dir.is_empty());
    if let Some(directory) = given {
        return Some(PathBuf::from(directory));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let absolute = |path: &&OsStr| path.as_encoded_bytes().starts_with(b"/");
    let state = match var("XDG_STATE_HOME").filter(absolute) {
        Some(state) => PathBuf::from(state),
        None => PathBuf::from(var("HOME").filter(absolute)?).join(".local/state"),
    };
    Some(state.join("rusty-kv").join(port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_systemds_then_the_users() {
        for (vars, found) in [
            (&[("STATE_DIRECTORY", "/var/lib/rusty-kv:/var/lib/other"), ("HOME", "/root")][..], Some("/var/lib/rusty-kv")),
            (&[("STATE_DIRECTORY", ""), ("HOME", "/home/u")], Some("/home/u/.local/state/rusty-kv/50052")),
            (&[("XDG_STATE_HOME", "/s"), ("HOME", "/home/u")], Some("/s/rusty-kv/50052")),
            (&[("XDG_STATE_HOME", "s"), ("HOME", "/home/u")], Some("/home/u/.local/state/rusty-kv/50052")),
            (&[("HOME", "")], None),
            (&[], None),
        ] {
            let around = Surroundings::with_vars(vars);
            assert_eq!(default(50052, &around), found.map(PathBuf::from), "{vars:?}");
        }
    }
}
