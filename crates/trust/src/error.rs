//! What can be wrong with what others sent, or with what was kept.

use crate::hex;

/// A fault of the world. None of them names a secret.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Error {
    #[error("the {what} has {bytes} bytes, more than the {most} allowed")]
    TooLong { what: &'static str, bytes: usize, most: usize },
    #[error("the {what} cannot be read: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the request is not signed with the key that it names")]
    UnprovenRequest,
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    #[error("no trusted authority has signed the certificate")]
    NoSigner,
    #[error("{} trusted authorities, but there can be 1 to {most}", .count)]
    Authorities { count: usize, most: usize },
    #[error("the certificate is of cluster {}, not of {}", hex::encode(.theirs), hex::encode(.ours))]
    OtherCluster { ours: [u8; 16], theirs: [u8; 16] },
    #[error("the certificate is a client's, not a node's")]
    NotANode,
    #[error("no authority with the pinned hash is in the chain")]
    NotPinned,
    #[error("no randomness: {0}")]
    NoRandomness(String),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
}

impl Error {
    pub(crate) fn malformed(what: &'static str, why: impl ToString) -> Error {
        Error::Malformed { what, why: why.to_string() }
    }

    /// Bounds what is about to be parsed.
    pub(crate) fn unless_within(what: &'static str, bytes: usize, most: usize) -> Result<(), Error> {
        if bytes > most { Err(Error::TooLong { what, bytes, most }) } else { Ok(()) }
    }
}
