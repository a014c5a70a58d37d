//! Space set aside for the day the disk is full.
//!
//! A preallocated file that is removed when the free space falls below the floor: what it frees must hold everything that may
//! still have to be written then, the entries not yet committed and one flush. On a small disk it is a share of the disk instead
//! and covers less; there the limit is met earlier.

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FallocateFlags;

use crate::{Error, durable, room};

/// The file, there or not.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

/// 16 MiB of uncommitted entries, written to the log and to its table, and a flush of 16 MiB.
const RESERVE_BYTES: u64 = 48 << 20;
const RESERVE_MAX_DISK_SHARE: u64 = 8;
/// `stat` counts blocks of this size, whatever the file system's.
const STAT_BLOCK_BYTES: u64 = 512;

impl Reserve {
    /// A reserve at `path`, sized for the disk there. Touches nothing yet.
    pub fn new(path: &Path) -> Result<Reserve, Error> {
        let (_, disk_bytes) = room::disk_of(path.parent().unwrap_or(path))?;
        Ok(Reserve { path: path.into(), bytes: RESERVE_BYTES.min(disk_bytes / RESERVE_MAX_DISK_SHARE) })
    }

    /// How much it sets aside.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the space is set aside now, as a whole.
    pub fn is_held(&self) -> bool {
        self.path.metadata().is_ok_and(|meta| meta.blocks() * STAT_BLOCK_BYTES >= self.bytes)
    }

    /// Gives the space back to the disk.
    pub fn release(&self) -> Result<(), Error> {
        durable::unlink(&self.path)
    }

    /// Sets the space aside (again). On an error nothing is held, and nothing used.
    pub fn restore(&self) -> Result<(), Error> {
        if self.is_held() {
            return Ok(());
        }
        let path = &self.path;
        let file = File::create(path).map_err(Error::io("cannot create", path))?;
        let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes)
            .map_err(std::io::Error::from)
            .and_then(|()| file.sync_all());
        if let Err(error) = allocated {
            durable::unlink(path)?;
            return Err(Error::io("cannot set space aside in", path)(error));
        }
        durable::sync_dir(path.parent().unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_reserve_takes_space_and_gives_it_back() {
        let scratch = Scratch::new();
        let reserve = Reserve::new(&scratch.join("reserve")).unwrap();
        assert!(!reserve.is_held());
        reserve.restore().unwrap();
        assert!(reserve.is_held());
        reserve.restore().unwrap();
        let allocated = scratch.join("reserve").metadata().unwrap().blocks() * STAT_BLOCK_BYTES;
        assert!(allocated >= reserve.bytes(), "{allocated} of {}", reserve.bytes());
        reserve.release().unwrap();
        assert!(!reserve.is_held());
        reserve.release().unwrap();
    }

    #[test]
    fn half_a_reserve_is_none() {
        let scratch = Scratch::new();
        let path = scratch.join("reserve");
        let reserve = Reserve::new(&path).unwrap();
        File::create(&path).unwrap().set_len(reserve.bytes()).unwrap();
        assert!(!reserve.is_held(), "a file of holes sets nothing aside");
        reserve.restore().unwrap();
        assert!(reserve.is_held());
    }
}
