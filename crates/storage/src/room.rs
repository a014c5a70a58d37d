//! How much space is left, and the marks that say when to refuse.
//!
//! Two marks on the free space of the data directory's file system: below `low` the node takes no new data of its own accord,
//! below `floor`, a quarter of it, not even what others send. Both are checked before writing; a full disk met by a database is
//! the end of the process, so these marks must be far enough away from it.

use std::path::{Path, PathBuf};

use crate::Error;

/// Reads the free space around a directory.
#[derive(Clone, Debug)]
pub struct Room {
    dir: PathBuf,
    low_override: Option<u64>,
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomReport {
    /// What an unprivileged process may still use.
    pub free_bytes: u64,
    pub low_mark_bytes: u64,
    pub floor_bytes: u64,
    pub state: RoomState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomState {
    Enough,
    /// Below the low mark: no puts, no uploads, no pulls.
    Low,
    /// Below the floor: entries only out of the reserve.
    Floor,
}

/// The low mark on a disk of ordinary size: the larger of these, but no more than the share for small disks.
const LOW_MARK_BYTES: u64 = 512 << 20;
const LOW_MARK_PERCENT: u64 = 5;
const LOW_MARK_MAX_PERCENT: u64 = 25;
const FLOOR_DIVISOR: u64 = 4;

impl Room {
    /// `low_override` replaces the low mark that is derived from the disk's size.
    pub fn new(dir: &Path, low_override: Option<u64>) -> Room {
        Room { dir: dir.into(), low_override }
    }

    pub fn read(&self) -> Result<RoomReport, Error> {
        let (free_bytes, disk_bytes) = disk_of(&self.dir)?;
        Ok(RoomReport::of(free_bytes, self.low_override.unwrap_or_else(|| low_mark(disk_bytes))))
    }
}

impl RoomReport {
    fn of(free_bytes: u64, low_mark_bytes: u64) -> RoomReport {
        let floor_bytes = low_mark_bytes / FLOOR_DIVISOR;
        let state = match free_bytes {
            free if free < floor_bytes => RoomState::Floor,
            free if free < low_mark_bytes => RoomState::Low,
            _ => RoomState::Enough,
        };
        RoomReport { free_bytes, low_mark_bytes, floor_bytes, state }
    }
}

fn low_mark(disk_bytes: u64) -> u64 {
    let percent = |share: u64| disk_bytes / 100 * share;
    LOW_MARK_BYTES.max(percent(LOW_MARK_PERCENT)).min(percent(LOW_MARK_MAX_PERCENT))
}

/// Free bytes and size of the file system that holds `dir`.
pub(crate) fn disk_of(dir: &Path) -> Result<(u64, u64), Error> {
    let disk = rustix::fs::statvfs(dir).map_err(|error| Error::io("cannot read the free space of", dir)(error.into()))?;
    Ok((disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_low_mark_grows_with_the_disk_and_leaves_most_of_a_small_one() {
        assert_eq!(low_mark(100 << 30), (100 << 30) / 100 * 5);
        assert_eq!(low_mark(8 << 30), 512 * MIB);
        assert!(low_mark(64 * MIB) <= 16 * MIB);
    }

    #[test]
    fn the_marks_part_enough_from_low_and_floor() {
        let state = |free| RoomReport::of(free, 400).state;
        assert_eq!([state(400), state(399), state(100), state(99)], [RoomState::Enough, RoomState::Low, RoomState::Low, RoomState::Floor]);
    }

    #[test]
    fn the_disk_is_asked() {
        let scratch = Scratch::new();
        let report = Room::new(&scratch, Some(u64::MAX)).read().unwrap();
        assert!(report.free_bytes > 0);
        assert_eq!(report.state, RoomState::Floor);
        assert_eq!(Room::new(&scratch, Some(0)).read().unwrap().state, RoomState::Enough);
        assert!(matches!(Room::new(&scratch.join("nowhere"), None).read(), Err(Error::Io { .. })));
    }
}
