//! What all handshakes have in common.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{PeerIncompatible, SupportedProtocolVersion};

use crate::{hex, judge};

/// Under which name the nodes of a cluster are verified, whatever the address that was dialled.
pub fn server_name(cluster_id: &[u8; 16]) -> ServerName<'static> {
    ServerName::DnsName(DnsName::try_from(host_name(cluster_id)).expect("hex digits and a suffix are a name"))
}

/// A name for one who knows only a token: TLS wants some name, and [`pinned_config`](crate::pinned_config) believes none.
pub fn joining_name() -> ServerName<'static> {
    ServerName::DnsName(DnsName::try_from_str(JOINING).expect("this is a name"))
}

pub(crate) fn host_name(cluster_id: &[u8; 16]) -> String {
    format!("{}.{DOMAIN}", hex::encode(cluster_id))
}

pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const DOMAIN: &str = "rusty-kv.internal";
const JOINING: &str = "join.rusty-kv.internal";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { signature_verification_algorithms: judge::ALGORITHMS, ..rustls::crypto::ring::default_provider() })
}

pub(crate) fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec()]
}

/// Answers for a version that is never offered, should a library ever ask.
pub(crate) fn too_old() -> rustls::Error {
    PeerIncompatible::Tls12NotOfferedOrEnabled.into()
}
