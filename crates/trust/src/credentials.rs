//! What a node or a client shows of itself, and whom it believes.

use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificate::{expires, issued};
use crate::judge::Judge;
use crate::{Error, Subject, UnixSecs, hash_of, subject_of};

/// Most authorities that are trusted at a time: the one that signs, those before it whose certificates are still about.
pub const AUTHORITIES_MAX: usize = 4;

#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The own certificate.
    pub leaf: Vec<u8>,
    /// Its private key, as PKCS 8.
    pub key: Vec<u8>,
    /// Certificates of all authorities trusted. While one is being replaced there are two.
    pub authorities: Vec<Vec<u8>>,
}

impl Credentials {
    pub fn subject(&self) -> Result<Subject, Error> {
        subject_of(&self.leaf)
    }

    /// The last second in which the own certificate is valid.
    pub fn expires(&self) -> Result<UnixSecs, Error> {
        expires(&self.leaf)
    }

    /// When two thirds of its life are over: early enough to outlast a month of the cluster being down.
    pub fn renew_at(&self) -> Result<UnixSecs, Error> {
        let (start, end) = (issued(&self.leaf)?.0, self.expires()?.0);
        let life = end.saturating_sub(start);
        Ok(UnixSecs(start.min(end) + life - life / 3))
    }

    /// Hash of the authority that signed the own certificate.
    pub fn signer(&self) -> Result<[u8; 32], Error> {
        self.signed().map(|signer| hash_of(signer))
    }

    /// What a handshake shows: the certificate and whoever signed it, so that one who knows only a hash of the latter can judge.
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        Ok(vec![CertificateDer::from(self.leaf.clone()), CertificateDer::from(self.signed()?.clone())])
    }

    fn signed(&self) -> Result<&Vec<u8>, Error> {
        self.authorities.iter().find(|authority| signed_by(&self.leaf, authority)).ok_or(Error::NoSigner)
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject().map(|subject| subject.to_uri());
        f.debug_struct("Credentials").field("subject", &subject).field("authorities", &self.authorities.len()).finish_non_exhaustive()
    }
}

/// Whether it is, apart from all time.
fn signed_by(leaf: &[u8], authority: &[u8]) -> bool {
    Judge::of_one(authority).is_ok_and(|judge| judge.has_signed(leaf))
}
