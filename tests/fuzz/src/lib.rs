//! Bytes from outside, thrown at what reads them.
//!
//! Each target takes any bytes at all and must return: a panic is a finding, and so is a promise of the reader that does not hold
//! for what it accepted. The programs in `libfuzzer` look for such bytes, `tests/replay.rs` shows that the ones in `corpus` find
//! nothing.
//!
//! - from a disk: [`log_files`], [`formation_record`], [`anchor_slots`], [`state_records`], [`command`], [`blob_name`];
//! - from peers: [`peer_message`], [`snapshot_page`], [`discovery_record`], and behind the parsers [`any_message`];
//! - from clients and operators: [`client_request`], [`config_file`].
//!
//! Whoever writes to a disk can make its checksums right, so the targets make them right where that lets the bytes in further.
//!
//! The server's parsers are taken in as source files: the crate itself cannot be had without RocksDB, which takes too long to build
//! with a compiler of its own.
//!
//! Left out: tokens, certificates and admission. Their targets belong into `targets`, each with a line in [`TARGETS`].

#[path = "../../../crates/server/src/config/mod.rs"]
#[allow(dead_code, unused_imports, clippy::wrong_self_convention)]
mod config;
#[path = "../../../crates/server/src/convert.rs"]
#[allow(dead_code)]
mod convert;
#[path = "../../../crates/server/src/snapshots/page.rs"]
mod page;
mod peers;
mod script;
mod shelf;
mod targets;

pub use targets::{
    anchor_slots, any_message, blob_name, client_request, command, config_file, discovery_record, formation_record, log_files,
    peer_message, snapshot_page, state_records,
};

/// Takes any bytes and returns.
pub type Target = fn(&[u8]);

/// What each target is called, in programs and folders.
pub const TARGETS: [(&str, Target); 12] = [
    ("any_message", any_message),
    ("anchor_slots", anchor_slots),
    ("blob_name", blob_name),
    ("client_request", client_request),
    ("command", command),
    ("config_file", config_file),
    ("discovery_record", discovery_record),
    ("formation_record", formation_record),
    ("log_files", log_files),
    ("peer_message", peer_message),
    ("snapshot_page", snapshot_page),
    ("state_records", state_records),
];
