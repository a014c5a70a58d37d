//! The mDNS daemon that most boards run beside our nodes, as Debian ships it, on one board of a LAN.
//!
//! It runs from the unpacked package with its own /run and without D-Bus, so that one that the machine itself runs is not disturbed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Board;
use crate::binaries::unpacked_avahi;

/// `$1`: directory with the files that it is shown; `$2`: its libraries; `$3`: the program.
const SCRIPT: &str = r#"
mount -t tmpfs tmpfs /run && mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 1
export LD_LIBRARY_PATH="$2"
exec "$3" --no-drop-root --no-chroot --no-rlimits --file "$1/avahi.conf"
"#;
/// Its own answer to a question nobody answers comes after 5 s.
const ANSWER_TIMEOUT_S: u64 = 15;

#[derive(Debug)]
pub struct Avahi {
    process: Child,
    log: PathBuf,
}

impl Avahi {
    /// Why it cannot be run here, if it cannot.
    pub fn missing() -> Option<String> {
        let program = program();
        (!program.is_file()).then(|| format!("{} is not there: the stage could not fetch Debian's package avahi-daemon", program.display()))
    }

    /// Calls the board `name`.local. Its files go below `dir`.
    pub fn start(board: &Board, name: &str, dir: &Path) -> Avahi {
        let dir = dir.join(format!("avahi-{name}"));
        fs::create_dir_all(&dir).expect("the scratch directory is writable");
        let write = |file: &str, text: String| fs::write(dir.join(file), text).expect("the scratch directory is writable");
        let with = |file: &str, line: &str| format!("{}{line}\n", fs::read_to_string(file).unwrap_or_default());
        write("passwd", with("/etc/passwd", "avahi:x:65533:65533::/:/bin/false"));
        write("group", with("/etc/group", "avahi:x:65533:"));
        write("avahi.conf", format!("[server]\nhost-name={name}\nenable-dbus=no\n"));
        let log = dir.join("log");
        let file = File::options().create(true).append(true).open(&log).expect("the scratch directory is writable");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(&dir).arg(libraries()).arg(program()).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let process = board.network.run(|| command.spawn()).expect("it starts");
        Avahi { process, log }
    }

    /// Whether it has begun to serve.
    pub fn is_up(&self) -> bool {
        self.log_text().contains("Server startup complete")
    }

    /// The address that it finds for a host, as a program on its board would be told.
    pub fn resolve(&self, host: &str) -> Result<Ipv4Addr, String> {
        let its_files = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        let socket = its_files.join("run/avahi-daemon/socket");
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(ANSWER_TIMEOUT_S)))?;
            stream.write_all(format!("RESOLVE-HOSTNAME-IPV4 {host}\n").as_bytes())?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        };
        let answer = ask().map_err(|error| error.to_string())?;
        let address = answer.strip_prefix('+').and_then(|answer| answer.split_whitespace().last());
        address.and_then(|address| address.parse().ok()).ok_or(answer)
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    unpacked_avahi().join("usr/sbin/avahi-daemon")
}

/// The directories of all architectures, of which there is one.
fn libraries() -> String {
    let roots = ["usr/lib", "lib"].map(|root| unpacked_avahi().join(root));
    let dirs = roots.iter().flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten()).map(|entry| entry.path());
    dirs.map(|dir| dir.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":")
}
