//! Handing a blob to one peer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proto::v1 as wire;
use raft::{Index, NodeId, Term};
use storage::BlobHash;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{CHUNKS_QUEUED, serve};
use crate::{node::Node, peers::dial_for_blobs};

/// A peer that takes no chunk for this long has lost its place; it fetches the blob later by itself.
const CHUNK_TIMEOUT_MS: u64 = 10_000;
/// From the last chunk to the peer's word that it is durable there; a slow card syncs a few MiB in this time.
const HAVE_TIMEOUT_MS: u64 = 60_000;

/// A transfer under way. Dropped without `finish`, the peer keeps nothing.
#[derive(Debug)]
pub struct Push {
    peer: NodeId,
    parts: mpsc::Sender<wire::PushBlobRequest>,
    done: JoinHandle<Result<wire::Have, String>>,
}

/// What the word of a peer is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub term: Term,
    /// The newest `collect` entry of the leader's log.
    pub collect: Index,
    pub hash: BlobHash,
    pub size: u64,
}

impl Push {
    pub fn open(node: Arc<Node>, cluster_id: [u8; 16], peer: NodeId) -> Push {
        let (parts, stream) = mpsc::channel(CHUNKS_QUEUED);
        let header = wire::push_blob_request::Header { cluster_id: cluster_id.to_vec().into(), from: node.id.0, to: peer.0 };
        parts.try_send(part(wire::push_blob_request::Part::Header(header))).expect("the queue is new");
        let done = tokio::spawn(async move {
            let addresses = node.book.addresses_of(peer);
            let mut reason = "its address is not known".to_owned();
            for address in addresses {
                match dial_for_blobs(&node.guard, &address, peer).await {
                    Ok(mut client) => {
                        let answer = client.push_blob(ReceiverStream::new(stream)).await;
                        return answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned());
                    }
                    Err(error) => reason = error.to_string(),
                }
            }
            Err(reason)
        });
        Push { peer, parts, done }
    }

    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// False once the transfer has failed; the peer is then left to fetch the blob itself.
    pub async fn write(&mut self, chunk: Bytes) -> bool {
        self.give(wire::push_blob_request::Part::Chunk(chunk)).await
    }

    /// True if the peer holds the blob for good, said in answer to this very question.
    pub async fn finish(mut self, me: NodeId, cluster_id: [u8; 16], question: Question) -> bool {
        let asked = wire::HaveQuestion {
            cluster_id: cluster_id.to_vec().into(),
            from: me.0,
            term: question.term.0,
            collect: question.collect,
            hash: question.hash.0.to_vec().into(),
            size: question.size,
        };
        if !self.give(wire::push_blob_request::Part::End(asked)).await {
            return false;
        }
        drop(self.parts);
        match timeout(Duration::from_millis(HAVE_TIMEOUT_MS), &mut self.done).await {
            Ok(Ok(Ok(have))) => {
                let same_question = have.term == question.term.0 && have.collect == question.collect;
                have.node_id == self.peer.0 && same_question && have.hash[..] == question.hash.0[..]
            }
            Ok(Ok(Err(reason))) => {
                log::debug!(peer:% = self.peer, reason = reason.as_str(); "a peer did not take a blob");
                false
            }
            _ => {
                self.done.abort();
                false
            }
        }
    }

    /// Sends a blob that is on this disk already.
    pub async fn file(node: Arc<Node>, cluster_id: [u8; 16], peer: NodeId, question: Question) -> bool {
        let mut push = Push::open(node.clone(), cluster_id, peer);
        let mut chunks = serve(node.clone(), question.hash, 0, question.size);
        while let Some(chunk) = chunks.recv().await {
            let Ok(chunk) = chunk else { return false };
            if !push.write(chunk).await {
                return false;
            }
        }
        push.finish(node.id, cluster_id, question).await
    }

    async fn give(&mut self, body: wire::push_blob_request::Part) -> bool {
        matches!(timeout(Duration::from_millis(CHUNK_TIMEOUT_MS), self.parts.send(part(body))).await, Ok(Ok(())))
    }
}

fn part(part: wire::push_blob_request::Part) -> wire::PushBlobRequest {
    wire::PushBlobRequest { part: Some(part) }
}
