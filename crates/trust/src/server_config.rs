//! How a node answers.
//!
//! Invariants:
//! - A caller without a certificate is let in, for it may come with a token: what it may then ask is the service's to bound.
//! - A caller with a certificate that does not count is turned away: it is never treated as one without.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use crate::clock::GivenTime;
use crate::judge::{ALGORITHMS, Judge};
use crate::{Clock, Credentials, Error, Who, tls};

/// For a node. The clock is asked in each handshake; a change of credentials needs a new config.
pub fn server_config(credentials: &Credentials, clock: Clock) -> Result<Arc<ServerConfig>, Error> {
    let subject = credentials.subject()?;
    if !matches!(subject.who, Who::Node(_)) {
        return Err(Error::NotANode);
    }
    let callers = Arc::new(Callers(Judge::new(subject.cluster_id, &credentials.authorities)?));
    let mut config = ServerConfig::builder_with_details(tls::provider(), Arc::new(GivenTime(clock)))
        .with_protocol_versions(tls::VERSIONS)
        .expect("ring speaks TLS 1.3")
        .with_client_cert_verifier(callers)
        .with_single_cert(credentials.chain()?, credentials.key())
        .map_err(Error::Tls)?;
    config.alpn_protocols = tls::protocols();
    // A resumed session would not be judged again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Callers(Judge);

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A caller has one certificate or none: a hint would only tell strangers the cluster's name.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.admit_caller(leaf, now).map(|()| ClientCertVerified::assertion())
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
