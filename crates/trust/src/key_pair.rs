//! A key that never leaves the machine on which it was made: only requests do.
//!
//! ECDSA P-256 and nothing else, here and in every handshake: one algorithm is one to get right.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::Error;

/// Longest private key that is read.
pub const KEY_MAX_BYTES: usize = 1 << 10;
/// Longest request that is read.
pub const REQUEST_MAX_BYTES: usize = 2 << 10;

pub struct KeyPair(rcgen::KeyPair);

impl KeyPair {
    pub fn make() -> Result<KeyPair, Error> {
        rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(KeyPair).map_err(no_randomness)
    }

    pub fn from_pkcs8(der: &[u8]) -> Result<KeyPair, Error> {
        Error::unless_within("private key", der.len(), KEY_MAX_BYTES)?;
        let der = PrivatePkcs8KeyDer::from(der);
        let read = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        read.map(KeyPair).map_err(|why| Error::malformed("private key", why))
    }

    /// The private key, as PKCS 8. Keep it where only its owner can read.
    pub fn key_der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// A request for a certificate of this key. It asks for no name: who its bearer is, is the signer's to say.
    pub fn csr(&self) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0).map_err(no_randomness)?.der().to_vec())
    }

    pub(crate) fn inner(&self) -> &rcgen::KeyPair {
        &self.0
    }

    pub(crate) fn into_inner(self) -> rcgen::KeyPair {
        self.0
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair")
    }
}

/// The public key of a request whose sender holds the private one. Nothing else in the request is looked at.
pub(crate) fn requested_key(csr_der: &[u8]) -> Result<rcgen::SubjectPublicKeyInfo, Error> {
    Error::unless_within("request", csr_der.len(), REQUEST_MAX_BYTES)?;
    let (rest, csr) = X509CertificationRequest::from_der(csr_der).map_err(|why| Error::malformed("request", why))?;
    if !rest.is_empty() {
        return Err(Error::malformed("request", "something follows it"));
    }
    let info = &csr.certification_request_info;
    let key = rcgen::SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|why| Error::malformed("request", why))?;
    if rcgen::PublicKeyData::algorithm(&key) != &PKCS_ECDSA_P256_SHA256 {
        return Err(Error::malformed("request", "its key is not for ECDSA P-256"));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, rcgen::PublicKeyData::der_bytes(&key))
        .verify(info.raw, &csr.signature_value.data)
        .map_err(|_| Error::UnprovenRequest)?;
    Ok(key)
}

/// Making a key and signing with it fail for want of randomness only.
pub(crate) fn no_randomness(why: rcgen::Error) -> Error {
    Error::NoRandomness(why.to_string())
}
