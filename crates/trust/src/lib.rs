//! Who may speak to whom: a cluster's own authorities, the certificates they sign, join tokens, and a TLS that believes nothing else.
//!
//! Promises:
//! - One cluster, one circle. A certificate counts only if an authority of this very cluster has signed it directly, its [`Subject`] names
//!   this cluster, and it is used for what it was signed for: a client is never taken for a node.
//! - No clock of any board is believed. Every certificate is valid from 1970 on, and its end is judged by the [`Clock`] that the caller
//!   brings, which in a cluster is the newest time that its log has seen.
//! - A request decides nothing but its own public key: [`Authority::sign`] writes the subject that it is told.
//! - A [`Token`] proves both ways: it names the authority that a joiner may believe, and its secret is proven by [`prove`] for one
//!   TLS session and one request only, so that neither a replay nor a relay of it helps.
//! - Whatever bytes come from outside are bounded and read once, into types, or refused with an [`Error`]. None of them makes a panic.
//! - TLS 1.3 with ECDSA P-256 and nothing older; no session is resumed, so that each connection is judged anew.
//! - No private key or secret is ever shown by `Debug`.
//!
//! Left out: all IO, where keys are kept, who is counted as a member, which ids are removed, and which tokens exist.

mod authority;
mod certificate;
mod client_config;
mod clock;
mod credentials;
mod error;
mod grant;
mod hex;
mod judge;
mod key_pair;
mod pinned;
mod proof;
mod random;
mod role;
mod server_config;
mod subject;
mod tls;
mod token;

pub use authority::{Authority, CLUSTER_NAME_MAX_BYTES, hash_of};
pub use certificate::{CERTIFICATE_MAX_BYTES, subject_of};
pub use client_config::client_config;
pub use clock::{Clock, UnixSecs};
pub use credentials::{AUTHORITIES_MAX, Credentials};
pub use error::Error;
pub use grant::{Grant, PREFIX_MAX_BYTES};
pub use key_pair::{KEY_MAX_BYTES, KeyPair, REQUEST_MAX_BYTES};
pub use pinned::pinned_config;
pub use proof::{exporter, prove, verify_proof};
pub use role::Role;
pub use server_config::server_config;
pub use subject::{Subject, Who};
pub use tls::{joining_name, server_name};
pub use token::{TOKEN_BYTES, Token};
