//! Looks after the blobs on this disk: fetches what the state refers to and is not here, unlinks what nothing refers to any more.
//!
//! Nothing else waits for it: votes, acknowledgements and apply never look at blobs. A fetch resumes where the last one
//! broke off. While the disk is short of room nothing is fetched.
//!
//! Invariants:
//! - a blob is unlinked only behind a `collect` entry that the *flushed* state has applied, if that state does not refer to it and this
//!   node has not said since that entry that it has it. What was said before a restart is forgotten, so after one the entry must also lie
//!   behind a read index taken since;
//! - "whole" is told only of an index up to which every blob is durable here.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use proto::v1 as wire;
use raft::Index;
use replica::{
    Input,
    state::{self, BlobRef},
};
use storage::{BlobHash, Blobs, RoomState};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{interval, sleep, timeout},
};

use super::{News, missing::Missing};
use crate::{
    node::{Member, Node},
    peers::dial_for_blobs,
    services::{is_blob_missing, read_barrier},
};

/// The leader's own transfer usually brings the blob; only what is still missing after this is fetched.
const GRACE_MS: u64 = 2_000;
const PERIOD_MS: u64 = 200;
const BURST_MS: u64 = 100;
const CHUNK_TIMEOUT_MS: u64 = 10_000;
/// References looked at in one step of a search.
const PAGE_ITEMS: usize = 256;

pub struct Keeper {
    node: Arc<Node>,
    missing: Missing,
    told_whole: Index,
    told_garbage: bool,
    /// A reference went since the last look for garbage, or nobody has looked yet.
    look_for_garbage: bool,
    /// The newest `collect` entry applied, until it is acted on.
    collect: Option<Index>,
    /// What this node said before its start lies at or before this read index.
    promises_before: Option<Index>,
}

impl Keeper {
    /// `applied`: where the state stood when its news began.
    pub fn new(node: Arc<Node>, applied: Index) -> Keeper {
        Keeper {
            node,
            missing: Missing::unsearched(applied),
            told_whole: 0,
            told_garbage: false,
            look_for_garbage: true,
            collect: None,
            promises_before: None,
        }
    }

    /// Runs until the engine stops.
    pub async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut period = interval(Duration::from_millis(PERIOD_MS));
        loop {
            tokio::select! {
                next = news.recv() => match next {
                    Some(next) => {
                        self.hear(next).await;
                        // Entries come in bursts, and nobody waits for this: one look after many of them.
                        sleep(Duration::from_millis(BURST_MS)).await;
                    }
                    None => return,
                },
                () = self.node.blob_absent.notified() => self.missing.search_again(),
                _ = period.tick(), if self.is_busy() => {}
            }
            while let Ok(next) = news.try_recv() {
                self.hear(next).await;
            }
            if self.missing.take_search() {
                self.find_missing().await;
            }
            for blob in self.missing.due() {
                self.obtain(blob).await;
            }
            self.collect().await;
            self.report();
        }
    }

    /// Whether there is something to do although there is no news.
    fn is_busy(&self) -> bool {
        !self.missing.is_settled() || self.collect.is_some() || self.look_for_garbage
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Named(blob) => {
                if !is_here(&self.node, blob).await {
                    self.missing.note(blob, Duration::from_millis(GRACE_MS));
                }
            }
            News::Applied { through, dereferenced } => {
                self.missing.applied(through);
                self.look_for_garbage |= dereferenced;
            }
            News::Replaced => {
                let state = self.node.state.get();
                if let Ok(Ok(applied)) = spawn_blocking(move || state.applied()).await {
                    self.missing.applied(applied.index);
                }
                self.missing.search_again();
                self.look_for_garbage = true;
            }
            News::Collect(index) => self.collect = Some(index),
        }
    }

    /// Tells the engine what others need to know of this disk's blobs.
    fn report(&mut self) {
        self.node.blobs_missing.store(self.missing.len() as u64, Ordering::Relaxed);
        let Some(member) = self.node.member() else { return };
        let whole = self.missing.whole();
        if whole != self.told_whole {
            self.told_whole = whole;
            self.node.blobs_whole.store(whole, Ordering::Relaxed);
            member.engine.inbox().complete(Input::Whole(whole));
        }
    }

    async fn obtain(&mut self, blob: BlobRef) {
        if is_here(&self.node, blob).await || pull_from_any(&self.node, blob).await || self.is_gone(blob).await {
            self.missing.found(&blob);
            self.node.note_lost(BlobHash(blob.hash), false);
            // What was begun of one that is gone.
            let blobs = self.node.blobs.clone();
            if let Ok(Err(error)) = spawn_blocking(move || blobs.forget_pull(&BlobHash(blob.hash))).await {
                log::warn!(error:%; "a blob half fetched could not be removed");
            }
        } else {
            self.missing.try_again(blob, Duration::from_millis(GRACE_MS));
        }
    }

    /// Nothing here refers to it any more.
    async fn is_gone(&self, blob: BlobRef) -> bool {
        let state = self.node.state.get();
        matches!(spawn_blocking(move || state::refers_to(&*state, &blob.hash)).await, Ok(Ok(false)))
    }

    async fn find_missing(&mut self) {
        let mut after = None;
        loop {
            let (state, blobs) = (self.node.state.get(), self.node.blobs.clone());
            let page = spawn_blocking(move || {
                let page = state::blobs(&*state, after, PAGE_ITEMS)?;
                let lacking: Vec<BlobRef> = page.iter().filter(|blob| !is_held(&blobs, blob)).copied().collect();
                Ok::<_, replica::Error>((page.last().map(|blob| blob.hash), lacking))
            });
            match page.await {
                Ok(Ok((Some(last), lacking))) => {
                    for blob in lacking {
                        self.missing.note(blob, Duration::ZERO);
                    }
                    after = Some(last);
                }
                _ => break,
            }
        }
    }

    /// Looks for blobs that nothing refers to, and unlinks them if that was agreed on.
    async fn collect(&mut self) {
        if self.promises_before.is_none() && read_barrier(&self.node).await.is_ok() {
            // From the state itself: what is told of the engine lags behind it, and an entry taken for a later one would cost blobs.
            let state = self.node.state.get();
            self.promises_before = spawn_blocking(move || state.applied()).await.ok().and_then(Result::ok).map(|applied| applied.index);
        }
        let agreed = self.collect.take_if(|_| self.promises_before.is_some()).filter(|index| Some(*index) > self.promises_before);
        if !self.look_for_garbage && agreed.is_none() {
            return;
        }
        self.look_for_garbage = false;
        let (state, blobs) = (self.node.state.get(), self.node.blobs.clone());
        let swept = spawn_blocking(move || sweep(&*state, &blobs, agreed)).await;
        let left = match swept {
            Ok(Ok((removed, left))) => {
                if removed > 0 {
                    log::info!(removed, left; "blobs that nothing refers to are unlinked");
                }
                left > 0
            }
            Ok(Err(error)) => {
                log::warn!(error:%; "blobs that nothing refers to could not be collected");
                false
            }
            Err(_) => return,
        };
        if let Some(member) = self.node.member()
            && left != self.told_garbage
        {
            self.told_garbage = left;
            member.engine.inbox().complete(Input::Garbage(left));
        }
    }
}

