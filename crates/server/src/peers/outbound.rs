//! The engine's way out: one bounded queue for each peer, made when the first message is sent to it.
//!
//! Members get a stream at once. Others who speak to this node get one for their answers: a node that slept through replacements asks
//! those it remembers. Their number is bounded, and they go when they have been silent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use raft::{Envelope, NodeId};
use tokio::sync::mpsc;

/// Messages to one peer that may wait for its stream; beyond it new ones are dropped, which Raft takes for loss.
const OUTBOUND_MAX: usize = 1_024;
/// Streams to others than members.
const STRANGERS_MAX: usize = 16;
const STRANGER_IDLE_MS: u64 = 30_000;

/// A new peer and the queue of what is sent to it; the stream ends when the queue is closed.
pub type NewPeer = (NodeId, mpsc::Receiver<Envelope>);

#[derive(Debug)]
pub struct Outbound {
    queues: BTreeMap<NodeId, Queue>,
    new_peers: mpsc::UnboundedSender<NewPeer>,
}

#[derive(Debug)]
struct Queue {
    messages: mpsc::Sender<Envelope>,
    member: bool,
    used: Instant,
}

impl Outbound {
    /// Second: who is to get a stream. Unbounded, as the number of queues is bounded.
    pub fn new() -> (Outbound, mpsc::UnboundedReceiver<NewPeer>) {
        let (new_peers, peers) = mpsc::unbounded_channel();
        (Outbound { queues: BTreeMap::new(), new_peers }, peers)
    }

    /// Streams to exactly these members, and to strangers who still speak.
    pub fn keep(&mut self, members: impl Iterator<Item = NodeId>) {
        for queue in self.queues.values_mut() {
            queue.member = false;
        }
        for id in members {
            self.queue(id).member = true;
        }
        let idle = Duration::from_millis(STRANGER_IDLE_MS);
        self.queues.retain(|_, queue| queue.member || queue.used.elapsed() < idle);
    }

    pub fn send(&mut self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let strangers = self.queues.values().filter(|queue| !queue.member).count();
            if strangers >= STRANGERS_MAX && !self.queues.contains_key(&envelope.to) {
                continue;
            }
            let queue = self.queue(envelope.to);
            if !queue.member {
                queue.used = Instant::now();
            }
            let _ = queue.messages.try_send(envelope);
        }
    }

    fn queue(&mut self, id: NodeId) -> &mut Queue {
        let new_peers = &self.new_peers;
        self.queues.entry(id).or_insert_with(|| {
            let (messages, end) = mpsc::channel(OUTBOUND_MAX);
            let _ = new_peers.send((id, end));
            Queue { messages, member: false, used: Instant::now() }
        })
    }
}
