//! Large values: how fast they are taken, and what they cost on the disks.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Source};
use proto::v1::StatusResponse;
use tokio::task::JoinSet;

use super::written_bytes_at_rest;
use crate::{Cluster, Noise, eventually};

pub const IMAGE_BYTES: u64 = 8 << 20;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const EVERYWHERE_LIMIT_S: u64 = 120;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Uploads {
    /// Acknowledged, in millions.
    pub bytes_per_second: f64,
    /// Per payload byte and node, once every node has its copy.
    pub written_per_byte: f64,
}

/// Uploads `images` different images, `together` at a time.
pub async fn uploads(cluster: &Cluster, images: u64, together: u64, seed: u64) -> Uploads {
    let pids: Vec<u32> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let contents: Vec<Bytes> = (0..images).map(|number| image(seed + number)).collect();
    let before = written_bytes_at_rest(&pids).await;
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    for lane in 0..together {
        let client = cluster.client(CALL_TIMEOUT).await;
        let mine: Vec<(u64, Bytes)> =
            (0..images).zip(&contents).skip(lane as usize).step_by(together as usize).map(|(n, c)| (n, c.clone())).collect();
        lanes.spawn(put_all(client, seed, mine));
    }
    while let Some(lane) = lanes.join_next().await {
        lane.expect("an upload does not panic");
    }
    let seconds = began.elapsed().as_secs_f64();
    let complete =
        |statuses: &Vec<Option<StatusResponse>>| statuses.iter().all(|s| s.as_ref().is_some_and(|status| status.blobs_missing == 0));
    eventually(EVERYWHERE_LIMIT_S, "each node has its copy", || cluster.statuses(), complete).await;
    let written = written_bytes_at_rest(&pids).await - before;
    let payload = (images * IMAGE_BYTES) as f64;
    Uploads { bytes_per_second: payload / seconds, written_per_byte: written as f64 / payload / pids.len() as f64 }
}

async fn put_all(client: Client, seed: u64, images: Vec<(u64, Bytes)>) {
    for (number, image) in images {
        let key = format!("image/{seed}/{number}");
        let written = client.put(key.as_bytes(), Source::Bytes(image), None, &mut |_, _| {}).await;
        written.unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

fn image(seed: u64) -> Bytes {
    let mut noise = Noise::new(seed, IMAGE_BYTES);
    let mut image = Vec::with_capacity(IMAGE_BYTES as usize);
    while let Some(chunk) = noise.chunk(usize::MAX) {
        image.extend_from_slice(&chunk);
    }
    image.into()
}
