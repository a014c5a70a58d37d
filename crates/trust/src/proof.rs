//! That the sender of a request knows a token's secret, said in a way that is good for nothing else.
//!
//! Bound to three things: the secret's hash, this TLS session (its exporter, which a man in the middle has other than either side),
//! and the request whose key is to be signed.

use ring::{digest, hmac};
use rustls::ConnectionCommon;

use crate::Error;

const EXPORTER_LABEL: &[u8] = b"EXPORTER-rusty-kv-admission";

/// What both ends of one session know, and nobody else. Only once its handshake is over.
pub fn exporter<Side>(session: &ConnectionCommon<Side>) -> Result<[u8; 32], Error> {
    session.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(Error::Tls)
}

pub fn prove(secret_hash: &[u8; 32], exporter: &[u8; 32], csr: &[u8]) -> [u8; 32] {
    hmac::sign(&key(secret_hash), &message(exporter, csr)).as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

/// In constant time, so that a proof cannot be guessed byte by byte.
pub fn verify_proof(secret_hash: &[u8; 32], exporter: &[u8; 32], csr: &[u8], proof: &[u8]) -> bool {
    hmac::verify(&key(secret_hash), &message(exporter, csr), proof).is_ok()
}

/// Tells this message from whatever else may once be made with the same key.
const PURPOSE: &[u8] = b"rusty-kv admission v1";

fn key(secret_hash: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret_hash)
}

fn message(exporter: &[u8; 32], csr: &[u8]) -> Vec<u8> {
    [PURPOSE, exporter, digest::digest(&digest::SHA256, csr).as_ref()].concat()
}
