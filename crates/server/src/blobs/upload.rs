//! A large value on its way in: from the client to this leader's disk and to every peer's at the same time.
//!
//! Invariants:
//! - a manifest is proposed only after this node and enough peers for a quorum hold the blob for good, said in this term;
//! - a peer that is slow or gone loses its place in the transfer and fetches the blob later; it never stalls the upload for longer
//!   than its timeout;
//! - whatever fails before the proposal, the key is untouched.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use raft::NodeId;
use replica::Haves;
use storage::BlobHash;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use super::{Push, Sink, SinkError, push::Question};
use crate::{engine::EngineStatus, node::Node};

/// From the last chunk to a quorum's word.
const QUORUM_TIMEOUT_MS: u64 = 30_000;
const PUSH_AGAIN_PAUSE_MS: u64 = 500;

pub struct Upload {
    node: Arc<Node>,
    cluster_id: [u8; 16],
    local: Sink,
    peers: Vec<Push>,
    hasher: blake3::Hasher,
    size: u64,
}

/// Why a value did not become a blob; the key is untouched.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Disk(#[from] SinkError),
    #[error("the bytes received have the hash {received}, the client sent {promised}")]
    HashMismatch { received: BlobHash, promised: BlobHash },
    #[error("no quorum of nodes has stored the value within {} s", QUORUM_TIMEOUT_MS / 1_000)]
    NoQuorum,
    #[error("this node no longer leads")]
    Deposed,
}

impl Upload {
    /// Opens the way to this disk and to each peer's. One that has been silent for an election timeout is not waited for at each chunk: it
    /// is handed the file afterwards, or fetches it.
    pub fn open(node: Arc<Node>, cluster_id: [u8; 16], status: &EngineStatus) -> Upload {
        let patience = node.config.timing.election_max;
        let heard = |id| node.book.since_contact(id).is_some_and(|since| since <= patience);
        let others = status.membership.members().filter(|id| *id != node.id && heard(*id));
        let peers = others.map(|peer| Push::open(node.clone(), cluster_id, peer)).collect();
        let local = Sink::open(&node);
        Upload { node, cluster_id, local, peers, hasher: blake3::Hasher::new(), size: 0 }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        self.hasher.update(&chunk);
        self.size += chunk.len() as u64;
        self.local.write(chunk.clone()).await?;
        let mut keep = Vec::with_capacity(self.peers.len());
        for mut peer in std::mem::take(&mut self.peers) {
            if peer.write(chunk.clone()).await {
                keep.push(peer);
            }
        }
        self.peers = keep;
        Ok(())
    }

    /// Returns once a quorum holds the blob, with their word for it.
    pub async fn finish(self, promised: BlobHash) -> Result<(BlobHash, u64, Haves), UploadError> {
        let received = BlobHash(self.hasher.finalize().into());
        if received != promised {
            return Err(UploadError::HashMismatch { received, promised });
        }
        let (node, cluster_id) = (self.node, self.cluster_id);
        let engine = &node.member().expect("an upload runs on a member").engine;
        let status = engine.status();
        let term = status.term;
        // A leader too new to know of the last collection cannot ask who has what.
        let collect = status.collect.ok_or(UploadError::Deposed)?;
        let question = Question { term, collect, hash: received, size: self.size };
        // Peers finish in tasks of their own: those behind the quorum go on after the client has its answer.
        let mut asked: JoinSet<(NodeId, bool)> = JoinSet::new();
        let began: BTreeSet<NodeId> = self.peers.iter().map(Push::peer).collect();
        for push in self.peers {
            let me = node.id;
            asked.spawn(async move { (push.peer(), push.finish(me, cluster_id, question).await) });
        }
        let again = |peer: NodeId, node: Arc<Node>| async move {
            sleep(Duration::from_millis(PUSH_AGAIN_PAUSE_MS)).await;
            (peer, Push::file(node, cluster_id, peer, question).await)
        };
        let local = self.local.finish(received);
        tokio::pin!(local);
        let mut haves = BTreeSet::new();
        let deadline = Instant::now() + Duration::from_millis(QUORUM_TIMEOUT_MS);
        let mut have_own = false;
        loop {
            if have_own && status.membership.has_quorum(|id| haves.contains(&id)) {
                asked.detach_all();
                return Ok((received, question.size, Haves { term, collect, nodes: haves }));
            }
            // A collection meanwhile makes every word given before it worthless: the upload is to be made again.
            if engine.status().term != term || engine.status().collect != Some(collect) {
                return Err(UploadError::Deposed);
            }
            tokio::select! {
                stored = &mut local, if !have_own => {
                    stored?;
                    have_own = true;
                    let blobs = node.blobs.clone();
                    let promised = spawn_blocking(move || blobs.promise(&received, collect)).await;
                    if matches!(promised, Ok(Ok(Some(_)))) {
                        haves.insert(node.id);
                    }
                    for peer in status.membership.members().filter(|id| *id != node.id && !began.contains(id)) {
                        asked.spawn(again(peer, node.clone()));
                    }
                }
                Some(answer) = asked.join_next(), if !asked.is_empty() => {
                    match answer {
                        Ok((peer, true)) => drop(haves.insert(peer)),
                        // Only what is on this disk for good can be sent again.
                        Ok((peer, false)) if have_own => drop(asked.spawn(again(peer, node.clone()))),
                        Ok((peer, false)) => drop(asked.spawn(async move { sleep(Duration::from_millis(PUSH_AGAIN_PAUSE_MS)).await; (peer, false) })),
                        Err(_) => {}
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(UploadError::NoQuorum),
            }
        }
    }
}
