//! Decides whether a certificate shown in a handshake counts.
//!
//! Invariants:
//! - It was signed by one of the authorities itself. What else a peer sends along is no link of a chain.
//! - It was signed for the part that its bearer plays: a server must be allowed to serve, a caller to call. Absence of a purpose is not
//!   permission.
//! - It names a member of the one cluster whose judge this is, and a server is a node.
//! - It has not ended at the time given.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::read;
use crate::clock::BEGINNING;
use crate::credentials::AUTHORITIES_MAX;
use crate::{Error, Subject, Who, authority, subject_of};

/// The only signatures believed, of certificates and of handshakes.
pub const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[webpki::ring::ECDSA_P256_SHA256])],
};

#[derive(Debug)]
pub struct Judge {
    cluster_id: [u8; 16],
    anchors: Vec<TrustAnchor<'static>>,
}

impl Judge {
    /// Believes all of `authorities`, for one cluster.
    pub fn new(cluster_id: [u8; 16], authorities: &[Vec<u8>]) -> Result<Judge, Error> {
        let count = authorities.len();
        if !(1..=AUTHORITIES_MAX).contains(&count) {
            return Err(Error::Authorities { count, most: AUTHORITIES_MAX });
        }
        let anchors = authorities.iter().map(|cert| anchor(cert)).collect::<Result<_, _>>()?;
        Ok(Judge { cluster_id, anchors })
    }

    /// Believes one authority, for the cluster that it says it is of.
    pub fn of_one(authority: &[u8]) -> Result<Judge, Error> {
        Ok(Judge { cluster_id: authority::cluster_of(authority)?, anchors: vec![anchor(authority)?] })
    }

    /// A server's certificate: only a node may serve.
    pub fn admit_server(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        match self.admit(leaf, SERVE, now)?.who {
            Who::Node(_) => Ok(()),
            Who::Client { .. } => Err(refused(Error::NotANode)),
        }
    }

    /// A caller's certificate: a node's or a client's.
    pub fn admit_caller(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        self.admit(leaf, CALL, now).map(|_| ())
    }

    pub fn has_signed(&self, leaf: &[u8]) -> bool {
        self.chains(&CertificateDer::from(leaf), CALL, BEGINNING.for_tls()).is_ok()
    }

    fn admit(&self, leaf: &CertificateDer<'_>, part: &'static [u8], now: UnixTime) -> Result<Subject, rustls::Error> {
        self.chains(leaf, part, now)?;
        let subject = subject_of(leaf).map_err(refused)?;
        if subject.cluster_id != self.cluster_id {
            return Err(refused(Error::OtherCluster { ours: self.cluster_id, theirs: subject.cluster_id }));
        }
        Ok(subject)
    }

    fn chains(&self, leaf: &CertificateDer<'_>, part: &'static [u8], now: UnixTime) -> Result<(), rustls::Error> {
        // A bound on what is parsed, before anything has been proven.
        read(leaf, |_| Ok(())).map_err(refused)?;
        let cert = EndEntityCert::try_from(leaf).map_err(explained)?;
        cert.verify_for_usage(ALGORITHMS.all, &self.anchors, &[], now, KeyUsage::required(part), None, None).map_err(explained)?;
        Ok(())
    }
}

/// A refusal that TLS has no words for; the peer hears only that its certificate is unacceptable.
pub fn refused(why: Error) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

/// Extended key usage `id-kp-serverAuth` and `id-kp-clientAuth`, RFC 5280, section 4.2.1.12.
const SERVE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CALL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

fn anchor(cert: &[u8]) -> Result<TrustAnchor<'static>, Error> {
    authority::cluster_of(cert)?;
    let der = CertificateDer::from(cert);
    let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|why| Error::malformed("authority", why))?;
    Ok(anchor.to_owned())
}

/// In words of TLS where it has some, so that a peer learns that its certificate has expired from the alert alone.
pub fn explained(why: webpki::Error) -> rustls::Error {
    match why {
        webpki::Error::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        webpki::Error::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        webpki::Error::CertNotValidForName(_) => CertificateError::NotValidForName,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
    .into()
}
