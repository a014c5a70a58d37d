//! What the disk can do to us.

use std::{io, path::PathBuf};

/// A fault of the disk, the file system or the bytes found there. None of these is a bug of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },

    /// The database engine refused. Latched by the caller: a failed write or sync is never tried again.
    #[error("{what}: {message}")]
    Engine { what: &'static str, message: String },

    #[error("{what} is damaged: {detail}")]
    Corrupt { what: String, detail: String },

    #[error("{} was written by a newer rusty-kv (format {found}, this program knows up to {known}); install the newer version again", path.display())]
    Newer { path: PathBuf, found: u8, known: u8 },

    #[error("{} is in use by another rusty-kvd; stop it first or give this one another --data-dir", path.display())]
    Locked { path: PathBuf },

    #[error("{} does not belong together: {detail}", path.display())]
    Foreign { path: PathBuf, detail: String },

    #[error("no space left for {what} {}", path.display())]
    NoSpace { what: &'static str, path: PathBuf },
}
