//! Giving a frozen copy away, page by page.

use std::sync::Arc;

use proto::v1::{self as wire, Reason};
use storage::{Error, Pair, Scan, StateStore};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;

use super::{Digest, crc_of};
use crate::services::not_executed;

const PAGE_ITEMS: usize = 1_024;
const PAGE_BYTES: usize = 256 << 10;

type Pages = mpsc::Sender<Result<wire::PullSnapshotResponse, Status>>;

/// Sends everything behind the key `after`, then the hash of the whole.
pub async fn give(copy: Arc<dyn StateStore>, after: Vec<u8>, pages: Pages) {
    let work = move || {
        if let Err(error) = read(&*copy, after, &pages) {
            log::warn!(error:%; "a snapshot cannot be read");
            let _ = pages.blocking_send(Err(not_executed(Reason::BlobMissing, error.to_string())));
        }
    };
    let _ = spawn_blocking(work).await;
}

fn read(copy: &dyn StateStore, after: Vec<u8>, pages: &Pages) -> Result<(), Error> {
    let mut digest = Digest::default();
    let mut start = Vec::new();
    loop {
        let scan = Scan { start, end: None, max_items: PAGE_ITEMS, max_bytes: PAGE_BYTES };
        let mut pairs = copy.scan(&scan)?;
        digest.update(&pairs);
        let last = pairs.last().map(|(key, _)| key.clone());
        // What the receiver has already is read for the hash only.
        pairs.retain(|(key, _)| after.is_empty() || *key > after);
        let end = last.is_none().then(|| {
            let (count, hash) = digest.finish();
            wire::PullSnapshotEnd { pairs: count, hash: hash.to_vec().into() }
        });
        let ended = end.is_some();
        if (ended || !pairs.is_empty()) && pages.blocking_send(Ok(page(pairs, end))).is_err() {
            return Ok(());
        }
        let Some(last) = last else { return Ok(()) };
        start = [&last[..], &[0]].concat();
    }
}

fn page(pairs: Vec<Pair>, end: Option<wire::PullSnapshotEnd>) -> wire::PullSnapshotResponse {
    let crc = crc_of(&pairs);
    let pairs = pairs.into_iter().map(|(key, value)| wire::pull_snapshot_response::Pair { key: key.into(), value: value.into() });
    wire::PullSnapshotResponse { pairs: pairs.collect(), crc, end }
}
