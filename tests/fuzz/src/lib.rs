//! Bytes from outside, thrown at what reads them.
//!
//! Each target takes any bytes at all and must return: a panic is a finding, and so is a promise of the reader that does not hold
//! for what it accepted. The programs in `libfuzzer` look for such bytes, `tests/replay.rs` shows that the ones in `corpus` find
//! nothing.
//!
//! - from a disk: [`log_files`], [`formation_record`], [`anchor_slots`], [`state_records`], [`trust_records`], [`command`], [`blob_name`],
//!   [`papers_file`], [`login_file`];
//! - from peers: [`peer_message`], [`snapshot_page`], [`discovery_record`], and behind the parsers [`any_message`];
//! - from anybody who can reach a node, or is reached in its place: [`tls_bytes`], [`certificate`], [`certificate_request`], [`admission`];
//! - from clients and operators: [`client_request`], [`config_file`], [`token_text`].
//!
//! Whoever writes to a disk can make its checksums right, so the targets make them right where that lets the bytes in further; for the same reason
//! they sign what was edited, with the key of an authority that is believed and with that of one that is not.
//!
//! The server's parsers are taken in as source files: the crate itself cannot be had without RocksDB, which takes too long to build
//! with a compiler of its own. So are the client's, which would bring the whole command line.
//!
//! Left out: HTTP/2, which is read by a library. What a node itself does with its first bytes is to count them.

#[path = "../../../crates/client/src/backoff.rs"]
#[allow(dead_code)]
mod backoff;
mod circle;
#[path = "../../../crates/client/src/cluster_id.rs"]
#[allow(dead_code)]
mod cluster_id;
#[path = "../../../crates/server/src/config/mod.rs"]
#[allow(dead_code, unused_imports, clippy::wrong_self_convention)]
mod config;
#[path = "../../../crates/server/src/convert.rs"]
#[allow(dead_code)]
mod convert;
mod der;
#[path = "../../../crates/client/src/error.rs"]
#[allow(dead_code)]
mod error;
mod guard;
mod handshake;
#[path = "../../../crates/client/src/login.rs"]
#[allow(dead_code)]
mod login;
#[path = "../../../crates/server/src/snapshots/page.rs"]
mod page;
mod peers;
mod script;
mod shelf;
mod targets;

pub use targets::{
    admission, anchor_slots, any_message, blob_name, certificate, certificate_request, client_request, command, config_file,
    discovery_record, formation_record, log_files, login_file, papers_file, peer_message, snapshot_page, state_records, tls_bytes,
    token_text, trust_records,
};

/// Takes any bytes and returns.
pub type Target = fn(&[u8]);

/// What each target is called, in programs and folders.
pub const TARGETS: [(&str, Target); 20] = [
    ("admission", admission),
    ("anchor_slots", anchor_slots),
    ("any_message", any_message),
    ("blob_name", blob_name),
    ("certificate", certificate),
    ("certificate_request", certificate_request),
    ("client_request", client_request),
    ("command", command),
    ("config_file", config_file),
    ("discovery_record", discovery_record),
    ("formation_record", formation_record),
    ("log_files", log_files),
    ("login_file", login_file),
    ("papers_file", papers_file),
    ("peer_message", peer_message),
    ("snapshot_page", snapshot_page),
    ("state_records", state_records),
    ("tls_bytes", tls_bytes),
    ("token_text", token_text),
    ("trust_records", trust_records),
];
