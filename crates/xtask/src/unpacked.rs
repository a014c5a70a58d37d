//! Programs of Debian that are run from where they are unpacked. They are never installed: an installed daemon would start by itself, and stay.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::packages;
use crate::workspace;

/// Debian packages, and one file of them that is wanted.
pub struct Unpacked {
    /// Below the target directory.
    pub dir: &'static str,
    pub packages: &'static [&'static str],
    /// Its path in the file system.
    pub program: &'static str,
}

impl Unpacked {
    /// Fetches and unpacks, once; the program.
    pub fn fetch(&self) -> Result<PathBuf, String> {
        let dir = workspace::target_dir().join(self.dir);
        let program = dir.join("unpacked").join(self.program);
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let script =
            format!("apt-get download {} && for package in *.deb; do dpkg -x \"$package\" unpacked; done", self.packages.join(" "));
        let attempt = || {
            println!("+ cd {} && {script}", dir.display());
            let status = Command::new("sh").args(["-c", &script]).current_dir(&dir).status();
            status.is_ok_and(|status| status.success()) && program.is_file()
        };
        // A fresh machine has no package lists.
        if attempt() || (packages::has_tool("apt-get") && packages::apt_get(&["update"]).is_ok() && attempt()) {
            return Ok(program);
        }
        Err(format!("{} could not be fetched", self.packages[0]))
    }
}
