//! How a node or a client calls: it shows its certificate, and speaks only to a node of its own cluster.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use webpki::EndEntityCert;

use crate::clock::GivenTime;
use crate::judge::{ALGORITHMS, Judge, explained};
use crate::{Clock, Credentials, Error, tls};

/// For calls under the name that [`server_name`](crate::server_name) gives. The clock is asked in each handshake; a change of
/// credentials needs a new config.
pub fn client_config(credentials: &Credentials, clock: Clock) -> Result<Arc<ClientConfig>, Error> {
    let servers = Arc::new(Servers(Judge::new(credentials.subject()?.cluster_id, &credentials.authorities)?));
    let config = ClientConfig::builder_with_details(tls::provider(), Arc::new(GivenTime(clock)))
        .with_protocol_versions(tls::VERSIONS)
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(servers)
        .with_client_auth_cert(credentials.chain()?, credentials.key())
        .map_err(Error::Tls)?;
    Ok(Arc::new(hardened(config)))
}

pub(crate) fn hardened(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = tls::protocols();
    // A resumed session would not be judged again.
    config.resumption = Resumption::disabled();
    // A node has one certificate, so the name chooses nothing: it would only tell listeners which cluster this is.
    config.enable_sni = false;
    config
}

#[derive(Debug)]
struct Servers(Judge);

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.admit_server(leaf, now)?;
        EndEntityCert::try_from(leaf).and_then(|cert| cert.verify_is_valid_for_subject_name(name)).map_err(explained)?;
        Ok(ServerCertVerified::assertion())
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
