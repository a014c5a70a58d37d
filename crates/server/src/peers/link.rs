//! The stream of messages to one peer: dial, prove who is who, send, and again from the start when it breaks.
//!
//! Messages are sent, never kept: what waits while there is no stream is dropped when one opens, because Raft repeats what
//! still matters and late news only costs the network.

use std::{sync::Arc, time::Duration};

use proto::v1 as wire;
use raft::{Envelope, NodeId};
use replica::Input;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Address, Dialed, PROTOCOL_VERSION, dial};
use crate::{convert, engine::Inbox, node::Node};

const RETRY_PAUSE_MS: u64 = 100;
const HELLO_TIMEOUT_MS: u64 = 2_000;
/// A stream that takes no frame for this long is given up.
const SEND_TIMEOUT_MS: u64 = 5_000;
const FRAMES_QUEUED: usize = 4;
/// Messages in one frame.
const FRAME_MESSAGES: usize = 64;
/// A frame is closed once it holds this much.
const FRAME_BYTES: usize = 1 << 20;

/// One peer, and who we are to it.
pub struct Link {
    pub peer: NodeId,
    pub cluster_id: [u8; 16],
    pub node: Arc<Node>,
    /// Told of each new stream, so that the core does not count on what was under way on the old one.
    pub inbox: Arc<Inbox>,
}

impl Link {
    /// Runs for as long as the engine sends.
    pub async fn run(self, mut outbound: mpsc::Receiver<Envelope>) {
        let mut changes = self.node.book.changes();
        let mut up = false;
        while !outbound.is_closed() {
            for address in self.node.book.addresses_of(self.peer) {
                match self.converse(&address, &mut outbound, &mut up).await {
                    Ok(()) => return,
                    Err(reason) => {
                        // The address is not marked as asked: who listens there now, perhaps this very board under a new id, is for others to find out.
                        self.node.book.reached(self.peer, false);
                        if std::mem::take(&mut up) {
                            log::warn!(peer:% = self.peer, address:%, reason = reason.as_str(); "lost the stream to a peer");
                        }
                    }
                }
            }
            tokio::select! {
                () = sleep(Duration::from_millis(RETRY_PAUSE_MS)) => {}
                _ = changes.changed() => {}
            }
            while outbound.try_recv().is_ok() {}
        }
    }

    /// `Ok` when the engine has stopped.
    async fn converse(&self, address: &Address, outbound: &mut mpsc::Receiver<Envelope>, up: &mut bool) -> Result<(), String> {
        let (frames, stream) = mpsc::channel(FRAMES_QUEUED);
        let hello = wire::PeerFrame { part: Some(wire::peer_frame::Part::Hello(self.hello())) };
        frames.try_send(hello).expect("the queue is new");
        let mut welcomes = timeout(Duration::from_millis(HELLO_TIMEOUT_MS), async {
            let Dialed { mut client, proven } = dial(&self.node.guard, address).await.map_err(|error| error.to_string())?;
            if proven.is_some_and(|proven| proven != self.peer) {
                return Err("another node answers there now".to_owned());
            }
            let answer = client.converse(ReceiverStream::new(stream)).await.map_err(|status| status.message().to_owned())?;
            let mut welcomes = answer.into_inner();
            let welcome = welcomes.message().await.map_err(|status| status.message().to_owned())?;
            let identity = welcome.and_then(|welcome| welcome.me).ok_or("no welcome")?;
            let identity = convert::identity_from_wire(identity).map_err(|malformed| malformed.to_string())?;
            let other = identity.id != self.peer;
            if proven.is_none_or(|proven| proven == identity.id) {
                self.node.book.answered(address, identity);
            }
            if other { Err("another node answers there now".to_owned()) } else { Ok(welcomes) }
        })
        .await
        .map_err(|_| "no welcome in time".to_owned())??;
        while outbound.try_recv().is_ok() {}
        *up = true;
        self.node.book.reached(self.peer, true);
        self.inbox.complete(Input::Connected(self.peer));
        log::info!(peer:% = self.peer, address:%; "stream to a peer is up");
        let mut messages = Vec::new();
        loop {
            tokio::select! {
                ended = welcomes.message() => {
                    return Err(ended.err().map_or("the peer closed it".to_owned(), |status| status.message().to_owned()));
                }
                count = outbound.recv_many(&mut messages, FRAME_MESSAGES) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for frame in pack(&mut messages) {
                        match timeout(Duration::from_millis(SEND_TIMEOUT_MS), frames.send(frame)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return Err("the peer closed it".into()),
                            Err(_) => return Err("it took nothing for too long".into()),
                        }
                    }
                }
            }
        }
    }

    fn hello(&self) -> wire::peer_frame::Hello {
        let me = self.node.identity();
        wire::peer_frame::Hello {
            protocol_version: PROTOCOL_VERSION,
            cluster_id: self.cluster_id.to_vec().into(),
            from: me.id.0,
            to: self.peer.0,
            boot_nonce: me.boot,
            port: me.port.into(),
            name: me.name,
            cluster_name: me.cluster_name,
        }
    }
}

fn pack(messages: &mut Vec<Envelope>) -> Vec<wire::PeerFrame> {
    let mut frames = Vec::new();
    let mut packed = wire::PeerMessages::default();
    let mut bytes = 0;
    for envelope in messages.drain(..) {
        bytes += convert::message_bytes(&envelope.message);
        packed.messages.push(convert::message_to_wire(envelope));
        if bytes >= FRAME_BYTES {
            frames.push(std::mem::take(&mut packed));
            bytes = 0;
        }
    }
    if !packed.messages.is_empty() {
        frames.push(packed);
    }
    frames.into_iter().map(|messages| wire::PeerFrame { part: Some(wire::peer_frame::Part::Messages(messages)) }).collect()
}
