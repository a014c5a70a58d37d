//! A card that loses power: an ext4 file system of its own, on which everything that was not synced is gone after a cut. Needs root.
//!
//! A cut shuts the file system down without letting its journal finish, as a plug that is pulled does; what the kernel still held is thrown away
//! when the card is put back. The card does nothing by itself that would hide a missing sync: its journal commits on request only, and a rename
//! over a file does not push that file out.
//!
//! Cards are mounted in a mount namespace of their own. A program that makes a namespace for itself, a container or another test, takes a copy of
//! every mount that it sees along; while one copy is left, a file system that was shut down lives on, and would be mounted again as it is.
//!
//! Left out: a card that lies. Whatever reached the loop device stays, whether or not it was followed by a flush.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Card {
    image: PathBuf,
    /// In the guard's namespace.
    mount: PathBuf,
    /// Its top directory, held open so that a cut is one call; `None` while it is out.
    top: Option<File>,
    /// Holds the namespace.
    guard: Child,
}

const OPTIONS: &str = "loop,commit=300,noauto_da_alloc";
const INODES: &str = "32768";
const JOURNAL_MIB: &str = "size=32";
/// The kernel may still be busy with what a killed process held.
const UMOUNT_LIMIT_MS: u64 = 20_000;
const POLL_MS: u64 = 5;
/// Ends with the test, however that ends, and the namespace with it: in a process group of its own, it outlives even a SIGKILL of the test.
const GUARD: &str = r#"echo ready; cat >/dev/null; umount -l "$1""#;

impl Card {
    /// A blank card of at most `bytes`. The reason if this machine does not allow it.
    pub fn insert(dir: &Path, name: &str, bytes: u64) -> Result<Card, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("cutting the power of a file system needs root".into());
        }
        let (image, mount) = (dir.join(format!("{name}.img")), dir.join(name));
        let made = File::create(&image).and_then(|file| file.set_len(bytes)).and_then(|()| fs::create_dir(&mount));
        made.map_err(|error| error.to_string())?;
        // All of it now: nothing shall be at work in the background later.
        let whole = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-N", INODES, "-J", JOURNAL_MIB, "-E", whole]).arg(&image))?;
        let guard = set_guard(&mount)?;
        let mut card = Card { image, mount, top: None, guard };
        card.mount()?;
        Ok(card)
    }

    /// Where processes find it that were started with [`enter`](Card::enter).
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// The same for processes outside, such as the test.
    pub fn seen_from_outside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.guard.id(), self.mount.display()))
    }

    /// What to put before a command so that it sees the card.
    pub fn enter(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--mount=/proc/{}/ns/mnt", self.guard.id()), "--".into()]
    }

    /// Reads, writes and flushes that the card has seen; the same twice in a row: nobody uses it.
    pub fn activity(&self) -> String {
        fs::read_to_string(format!("/sys/block/{}/stat", self.device())).expect("a block device tells")
    }

    /// Every file and its length in bytes, as processes see it.
    pub fn files(&self) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.seen_from_outside()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                    Ok(meta) => drop(found.insert(entry.path(), meta.len())),
                    Err(_) => {}
                }
            }
        }
        found
    }

    /// All that was written to it so far stays.
    pub fn sync(&self) {
        rustix::fs::syncfs(self.top.as_ref().expect("a card that is in")).expect("it can be synced");
    }

    /// The power is gone: from now on nothing reaches the card.
    pub fn cut(&mut self) {
        let top = self.top.take().expect("a card that is in");
        shut_down(&top).unwrap_or_else(|error| panic!("{}: {error}", self.mount.display()));
    }

    /// After a cut, and after the end of all processes that used it: the power is back.
    pub fn restore(&mut self) {
        self.umount().and_then(|()| self.mount()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn mount(&mut self) -> Result<(), String> {
        run(self.inside("mount").args(["-t", "ext4", "-o", OPTIONS]).arg(&self.image).arg(&self.mount))?;
        let top = File::open(self.seen_from_outside()).map_err(|error| error.to_string())?;
        rustix::fs::syncfs(&top).map_err(|error| format!("{} did not come back whole: {error}", self.mount.display()))?;
        self.top = Some(top);
        Ok(())
    }

    fn umount(&mut self) -> Result<(), String> {
        self.top = None;
        let end = Instant::now() + Duration::from_millis(UMOUNT_LIMIT_MS);
        loop {
            match run(self.inside("umount").arg(&self.mount)) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(POLL_MS)),
                ended => return ended,
            }
        }
    }

    fn inside(&self, program: &str) -> Command {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(program);
        command
    }

    /// `loop3`
    fn device(&self) -> String {
        let number = fs::metadata(self.seen_from_outside()).expect("it is mounted").dev();
        let link = fs::read_link(format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number)));
        link.expect("a mounted device is known").file_name().expect("it has a name").to_string_lossy().into_owned()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.top = None;
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn set_guard(mount: &Path) -> Result<Child, String> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", GUARD, "guard"]).arg(mount);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn();
    let mut guard = spawned.map_err(|error| format!("unshare does not start: {error}"))?;
    let mut ready = String::new();
    let read = BufReader::new(guard.stdout.take().expect("piped")).read_line(&mut ready);
    match read {
        Ok(bytes) if bytes > 0 => Ok(guard),
        _ => {
            let _ = guard.wait();
            Err("a mount namespace cannot be made here".into())
        }
    }
}

/// EXT4_IOC_SHUTDOWN of linux/fs/ext4/ext4.h, without flushing the journal.
#[allow(unsafe_code)]
fn shut_down(top: impl AsFd) -> io::Result<()> {
    const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the kernel reads one u32 behind the pointer and keeps nothing of it. On anything but ext4 the call is an error.
    unsafe { rustix::ioctl::ioctl(top, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?;
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} does not work here: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program} does not start: {error}")),
    }
}
