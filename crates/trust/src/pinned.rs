//! How one calls who has only a token: it knows the hash of an authority, and nothing else.
//!
//! Invariants:
//! - The authority must be in the chain that the server shows, byte for byte, and must have signed the server's certificate itself. One
//!   that merely lies beside it, which anybody can send who has once called a node, is worth nothing.
//! - The server is a node of the cluster that this authority is of.
//! - No time is judged but 1970, when every certificate is valid already: whoever joins may have no clock yet, and knows no cluster that
//!   could tell it. An expired certificate is therefore taken here; the token's own end is judged by the node that it is shown to.
//! - No certificate is shown, and the name that was dialled is not looked at.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::client_config::hardened;
use crate::clock::{BEGINNING, GivenTime};
use crate::judge::{ALGORITHMS, Judge, refused};
use crate::{Error, authority, tls};

/// For calls under [`joining_name`](crate::joining_name). Which cluster answered, its certificate tells:
/// [`subject_of`](crate::subject_of).
pub fn pinned_config(ca_hash: [u8; 32]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_details(tls::provider(), Arc::new(GivenTime(Arc::new(|| BEGINNING))))
        .with_protocol_versions(tls::VERSIONS)
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { ca_hash }))
        .with_no_client_auth();
    Arc::new(hardened(config))
}

/// A node sends two certificates. Hashing stops here, however many came.
const CHAIN_MAX: usize = 4;

#[derive(Debug)]
struct Pinned {
    ca_hash: [u8; 32],
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = others.iter().take(CHAIN_MAX).find(|cert| authority::hash_of(cert) == self.ca_hash);
        let judge = Judge::of_one(pinned.ok_or_else(|| refused(Error::NotPinned))?).map_err(refused)?;
        judge.admit_server(leaf, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls::too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}
