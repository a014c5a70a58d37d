//! What it takes for a file's *name* to survive a power cut.
//!
//! Syncing a file makes its bytes durable, not its name: that lives in the directory. So a file is written under a temporary
//! name, synced, renamed, and its directory is synced; only then may anything refer to it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use crate::Error;

/// Data directories are nobody else's business.
const DIR_MODE: u32 = 0o700;

/// Makes the names in `dir` durable. A failure is never [`Error::NoSpace`]: nobody knows then which names are there, and that is
/// not cured by making room.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| Error::Io { what: "cannot sync", path: dir.into(), source })
}

/// Makes `dir` and its missing parents, durable up to the first one that existed.
pub(crate) fn create_dirs(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    create_dirs(parent)?;
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made.map_err(Error::io("cannot create", dir))?,
    }
    sync_dir(parent)
}

/// Puts a file of these bytes at `path`, in place of any other: after a crash there is the old file or the new one, whole.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temp = path.with_extension("new");
    File::create(&temp)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()))
        .map_err(Error::io("cannot write", &temp))?;
    rename(&temp, path)
}

/// Moves a synced file or directory to its final name within one directory, durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("cannot rename", from))?;
    sync_dir(parent_of(to))
}

/// Forgets a file, durable. None there is fine.
pub(crate) fn unlink(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("cannot remove", path)).and_then(|()| sync_dir(parent_of(path))),
    }
}

/// The directory that holds `path`'s name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new(if path.is_absolute() { "/" } else { "." }),
    }
}
