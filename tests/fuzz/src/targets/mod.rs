//! One target a file.

mod admission;
mod anchor_slots;
mod any_message;
mod blob_name;
mod certificate;
mod certificate_request;
mod client_request;
mod command;
mod config_file;
mod discovery_record;
mod formation_record;
mod log_files;
mod login_file;
mod papers_file;
mod peer_message;
mod snapshot_page;
mod state_records;
mod tls_bytes;
mod token_text;
mod trust_records;

pub use admission::admission;
pub use anchor_slots::anchor_slots;
pub use any_message::any_message;
pub use blob_name::blob_name;
pub use certificate::certificate;
pub use certificate_request::certificate_request;
pub use client_request::client_request;
pub use command::command;
pub use config_file::config_file;
pub use discovery_record::discovery_record;
pub use formation_record::formation_record;
pub use log_files::log_files;
pub use login_file::login_file;
pub use papers_file::papers_file;
pub use peer_message::peer_message;
pub use snapshot_page::snapshot_page;
pub use state_records::state_records;
pub use tls_bytes::tls_bytes;
pub use token_text::token_text;
pub use trust_records::trust_records;

/// The bytes with the CRC-32 behind them that a sealed record ends with.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}
