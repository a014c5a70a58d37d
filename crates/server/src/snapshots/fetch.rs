//! Fetching a snapshot from the leader that offered it. A node whose disk is nearly full does not: it only lags.

use std::{sync::Arc, time::Duration};

use proto::v1 as wire;
use raft::{Fetch, Snapshot};
use replica::{Input, state};
use storage::{Pair, RoomState, StateHome, StateStore, Write};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use super::{Digest, crc_of};
use crate::{convert, engine::Inbox, node::Node, peers::dial_for_blobs};

const PAGE_TIMEOUT_MS: u64 = 30_000;
/// After a transfer that failed; the next offer comes with a heartbeat.
const RETRY_PAUSE_MS: u64 = 1_000;

/// What the replica wants, and the generation it is to be staged as.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub fetch: Fetch,
    pub generation: u64,
}

/// Fetches one snapshot at a time.
pub struct Fetcher {
    pub node: Arc<Node>,
    pub cluster_id: [u8; 16],
    pub home: Arc<dyn StateHome>,
    pub inbox: Arc<Inbox>,
}

/// A snapshot as far as it has come.
struct Staging {
    wanted: Wanted,
    state: Arc<dyn StateStore>,
    digest: Digest,
    last: Vec<u8>,
}

impl Fetcher {
    /// Runs until the engine stops.
    pub async fn run(self, mut wishes: mpsc::Receiver<Wanted>) {
        let mut staging: Option<Staging> = None;
        while let Some(wanted) = wishes.recv().await {
            if self.node.room.borrow().state == RoomState::Floor {
                sleep(Duration::from_millis(RETRY_PAUSE_MS)).await;
                continue;
            }
            // The same copy can be had from whoever leads by then: it is the same state. Another position begins anew.
            let resumable = |held: &Staging| held.wanted.fetch.mark == wanted.fetch.mark && held.wanted.generation == wanted.generation;
            let held = match staging.take().filter(resumable) {
                Some(held) => Ok(held),
                None => self.begin(wanted).await,
            };
            let begun = Instant::now();
            match held {
                Ok(mut held) => match self.transfer(wanted, &mut held).await {
                    Ok(snapshot) => {
                        log::info!(mark:% = snapshot.mark, seconds = begun.elapsed().as_secs(); "fetched a snapshot");
                        self.inbox.complete(Input::Staged(snapshot));
                    }
                    Err(Failure::Broken(reason)) => {
                        log::info!(from:% = wanted.fetch.from, reason = reason.as_str(); "a snapshot could not be fetched yet");
                        staging = Some(held);
                        sleep(Duration::from_millis(RETRY_PAUSE_MS)).await;
                    }
                    Err(Failure::Wrong(reason)) => {
                        log::warn!(from:% = wanted.fetch.from, reason; "a snapshot came damaged; begun anew");
                        sleep(Duration::from_millis(RETRY_PAUSE_MS)).await;
                    }
                    Err(Failure::Disk(error)) => return self.node.fatal.report("a snapshot", &error),
                },
                Err(error) => return self.node.fatal.report("a snapshot", &error),
            }
            // What was asked for while this one came is older news.
            while wishes.try_recv().is_ok() {}
        }
    }

    async fn begin(&self, wanted: Wanted) -> Result<Staging, replica::Error> {
        let home = self.home.clone();
        let state = on_disk(move || Ok(home.stage(wanted.generation)?)).await?;
        log::info!(from:% = wanted.fetch.from, mark:% = wanted.fetch.mark; "fetching a snapshot");
        Ok(Staging { wanted, state, digest: Digest::default(), last: Vec::new() })
    }

    async fn transfer(&self, wanted: Wanted, staging: &mut Staging) -> Result<Snapshot, Failure> {
        let mut pages = self.ask(wanted, &staging.last).await?;
        loop {
            let page =
                timeout(Duration::from_millis(PAGE_TIMEOUT_MS), pages.message()).await.map_err(|_| broken("the peer went silent"))?;
            let page = page.map_err(|status| broken(status.message()))?.ok_or_else(|| broken("the stream ended early"))?;
            let pairs: Vec<Pair> = page.pairs.into_iter().map(|pair| (pair.key.to_vec(), pair.value.to_vec())).collect();
            if crc_of(&pairs) != page.crc {
                return Err(Failure::Wrong("a page's checksum does not match"));
            }
            if !pairs.is_sorted_by(|a, b| a.0 < b.0)
                || pairs.first().is_some_and(|(key, _)| !staging.last.is_empty() && *key <= staging.last)
            {
                return Err(Failure::Wrong("pages are out of order"));
            }
            staging.digest.update(&pairs);
            staging.last = pairs.last().map_or(std::mem::take(&mut staging.last), |(key, _)| key.clone());
            let (state, mark) = (staging.state.clone(), wanted.fetch.mark);
            let end = page.end;
            if let Some(end) = &end
                && (end.pairs, &end.hash[..]) != (staging.digest.finish().0, &staging.digest.finish().1[..])
            {
                return Err(Failure::Wrong("the whole does not have the hash that was promised"));
            }
            let last = end.is_some();
            let position = on_disk(move || {
                let writes = pairs.into_iter().map(|(key, value)| Write::Put(key, value)).collect();
                // Only a whole one says how far it goes.
                state.write(writes, if last { mark } else { raft::LogId::ZERO })?;
                if last {
                    state.flush()?;
                }
                state::position(&*state)
            });
            let position = position.await.map_err(Failure::Disk)?;
            if last {
                return Ok(Snapshot { mark: position.applied, generation: wanted.generation, membership: position.membership });
            }
        }
    }

    async fn ask(&self, wanted: Wanted, after: &[u8]) -> Result<tonic::Streaming<wire::PullSnapshotResponse>, Failure> {
        let mut reason = "the address of the node that offers it is not known".to_owned();
        for address in self.node.book.addresses_of(wanted.fetch.from) {
            let request = wire::PullSnapshotRequest {
                cluster_id: self.cluster_id.to_vec().into(),
                from: self.node.id.0,
                mark: Some(convert::log_id_to_wire(wanted.fetch.mark)),
                after: after.to_vec().into(),
            };
            match dial_for_blobs(&self.node.guard, &address, wanted.fetch.from).await {
                Ok(mut client) => match client.pull_snapshot(request).await {
                    Ok(stream) => return Ok(stream.into_inner()),
                    Err(status) => reason = status.message().to_owned(),
                },
                Err(error) => reason = error.to_string(),
            }
        }
        Err(Failure::Broken(reason))
    }
}

enum Failure {
    /// It can go on from where it is.
    Broken(String),
    Wrong(&'static str),
    Disk(replica::Error),
}

fn broken(reason: impl Into<String>) -> Failure {
    Failure::Broken(reason.into())
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, replica::Error> + Send + 'static) -> Result<T, replica::Error> {
    spawn_blocking(work).await.expect("work on the disk ends in a result")
}
