//! Opening connections to other nodes.

use std::time::Duration;

use proto::v1::raft_client::RaftClient;
use tonic::transport::{Channel, Endpoint};

use super::Address;

const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// A peer whose cable is pulled sends no reset; silence this long ends the connection.
const KEEPALIVE_INTERVAL_MS: u64 = 2_000;
const KEEPALIVE_TIMEOUT_MS: u64 = 3_000;
/// One message between nodes: an append of 512 KiB, or a single larger entry, with room to spare.
pub const PEER_MESSAGE_MAX_BYTES: usize = 8 << 20;
/// Bytes on their way on a connection for blobs.
const BLOB_WINDOW_BYTES: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct DialError {
    pub address: String,
    pub reason: String,
}

/// Connects for messages.
pub async fn dial(address: &Address) -> Result<RaftClient<Channel>, DialError> {
    open(address, |endpoint| endpoint).await
}

/// Connects for blobs: a connection of its own, so that a heartbeat never waits behind an image.
pub async fn dial_for_blobs(address: &Address) -> Result<RaftClient<Channel>, DialError> {
    open(address, |endpoint| endpoint.initial_stream_window_size(BLOB_WINDOW_BYTES).initial_connection_window_size(BLOB_WINDOW_BYTES)).await
}

async fn open(address: &Address, tune: impl FnOnce(Endpoint) -> Endpoint) -> Result<RaftClient<Channel>, DialError> {
    let failed = |error: &dyn std::error::Error| DialError { address: address.to_string(), reason: deepest(error) };
    let endpoint = Endpoint::from_shared(address.uri())
        .map_err(|error| failed(&error))?
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_millis(KEEPALIVE_INTERVAL_MS))
        .keep_alive_timeout(Duration::from_millis(KEEPALIVE_TIMEOUT_MS))
        .keep_alive_while_idle(true);
    let channel = tune(endpoint).connect().await.map_err(|error| failed(&error))?;
    Ok(RaftClient::new(channel).max_decoding_message_size(PEER_MESSAGE_MAX_BYTES).max_encoding_message_size(PEER_MESSAGE_MAX_BYTES))
}

/// The cause that says something: tonic's own text is only "transport error".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
