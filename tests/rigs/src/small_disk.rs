//! A small file system of its own, to be filled: a file, formatted and mounted through a loop device. Needs root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub struct SmallDisk {
    mount: PathBuf,
}

const FILLER: &str = "filler";
const FILL_STEP_BYTES: usize = 64 * 1024;

impl SmallDisk {
    /// The reason if this machine does not allow it.
    pub fn mount(dir: &Path, name: &str, bytes: u64) -> Result<SmallDisk, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a small file system needs root".into());
        }
        let image = dir.join(format!("{name}.img"));
        let mount = dir.join(name);
        File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .and_then(|()| fs::create_dir(&mount))
            .map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q".as_ref(), "-m".as_ref(), "0".as_ref(), image.as_ref()])?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mount.as_ref()])?;
        Ok(SmallDisk { mount })
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.mount.join(FILLER)).expect("a file can be made");
        let block = vec![0x5a; FILL_STEP_BYTES];
        while filler.write_all(&block).and_then(|()| filler.sync_data()).is_ok() {}
    }

    /// Fills all but `bytes`.
    pub fn fill_but(&self, bytes: u64) {
        let stat = rustix::fs::statvfs(&self.mount).expect("it is mounted");
        let free = stat.f_bavail * stat.f_frsize;
        let filler = File::options().create(true).append(true).open(self.mount.join(FILLER)).expect("a file can be made");
        let len = filler.metadata().expect("just opened").len();
        let more = free.saturating_sub(bytes);
        rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), len, more).expect("there is room for that");
        filler.sync_all().expect("it can be synced");
    }

    /// Removes the file again.
    pub fn relieve(&self) {
        fs::remove_file(self.mount.join(FILLER)).expect("it was filled");
        let _ = File::open(&self.mount).and_then(|dir| dir.sync_all());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that is killed a moment later may still hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn run(program: &str, args: &[&std::ffi::OsStr]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} does not work here: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program} does not start: {error}")),
    }
}
