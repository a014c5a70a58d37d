//! Fetching blobs that the state refers to and this disk lacks.
//!
//! Nothing else waits for it: votes, acknowledgements and apply never look at blobs. A fetch resumes where the last one
//! broke off. While the disk is short of room nothing is fetched.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use proto::v1 as wire;
use replica::state::{self, BlobRef};
use storage::{BlobHash, Blobs, RoomState};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{
    node::{Member, Node},
    peers::dial_for_blobs,
};

/// The leader's own transfer usually brings the blob; only what is still missing after this is fetched.
const GRACE_MS: u64 = 2_000;
const PERIOD_MS: u64 = 1_000;
const CHUNK_TIMEOUT_MS: u64 = 10_000;
/// References looked at in one step of the search at start.
const PAGE_ITEMS: usize = 256;
/// Blobs remembered as missing at once; further ones are found by the search that follows.
const MISSING_MAX: usize = 4_096;

/// Runs until the node stops: first a search through the whole state, then whatever entries name; a search again when a reader came
/// upon a blob that is not here after all.
pub async fn pull_missing(node: Arc<Node>, mut named: mpsc::UnboundedReceiver<BlobRef>) {
    let mut missing: BTreeMap<BlobRef, Instant> = BTreeMap::new();
    let mut search = true;
    loop {
        if std::mem::take(&mut search) {
            find_missing(&node, &mut missing).await;
        }
        if missing.is_empty() {
            tokio::select! {
                next = named.recv() => match next {
                    Some(blob) => note(&node, &mut missing, blob).await,
                    None => return,
                },
                () = node.blob_absent.notified() => {
                    find_missing(&node, &mut missing).await;
                }
            }
        }
        while let Ok(blob) = named.try_recv() {
            if missing.len() < MISSING_MAX {
                note(&node, &mut missing, blob).await;
            } else {
                search = true;
            }
        }
        let ready: Vec<BlobRef> = missing.iter().filter(|(_, due)| **due <= Instant::now()).map(|(blob, _)| *blob).collect();
        for blob in ready {
            if is_here(&node, blob).await || pull_from_any(&node, blob).await {
                missing.remove(&blob);
            } else {
                missing.insert(blob, Instant::now() + Duration::from_millis(GRACE_MS));
            }
            node.blobs_missing.store(missing.len() as u64, Ordering::Relaxed);
        }
        if !missing.is_empty() {
            tokio::time::sleep(Duration::from_millis(PERIOD_MS)).await;
            search |= timeout(Duration::ZERO, node.blob_absent.notified()).await.is_ok();
        }
    }
}

/// Bytes of a blob that this disk lacks, from the first member that has it.
pub async fn fetch(
    node: &Node,
    member: &Member,
    hash: BlobHash,
    offset: u64,
    length: u64,
) -> Option<tonic::Streaming<wire::PullBlobResponse>> {
    let members = member.engine.status().membership.clone();
    for peer in members.members().filter(|id| *id != node.id) {
        for address in node.book.addresses_of(peer) {
            let Ok(mut client) = dial_for_blobs(&address).await else { continue };
            let request = wire::PullBlobRequest {
                cluster_id: member.cluster_id.to_vec().into(),
                from: node.id.0,
                hash: hash.0.to_vec().into(),
                offset,
                length,
            };
            if let Ok(stream) = client.pull_blob(request).await {
                return Some(stream.into_inner());
            }
        }
    }
    None
}

async fn find_missing(node: &Arc<Node>, missing: &mut BTreeMap<BlobRef, Instant>) {
    let mut after = None;
    loop {
        let (state, blobs) = (node.state.clone(), node.blobs.clone());
        let page = spawn_blocking(move || {
            let page = state::blobs(&*state, after, PAGE_ITEMS)?;
            let lacking: Vec<BlobRef> = page.iter().filter(|blob| !is_held(&blobs, blob)).copied().collect();
            Ok::<_, replica::Error>((page.last().map(|blob| blob.hash), lacking))
        });
        match page.await {
            Ok(Ok((Some(last), lacking))) => {
                for blob in lacking {
                    missing.entry(blob).or_insert_with(Instant::now);
                }
                after = Some(last);
            }
            _ => break,
        }
        if missing.len() >= MISSING_MAX {
            break;
        }
    }
    node.blobs_missing.store(missing.len() as u64, Ordering::Relaxed);
}

/// An entry names a blob: missing from now on unless it is here.
async fn note(node: &Arc<Node>, missing: &mut BTreeMap<BlobRef, Instant>, blob: BlobRef) {
    if !is_here(node, blob).await {
        missing.entry(blob).or_insert_with(|| Instant::now() + Duration::from_millis(GRACE_MS));
        node.blobs_missing.store(missing.len() as u64, Ordering::Relaxed);
    }
}

async fn is_here(node: &Arc<Node>, blob: BlobRef) -> bool {
    let blobs = node.blobs.clone();
    spawn_blocking(move || is_held(&blobs, &blob)).await.unwrap_or(false)
}

/// Whether this disk has it for good, as far as can be told without reading it.
pub fn is_held(blobs: &Blobs, blob: &BlobRef) -> bool {
    matches!(blobs.has(&BlobHash(blob.hash)), Ok(Some(size)) if size == blob.size)
}

async fn pull_from_any(node: &Arc<Node>, blob: BlobRef) -> bool {
    let Some(member) = node.member() else { return false };
    if node.room.borrow().state != RoomState::Enough {
        return false;
    }
    match pull(node, member, blob).await {
        Ok(()) => {
            log::info!(blob:% = BlobHash(blob.hash), bytes = blob.size; "fetched a blob that was missing here");
            true
        }
        Err(reason) => {
            log::debug!(blob:% = BlobHash(blob.hash), reason = reason.as_str(); "a missing blob could not be fetched yet");
            false
        }
    }
}

async fn pull(node: &Arc<Node>, member: &Member, blob: BlobRef) -> Result<(), String> {
    let hash = BlobHash(blob.hash);
    let blobs = node.blobs.clone();
    let mut writer = on_disk(node, move || blobs.pull(&hash)).await?.ok_or("it is being fetched already")?;
    if writer.len() < blob.size {
        let mut stream = fetch(node, member, hash, writer.len(), 0).await.ok_or("no member that answers has it")?;
        loop {
            let next = timeout(Duration::from_millis(CHUNK_TIMEOUT_MS), stream.message()).await.map_err(|_| "the peer went silent")?;
            let Some(part) = next.map_err(|status| status.message().to_owned())? else { break };
            let chunk: Bytes = part.chunk;
            writer = on_disk(node, move || writer.write(&chunk).map(|()| writer)).await?;
        }
    }
    on_disk(node, move || writer.finish_as(&hash)).await.map(drop)
}

async fn on_disk<T: Send + 'static>(node: &Node, work: impl FnOnce() -> Result<T, storage::Error> + Send + 'static) -> Result<T, String> {
    let fatal = node.fatal.clone();
    spawn_blocking(move || work().inspect_err(|error| fatal.judge_blob(error)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}
