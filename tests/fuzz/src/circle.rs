//! One closed cluster, always the same, and somebody who would like to be its authority.
//!
//! The certificates were made once, by `examples/circle.rs`, so that an edit at some place means the same in every run. The rogue has an authority
//! of its own that says it is of the same cluster, and a certificate from it for the very node.

use std::sync::Arc;

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use rustls::{
    ClientConfig, ServerConfig,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SingleCertAndKey},
};
use trust::{Authority, Clock, Credentials, UnixSecs};

use crate::der;

pub const CLUSTER: [u8; 16] = [7; 16];
/// The node that its certificate names.
pub const NODE_ID: u64 = 1;
/// When everything was signed, and how long it is valid.
pub const NOW: UnixSecs = UnixSecs(1_800_000_000);
pub const LIFE_S: u64 = 90 * 86_400;

pub const AUTHORITY: &[u8] = include_bytes!("../circle/authority.der");
pub const AUTHORITY_KEY: &[u8] = include_bytes!("../circle/authority_key.der");
pub const NODE: &[u8] = include_bytes!("../circle/node.der");
pub const NODE_KEY: &[u8] = include_bytes!("../circle/node_key.der");
pub const CLIENT: &[u8] = include_bytes!("../circle/client.der");
pub const CLIENT_KEY: &[u8] = include_bytes!("../circle/client_key.der");
/// A request for a certificate of the node's key.
pub const REQUEST: &[u8] = include_bytes!("../circle/request.der");
pub const ROGUE: &[u8] = include_bytes!("../circle/rogue.der");
pub const ROGUE_KEY: &[u8] = include_bytes!("../circle/rogue_key.der");
/// From the rogue, for the node's own key.
pub const ROGUE_NODE: &[u8] = include_bytes!("../circle/rogue_node.der");

pub fn authority() -> Authority {
    Authority::from_der(AUTHORITY, AUTHORITY_KEY).expect("made by us")
}

pub fn node() -> Credentials {
    Credentials { leaf: NODE.to_vec(), key: NODE_KEY.to_vec(), authorities: vec![AUTHORITY.to_vec()] }
}

pub fn client() -> Credentials {
    Credentials { leaf: CLIENT.to_vec(), key: CLIENT_KEY.to_vec(), authorities: vec![AUTHORITY.to_vec()] }
}

pub fn clock() -> Clock {
    Arc::new(|| NOW)
}

pub fn server() -> Arc<ServerConfig> {
    trust::server_config(&node(), clock()).expect("made by us")
}

pub fn caller() -> Arc<ClientConfig> {
    trust::client_config(&client(), clock()).expect("made by us")
}

/// Shows `chain` whether or not the key belongs to it.
pub fn showing(chain: &[Vec<u8>], key: &[u8]) -> Arc<SingleCertAndKey> {
    let chain = chain.iter().map(|cert| CertificateDer::from(cert.clone())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, any_supported_type(&key).expect("made by us"))))
}

/// What is signed of a certificate or a request.
pub fn signed_part(whole: &[u8]) -> &[u8] {
    let (_, inside, _) = der::first(whole).expect("made by us");
    let (_, _, rest) = der::first(inside).expect("made by us");
    &inside[..inside.len() - rest.len()]
}

/// A certificate or a request with this part to be signed, and the signature made right.
pub fn signed(part: &[u8], key: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &random).expect("made by us");
    let signature = key.sign(&random, part).expect("the system gives randomness");
    let bits = der::element(der::BIT_STRING, &[&[0], signature.as_ref()].concat());
    der::element(der::SEQUENCE, &[part, ECDSA_WITH_SHA256, &bits].concat())
}

const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
