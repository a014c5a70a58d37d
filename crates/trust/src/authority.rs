//! What signs the certificates of one cluster.
//!
//! Invariants:
//! - An authority is of one cluster, named in its own certificate, and signs for no other.
//! - It has no end of its own: a cluster must not stop because nobody looked after it for years. It ends by being dropped.
//! - It signs bearers, never other authorities. A chain has exactly one link.
//! - A node's certificate can serve and call, a client's can only call.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use ring::digest;
use rustls::pki_types::CertificateDer;

use crate::clock::{BEGINNING, NO_END};
use crate::grant::PREFIX_MAX_BYTES;
use crate::key_pair::{no_randomness, requested_key};
use crate::subject::SCHEME;
use crate::{Error, KeyPair, Subject, UnixSecs, Who, certificate, hex, tls};

/// Longest cluster name that a certificate can carry.
pub const CLUSTER_NAME_MAX_BYTES: usize = 64;

pub struct Authority {
    cluster_id: [u8; 16],
    cert: Vec<u8>,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// A new one, with a new key.
    pub fn make(cluster_id: [u8; 16], cluster_name: &str, now: UnixSecs) -> Result<Authority, Error> {
        Error::unless_within("cluster name", cluster_name.len(), CLUSTER_NAME_MAX_BYTES)?;
        let key = KeyPair::make()?;
        let serial = certificate::new_serial(now)?;
        // The serial makes two authorities of one cluster differ by name, so that a signer is found by trying one of them.
        let mut params = blank(&format!("rusty-kv authority {}", hex::encode(&serial)), &serial, NO_END);
        params.distinguished_name.push(DnType::OrganizationName, cluster_name);
        params.subject_alt_names.push(uri(&own_uri(&cluster_id)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let cert = params.self_signed(key.inner()).map_err(no_randomness)?.der().to_vec();
        Ok(Authority { cluster_id, cert, issuer: Issuer::new(params, key.into_inner()) })
    }

    /// One that was made before.
    pub fn from_der(cert_der: &[u8], key_pkcs8_der: &[u8]) -> Result<Authority, Error> {
        let key = KeyPair::from_pkcs8(key_pkcs8_der)?.into_inner();
        let cluster_id = cluster_of(cert_der)?;
        let certified = certificate::read(cert_der, |cert| Ok(cert.subject_public_key_info().to_vec()))?;
        if certified != key.subject_public_key_info() {
            return Err(Error::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(cert_der), key).map_err(|why| Error::malformed("authority", why))?;
        Ok(Authority { cluster_id, cert: cert_der.to_vec(), issuer })
    }

    pub fn cluster_id(&self) -> [u8; 16] {
        self.cluster_id
    }

    pub fn cert_der(&self) -> &[u8] {
        &self.cert
    }

    /// The private key, as PKCS 8. Whoever has it can sign for the cluster.
    pub fn key_der(&self) -> &[u8] {
        self.issuer.key().serialized_der()
    }

    /// What tokens pin it by.
    pub fn hash(&self) -> [u8; 32] {
        hash_of(&self.cert)
    }

    /// A certificate for the key of a request, with the subject given here, valid until `life_s` from `now`. Whatever else the request
    /// asks for is not heard.
    pub fn sign(&self, csr_der: &[u8], subject: &Subject, now: UnixSecs, life_s: u64) -> Result<Vec<u8>, Error> {
        if subject.cluster_id != self.cluster_id {
            return Err(Error::OtherCluster { ours: self.cluster_id, theirs: subject.cluster_id });
        }
        let (name, usages) = match &subject.who {
            Who::Node(id) => (format!("node {id:016x}"), vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]),
            Who::Client { id, grant } => {
                Error::unless_within("prefix", grant.prefix.len(), PREFIX_MAX_BYTES)?;
                (format!("client {id:016x}"), vec![ExtendedKeyUsagePurpose::ClientAuth])
            }
        };
        let key = requested_key(csr_der)?;
        let mut params = blank(&name, &certificate::new_serial(now)?, UnixSecs(now.0.saturating_add(life_s)));
        params.subject_alt_names = vec![uri(&subject.to_uri()), SanType::DnsName(ia5(&tls::host_name(&self.cluster_id)))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        Ok(params.signed_by(&key, &self.issuer).map_err(no_randomness)?.der().to_vec())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster_id", &hex::encode(&self.cluster_id)).field("hash", &hex::encode(&self.hash())).finish()
    }
}

/// What a token names an authority by: SHA-256 of its certificate.
pub fn hash_of(cert_der: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, cert_der).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The cluster that an authority's certificate says it is of; no bearer's certificate is taken for one.
pub(crate) fn cluster_of(cert_der: &[u8]) -> Result<[u8; 16], Error> {
    certificate::read(cert_der, |cert| {
        let id = certificate::only_uri(cert)?.strip_prefix(SCHEME).and_then(|rest| rest.strip_suffix(AUTHORITY));
        id.and_then(hex::decode_array).ok_or_else(|| Error::malformed("authority", "it names no cluster"))
    })
}

const AUTHORITY: &str = "/authority";

fn own_uri(cluster_id: &[u8; 16]) -> String {
    format!("{SCHEME}{}{AUTHORITY}", hex::encode(cluster_id))
}

fn blank(name: &str, serial: &[u8], end: UnixSecs) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_before = at(BEGINNING).into();
    // Later than this cannot be written, and panics if tried.
    params.not_after = at(end.min(NO_END)).into();
    params
}

fn at(time: UnixSecs) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.0)
}

fn uri(text: &str) -> SanType {
    SanType::URI(ia5(text))
}

fn ia5(text: &str) -> rcgen::string::Ia5String {
    text.try_into().expect("names of ours are ASCII")
}
