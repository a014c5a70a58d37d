//! One target a file.

mod anchor_slots;
mod any_message;
mod blob_name;
mod client_request;
mod command;
mod config_file;
mod discovery_record;
mod formation_record;
mod log_files;
mod peer_message;
mod snapshot_page;
mod state_records;

pub use anchor_slots::anchor_slots;
pub use any_message::any_message;
pub use blob_name::blob_name;
pub use client_request::client_request;
pub use command::command;
pub use config_file::config_file;
pub use discovery_record::discovery_record;
pub use formation_record::formation_record;
pub use log_files::log_files;
pub use peer_message::peer_message;
pub use snapshot_page::snapshot_page;
pub use state_records::state_records;

/// The bytes with the CRC-32 behind them that a sealed record ends with.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}
