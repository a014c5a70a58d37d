//! What went wrong, what became of the request, and what to do now.

use proto::v1::Reason;

/// The end of a call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    /// Why, in the words of the wire; `Unspecified` where no node said so.
    pub reason: Reason,
    /// What was tried and what happened.
    pub message: String,
    /// What the user can do; empty when there is nothing to add.
    pub next: String,
}

/// What an error means for whoever has to decide about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing happened and nothing will: safe to try again.
    NotExecuted,
    /// The request or the caller is wrong; trying again changes nothing.
    Rejected,
    /// The write may take effect, now or later, or never.
    Unknown,
    /// The request does not say enough, for instance which of two clusters; nothing was sent.
    Usage,
    /// A local file or stream failed.
    File,
    /// Whoever reads our output has gone away.
    OutputClosed,
    /// The bytes are not those that were stored.
    Verification,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>, next: impl Into<String>) -> Error {
        Error { kind, reason: Reason::Unspecified, message: message.into(), next: next.into() }
    }

    pub(crate) fn because(self, reason: Reason) -> Error {
        Error { reason, ..self }
    }

    /// A local file or stream failed; `what` says in doing what.
    pub(crate) fn file(what: impl Into<String>, source: std::io::Error) -> Error {
        let kind = if source.kind() == std::io::ErrorKind::BrokenPipe { Kind::OutputClosed } else { Kind::File };
        Error::new(kind, format!("{}: {source}", what.into()), "")
    }
}
