//! The other nodes: who they are, where they listen, the streams to them.

mod address;
mod book;
mod dial;
mod identity;
mod link;
mod locate;
mod memory;

use std::{collections::BTreeMap, sync::Arc};

use raft::{Envelope, NodeId};
use tokio::sync::mpsc;

pub use address::Address;
pub use book::{Book, Origin};
pub use dial::{PEER_MESSAGE_MAX_BYTES, dial, dial_for_blobs};
pub use identity::{Identity, PROTOCOL_VERSION};
pub use link::Link;
pub use locate::locate;
pub use memory::Memory;

/// Messages to one peer that may wait for its stream; beyond it new ones are dropped, which Raft takes for loss.
const OUTBOUND_MAX: usize = 1_024;

/// The engine's way out: one bounded queue for each peer.
#[derive(Clone, Debug)]
pub struct Outbound {
    queues: Arc<BTreeMap<NodeId, mpsc::Sender<Envelope>>>,
}

impl Outbound {
    /// A queue for each peer, and its other end.
    pub fn to(peers: impl IntoIterator<Item = NodeId>) -> (Outbound, Vec<(NodeId, mpsc::Receiver<Envelope>)>) {
        let mut queues = BTreeMap::new();
        let mut ends = Vec::new();
        for peer in peers {
            let (queue, end) = mpsc::channel(OUTBOUND_MAX);
            queues.insert(peer, queue);
            ends.push((peer, end));
        }
        (Outbound { queues: Arc::new(queues) }, ends)
    }

    pub fn send(&self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            if let Some(queue) = self.queues.get(&envelope.to) {
                let _ = queue.try_send(envelope);
            }
        }
    }
}
