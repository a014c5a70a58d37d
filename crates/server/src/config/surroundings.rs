//! What a configuration takes from the process and the machine.

use std::ffi::OsString;
use std::path::PathBuf;

/// Read once at the start, so that all else is a function of it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Read if it exists and no other file is named.
    pub default_file: PathBuf,
    /// The environment.
    pub vars: Vec<(OsString, OsString)>,
    /// Empty if it cannot be found out.
    pub hostname: String,
}

pub const DEFAULT_FILE: &str = "/etc/rusty-kv/rusty-kv.toml";

impl Surroundings {
    pub fn of_process() -> Surroundings {
        // A hardened service may not see /proc/sys.
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
        Surroundings {
            default_file: PathBuf::from(DEFAULT_FILE),
            vars: std::env::vars_os().collect(),
            hostname: hostname.unwrap_or_default(),
        }
    }

    /// With these variables only, no file and the host name `pi1`.
    #[cfg(test)]
    pub fn with_vars(vars: &[(&str, &str)]) -> Surroundings {
        let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        Surroundings { default_file: PathBuf::from("/nonexistent/rusty-kv.toml"), vars, hostname: "pi1".to_owned() }
    }
}
