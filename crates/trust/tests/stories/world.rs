//! Clusters, their members, impostors, and a wire between two ends.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion,
};
use trust::{Authority, Clock, Credentials, Grant, KeyPair, Role, Subject, UnixSecs, Who};

/// A moment at which most of these stories play, and how long what is signed then is valid.
pub const NOW: UnixSecs = UnixSecs(1_800_000_000);
pub const LIFE_S: u64 = 90 * 24 * 3600;

pub struct Cluster {
    pub id: [u8; 16],
    pub authority: Authority,
}

impl Cluster {
    pub fn new(id: u8) -> Cluster {
        Cluster { id: [id; 16], authority: Authority::make([id; 16], "garden", NOW).unwrap() }
    }

    /// The same cluster with an authority more.
    pub fn successor(&self) -> Cluster {
        Cluster { id: self.id, authority: Authority::make(self.id, "garden", NOW).unwrap() }
    }

    pub fn node(&self, id: u64) -> Credentials {
        self.issue(Who::Node(id), NOW, LIFE_S)
    }

    pub fn client(&self, id: u64) -> Credentials {
        self.issue(Who::Client { id, grant: Grant { role: Role::Admin, prefix: Vec::new() } }, NOW, LIFE_S)
    }

    pub fn issue(&self, who: Who, now: UnixSecs, life_s: u64) -> Credentials {
        let key = KeyPair::make().unwrap();
        let leaf = self.authority.sign(&key.csr().unwrap(), &Subject { cluster_id: self.id, who }, now, life_s).unwrap();
        Credentials { leaf, key: key.key_der().to_vec(), authorities: vec![self.authority.cert_der().to_vec()] }
    }

    pub fn name(&self) -> ServerName<'static> {
        trust::server_name(&self.id)
    }

    /// What somebody with the authority's own key could sign who does not keep to its rules.
    pub fn misuse(&self, uris: &[String], usages: &[ExtendedKeyUsagePurpose]) -> Credentials {
        forge(&self.authority, self.authority.key_der(), uris, usages)
    }
}

/// A certificate that says it is of `authority`, signed with whatever key.
pub fn forge(authority: &Authority, signing_key: &[u8], uris: &[String], usages: &[ExtendedKeyUsagePurpose]) -> Credentials {
    let signing_key = PrivatePkcs8KeyDer::from(signing_key);
    let signing_key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&signing_key, &PKCS_ECDSA_P256_SHA256).unwrap();
    let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(authority.cert_der()), signing_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.extended_key_usages = usages.to_vec();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
    let host = trust::server_name(&authority.cluster_id()).to_str().into_owned();
    params.subject_alt_names.push(SanType::DnsName(host.try_into().unwrap()));
    let leaf = params.signed_by(&key, &issuer).unwrap().der().to_vec();
    Credentials { leaf, key: key.serialize_der(), authorities: vec![authority.cert_der().to_vec()] }
}

pub fn node_uri(cluster: &Cluster, id: u64) -> String {
    Subject { cluster_id: cluster.id, who: Who::Node(id) }.to_uri()
}

pub const BOTH: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

pub fn at(time: UnixSecs) -> Clock {
    Arc::new(move || time)
}

/// A clock that a story moves.
pub fn hand() -> (Arc<AtomicU64>, Clock) {
    let hand = Arc::new(AtomicU64::new(NOW.0));
    let read = hand.clone();
    (hand, Arc::new(move || UnixSecs(read.load(Ordering::Relaxed))))
}

pub fn serve(credentials: &Credentials) -> Arc<ServerConfig> {
    trust::server_config(credentials, at(NOW)).unwrap()
}

pub fn call(credentials: &Credentials) -> Arc<ClientConfig> {
    trust::client_config(credentials, at(NOW)).unwrap()
}

/// A server that shows `chain`, keeps to no rule, and believes every caller without asking for a name.
pub fn rogue_server(chain: &[&[u8]], key: &[u8]) -> Arc<ServerConfig> {
    rogue_server_speaking(chain, key, &rustls::version::TLS13)
}

pub fn rogue_server_speaking(chain: &[&[u8]], key: &[u8], version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity(chain, key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A caller that shows `chain`, and believes every server.
pub fn rogue_caller(chain: &[&[u8]], key: &[u8]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(Gullible)).with_client_cert_resolver(Arc::new(identity(chain, key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A caller without a certificate that believes every server.
pub fn stranger(version: &'static SupportedProtocolVersion, protocol: &[u8]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(Gullible)).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// Both ends of a connection whose handshake is over.
#[derive(Debug)]
pub struct Session {
    pub server: ServerConnection,
    pub caller: ClientConnection,
}

/// Which end refused, and why.
#[derive(Debug)]
pub enum Refused {
    ByServer(rustls::Error),
    ByCaller(rustls::Error),
}

/// A handshake, and a byte each way after it: a caller has not been let in before the server has answered it.
pub fn meet(server: &Arc<ServerConfig>, caller: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Refused> {
    let mut server = Connection::from(ServerConnection::new(server.clone()).unwrap());
    let mut caller = Connection::from(ClientConnection::new(caller.clone(), name).unwrap());
    while server.is_handshaking() || caller.is_handshaking() {
        let moved = carry(&mut caller, &mut server).map_err(Refused::ByServer)?;
        let back = carry(&mut server, &mut caller).map_err(Refused::ByCaller)?;
        assert!(moved + back > 0, "both ends wait for each other");
    }
    for answered in [false, true] {
        let (from, to) = if answered { (&mut server, &mut caller) } else { (&mut caller, &mut server) };
        from.writer().write_all(&[7]).unwrap();
        let carried = carry(from, to);
        carried.map_err(if answered { Refused::ByCaller } else { Refused::ByServer })?;
        let mut byte = [0];
        to.reader().read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
    match (server, caller) {
        (Connection::Server(server), Connection::Client(caller)) => Ok(Session { server, caller }),
        _ => unreachable!(),
    }
}

/// Why the server refused.
pub fn server_refuses(server: &Arc<ServerConfig>, caller: &Arc<ClientConfig>, name: ServerName<'static>) -> String {
    match meet(server, caller, name) {
        Err(Refused::ByServer(why)) => why.to_string(),
        other => panic!("the server did not refuse: {other:?}"),
    }
}

/// Why the caller refused.
pub fn caller_refuses(server: &Arc<ServerConfig>, caller: &Arc<ClientConfig>, name: ServerName<'static>) -> String {
    match meet(server, caller, name) {
        Err(Refused::ByCaller(why)) => why.to_string(),
        other => panic!("the caller did not refuse: {other:?}"),
    }
}

#[track_caller]
pub fn assert_says(text: &str, part: &str) {
    assert!(text.contains(part), "`{text}` does not say `{part}`");
}

/// Numbers for loops that try many things, the same in each run.
pub fn dice(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether key and certificate belong together is not asked.
fn identity(chain: &[&[u8]], key: &[u8]) -> SingleCertAndKey {
    let chain = chain.iter().map(|cert| CertificateDer::from(cert.to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    SingleCertAndKey::from(CertifiedKey::new(chain, provider().key_provider.load_private_key(key).unwrap()))
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<usize, rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(wire.len())
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
