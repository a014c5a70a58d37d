//! What the disk can do to us.

use std::{
    io,
    path::{Path, PathBuf},
};

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

    #[error("no node lives in {}; name its directory with --data-dir", path.display())]
    Uninhabited { path: PathBuf },

    #[error("{} was written by a newer rusty-kv (format {found}, this program knows up to {known}); install the newer version again", path.display())]
    Newer { path: PathBuf, found: u8, known: u8 },

    #[error("{} is in use by another rusty-kvd; stop it first or give this one another --data-dir", path.display())]
    Locked { path: PathBuf },

    /// `forgot` says that a part is missing which only a disk loses. Otherwise parts were mixed or are not mounted, and only a person
    /// can tell what to do.
    #[error("{} does not belong together: {detail}", path.display())]
    Foreign { path: PathBuf, detail: String, forgot: bool },

    #[error("the cluster of {} is called \"{name}\"", path.display())]
    OtherName { path: PathBuf, name: String },

    /// The node has forgotten what others may count on, and must not come up under its id again.
    #[error("the node in {} must not come up under its id again: {reason}", path.display())]
    Suspect { path: PathBuf, reason: String },

    #[error("no space left for {what} {}", path.display())]
    NoSpace { what: &'static str, path: PathBuf },

    /// The index was asked of a log that does not reach it, or no longer does: it may have been truncated meanwhile.
    #[error("the log holds no entry {index}")]
    NotInLog { index: u64 },

    /// Something would be given up that others may count on.
    #[error("{} holds data: {detail}", path.display())]
    HoldsData { path: PathBuf, detail: String },
}

impl Error {
    /// Whether a start that fails this way has met a disk that forgot or spoiled what it held, so that the node can only go on under a
    /// new id, its files set aside.
    pub fn is_amnesia(&self) -> bool {
        matches!(self, Error::Corrupt { .. } | Error::Suspect { .. } | Error::Foreign { forgot: true, .. })
    }

    /// A failed call on `path`; `what` says what was tried ("cannot write"). A full disk gets its own variant.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { what: "writing", path: path.into() },
            _ => Error::Io { what, path: path.into(), source },
        }
    }
}
