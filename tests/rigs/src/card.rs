//! A card that loses power: an ext4 file system of its own, on which everything that was not synced is gone after a cut. Needs root.
//!
//! A cut shuts the file system down without letting its journal finish, as a plug that is pulled does; what the kernel still held is thrown away
//! when the card is put back. The card does nothing by itself that would hide a missing sync: its journal commits on request only, and a rename
//! over a file does not push that file out.
//!
//! Left out: a card that lies. Whatever reached the loop device stays, whether or not it was followed by a flush.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Card {
    image: PathBuf,
    mount: PathBuf,
    /// Its top directory, held open so that a cut is one call; `None` while it is out.
    top: Option<File>,
    guard: Child,
}

const OPTIONS: &str = "loop,commit=300,noauto_da_alloc";
const INODES: &str = "32768";
const JOURNAL_MIB: &str = "size=32";
const BLOCK_BYTES: u64 = 4096;
/// The kernel may still be busy with what a killed process held.
const UMOUNT_LIMIT_MS: u64 = 20_000;
const POLL_MS: u64 = 5;
/// Takes the card out when the test ends, however it ends: in a process group of its own, it outlives even a SIGKILL of the test.
const GUARD: &str = r#"cat >/dev/null; umount -l "$1" 2>/dev/null; true"#;

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
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&mount).stdin(Stdio::piped()).process_group(0);
        let guard = guard.spawn().map_err(|error| error.to_string())?;
        let mut card = Card { image, mount, top: None, guard };
        card.mount()?;
        Ok(card)
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Appended bytes that have no place on the card yet: they are lost if the power goes now.
    pub fn unplaced_bytes(&self) -> u64 {
        let blocks = fs::read_to_string(format!("/sys/fs/ext4/{}/delayed_allocation_blocks", self.device()));
        blocks.ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) * BLOCK_BYTES
    }

    /// Reads, writes and flushes that the card has seen; the same twice in a row: nobody uses it.
    pub fn activity(&self) -> String {
        fs::read_to_string(format!("/sys/block/{}/stat", self.device())).expect("a block device tells")
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
        run(Command::new("mount").args(["-t", "ext4", "-o", OPTIONS]).arg(&self.image).arg(&self.mount))?;
        self.top = Some(File::open(&self.mount).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn umount(&mut self) -> Result<(), String> {
        self.top = None;
        let end = Instant::now() + Duration::from_millis(UMOUNT_LIMIT_MS);
        loop {
            match run(Command::new("umount").arg(&self.mount)) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(POLL_MS)),
                ended => return ended,
            }
        }
    }

    /// `loop3`
    fn device(&self) -> String {
        let number = fs::metadata(&self.mount).expect("it is mounted").dev();
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
