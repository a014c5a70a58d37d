//! Opening connections to other nodes.

use std::time::Duration;

use proto::v1::raft_client::RaftClient;
use raft::NodeId;
use tonic::transport::{Channel, Endpoint};
use trust::Who;

use super::Address;
use crate::guard::Guard;

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

/// A connection to whoever answers at an address.
pub struct Dialed {
    pub client: RaftClient<Channel>,
    /// Who its certificate says it is; none in an open cluster, where nobody proves anything.
    pub proven: Option<NodeId>,
}

/// Connects for messages.
pub async fn dial(guard: &Guard, address: &Address) -> Result<Dialed, DialError> {
    open(guard, address, |endpoint| endpoint).await
}

/// Connects for blobs, to this node only: a connection of its own, so that a heartbeat never waits behind an image.
pub async fn dial_for_blobs(guard: &Guard, address: &Address, id: NodeId) -> Result<RaftClient<Channel>, DialError> {
    let tune =
        |endpoint: Endpoint| endpoint.initial_stream_window_size(BLOB_WINDOW_BYTES).initial_connection_window_size(BLOB_WINDOW_BYTES);
    let dialed = open(guard, address, tune).await?;
    match dialed.proven {
        Some(other) if other != id => {
            Err(DialError { address: address.to_string(), reason: format!("node {other} answers there, not {id}") })
        }
        _ => Ok(dialed.client),
    }
}

async fn open(guard: &Guard, address: &Address, tune: impl FnOnce(Endpoint) -> Endpoint) -> Result<Dialed, DialError> {
    let failed = |error: &dyn std::error::Error| DialError { address: address.to_string(), reason: deepest(error) };
    let endpoint = Endpoint::from_shared(address.uri())
        .map_err(|error| failed(&error))?
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .http2_keep_alive_interval(Duration::from_millis(KEEPALIVE_INTERVAL_MS))
        .keep_alive_timeout(Duration::from_millis(KEEPALIVE_TIMEOUT_MS))
        .keep_alive_while_idle(true);
    let (channel, proven) = match guard.current() {
        None => (dial::plain(tune(endpoint)).await.map_err(|error| failed(&error))?, None),
        Some(secured) => {
            let name = trust::server_name(&secured.cluster_id);
            let connected = dial::tls(tune(endpoint), secured.client.clone(), name).await;
            let (channel, proof) =
                connected.inspect_err(|error| guard.refused_at(address, &deepest(error))).map_err(|error| failed(&error))?;
            // The configuration accepts nobody but nodes of this cluster.
            let subject = trust::subject_of(&proof.chain[0]).map_err(|error| failed(&error))?;
            let Who::Node(id) = subject.who else {
                return Err(DialError { address: address.to_string(), reason: "a client's certificate answers there".into() });
            };
            (channel, Some(NodeId(id)))
        }
    };
    let client = RaftClient::new(channel);
    let client = client.max_decoding_message_size(PEER_MESSAGE_MAX_BYTES).max_encoding_message_size(PEER_MESSAGE_MAX_BYTES);
    Ok(Dialed { client, proven })
}

/// The cause that says something: tonic's own text is only "transport error".
pub fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