/// How many blobs were unlinked, and how many are left that nothing refers to.
fn sweep(state: &dyn storage::StateStore, blobs: &Blobs, agreed: Option<Index>) -> Result<(u64, u64), replica::Error> {
    let mut idle = Vec::new();
    for (hash, _) in blobs.list()? {
        if !state::refers_to(state, &hash.0)? {
            idle.push(hash);
        }
    }
    let Some(agreed) = agreed.filter(|_| !idle.is_empty()) else { return Ok((0, idle.len() as u64)) };
    // What dropped the last reference must not be taken back by a power cut.
    state.flush()?;
    let mut removed = 0;
    for hash in &idle {
        let referenced = || {
            state::refers_to(state, &hash.0).map_err(|error| match error {
                replica::Error::Storage(error) => error,
                other => storage::Error::Corrupt { what: "the state".into(), detail: other.to_string() },
            })
        };
        removed += u64::from(blobs.collect(hash, agreed, referenced)?);
    }
    Ok((removed, idle.len() as u64 - removed))
}

/// Why a blob could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// Some voter could not be asked.
    NotYet,
    /// Every voter says that it does not have it.
    Lost,
}

/// Bytes of a blob that this disk lacks, from the first member that has it.
pub async fn fetch(
    node: &Node,
    member: &Member,
    hash: BlobHash,
    offset: u64,
    length: u64,
) -> Result<tonic::Streaming<wire::PullBlobResponse>, NotFound> {
    let members = member.engine.status().membership.clone();
    let mut without = BTreeSet::from([node.id]);
    for peer in members.members().filter(|id| *id != node.id) {
        for address in node.book.addresses_of(peer) {
            let Ok(mut client) = dial_for_blobs(&node.guard, &address, peer).await else { continue };
            let request = wire::PullBlobRequest {
                cluster_id: member.cluster_id.to_vec().into(),
                from: node.id.0,
                hash: hash.0.to_vec().into(),
                offset,
                length,
            };
            match client.pull_blob(request).await {
                Ok(stream) => return Ok(stream.into_inner()),
                Err(status) if is_blob_missing(&status) => drop(without.insert(peer)),
                Err(_) => {}
            }
        }
    }
    let all = members.voters.iter().chain(&members.outgoing).all(|id| without.contains(id));
    Err(if all { NotFound::Lost } else { NotFound::NotYet })
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
        let mut stream = match fetch(node, member, hash, writer.len(), 0).await {
            Ok(stream) => stream,
            Err(why) => {
                // Nobody keeps what no key names any more.
                let state = node.state.get();
                let wanted = matches!(spawn_blocking(move || state::refers_to(&*state, &hash.0)).await, Ok(Ok(true)));
                node.note_lost(hash, wanted && why == NotFound::Lost);
                return Err("no member that answers has it".into());
            }
        };
        loop {
            let next = timeout(Duration::from_millis(CHUNK_TIMEOUT_MS), stream.message()).await.map_err(|_| "the peer went silent")?;
            let Some(part) = next.map_err(|status| status.message().to_owned())? else { break };
            let chunk: Bytes = part.chunk;
            writer = on_disk(node, move || writer.write(&chunk).map(|()| writer)).await?;
        }
    }
    on_disk(node, move || writer.finish_as(&hash)).await?;
    node.note_lost(hash, false);
    Ok(())
}

async fn on_disk<T: Send + 'static>(node: &Node, work: impl FnOnce() -> Result<T, storage::Error> + Send + 'static) -> Result<T, String> {
    let fatal = node.fatal.clone();
    spawn_blocking(move || work().inspect_err(|error| fatal.judge_blob(error)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}
