//! Ends what this program started, even when the program itself is killed.
//!
//! A shell waits on a pipe from us and keeps a list of process groups. The pipe closes when we end, by whatever cause (Ctrl+C,
//! a panic, SIGKILL); then the shell kills the groups still on its list and removes the directory it was given. A signal handler would
//! cover less, and would need code outside the standard library.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

const SCRIPT: &str = r#"
groups=" "
while read -r verb group; do
    case $verb in
    guard) groups="$groups$group " ;;
    forget) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"#;

pub struct Janitor {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    /// `remove`: a directory that shall not outlive this program.
    pub fn hire(remove: Option<&Path>) -> io::Result<Janitor> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(SCRIPT).arg("janitor").args(remove).stdin(Stdio::piped()).process_group(0);
        let mut shell = command.spawn()?;
        let pipe = shell.stdin.take();
        Ok(Janitor { shell, pipe })
    }

    /// Starts `command` in a process group of its own, so that the terminal's Ctrl+C reaches it through the janitor only, and together
    /// with whatever it started itself.
    pub fn spawn(&mut self, command: &mut Command) -> io::Result<Child> {
        let child = command.process_group(0).spawn()?;
        self.tell("guard", &child)?;
        Ok(child)
    }

    /// For a child whose end has been waited for: its number may belong to another process soon.
    pub fn forget(&mut self, child: &Child) {
        // A janitor that is gone has nobody to kill.
        let _ = self.tell("forget", child);
    }

    fn tell(&mut self, verb: &str, child: &Child) -> io::Result<()> {
        let pipe = self.pipe.as_mut().expect("open until dropped");
        writeln!(pipe, "{verb} {}", child.id())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.shell.wait();
    }
}

/// Kills a child started by [`Janitor::spawn`], with its whole group.
pub fn kill_group(child: &Child) {
    let _ = Command::new("sh").arg("-c").arg(format!("kill -s KILL -- -{}", child.id())).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    }

    #[test]
    fn what_is_guarded_dies_with_the_janitor_and_what_is_forgotten_does_not() {
        let dir = std::env::temp_dir().join(format!("xtask-janitor-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let mut janitor = Janitor::hire(Some(&dir)).unwrap();
        let mut children: Vec<Child> = (0..4).map(|_| janitor.spawn(&mut sleeper()).unwrap()).collect();
        janitor.forget(&children[1]);
        janitor.forget(&children[2]);
        drop(janitor);

        assert!(!dir.exists());
        for index in [0, 3] {
            assert!(!children[index].wait().unwrap().success(), "child {index} was killed");
        }
        for index in [1, 2] {
            assert!(children[index].try_wait().unwrap().is_none(), "child {index} lives on");
            kill_group(&children[index]);
            children[index].wait().unwrap();
        }
    }
}
