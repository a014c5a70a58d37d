//! Clients that upload images, each once and under a key of its own, and read them back from any node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Client, Kind, Source};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::kv::Kv;
use crate::noise::Noise;

/// What was uploaded under `key`.
#[derive(Clone, Debug)]
pub struct Image {
    pub key: String,
    /// BLAKE3
    pub hash: [u8; 32],
    pub size: u64,
}

/// Uploads under way until stopped.
pub struct Images {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<(), String>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicU64,
    in_flight: AtomicU64,
    read_back: AtomicU64,
    acknowledged: Mutex<Vec<Image>>,
    /// May be there or not, but if so, whole.
    doubtful: Mutex<Vec<Image>>,
}

const UPLOADERS: u64 = 2;
const PAUSE_MS: u64 = 60;
const TIMEOUT_S: u64 = 20;
const LAST_READ_LIMIT_S: u64 = 60;
/// Larger than a value that goes through the log, and up to a few chunks.
const SMALL_KIB: std::ops::Range<u64> = 65..400;
/// One in so many takes more than one step of syncing.
const LARGE_EVERY: u64 = 20;
const LARGE_BYTES: u64 = 5 << 20;

impl Images {
    pub async fn start(cluster: &Cluster) -> Images {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for _ in 0..UPLOADERS {
            tasks.spawn(upload(shared.clone(), cluster.client(Duration::from_secs(TIMEOUT_S)).await));
        }
        for node in &cluster.nodes {
            tasks.spawn(read_back(shared.clone(), node.kv(), node.name.clone()));
        }
        Images { shared, tasks }
    }

    /// Uploads that nobody has answered yet.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    pub fn acknowledged(&self) -> Vec<Image> {
        self.shared.acknowledged.lock().unwrap().clone()
    }

    /// Read from a node that was asked alone, while the load ran.
    pub fn read_back(&self) -> u64 {
        self.shared.read_back.load(Ordering::Relaxed)
    }

    /// Ends after the uploads under way; then every node must give out every image that was acknowledged, and none of the others in part.
    pub async fn finish(mut self, cluster: &Cluster) -> Result<(), String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| format!("a client gave up: {error}"))??;
        }
        let doubtful = self.shared.doubtful.lock().unwrap().clone();
        for node in &cluster.nodes {
            let kv = node.kv();
            for image in &self.acknowledged() {
                match digest(&kv, image).await? {
                    Some(seen) if seen == (image.size, image.hash) => {}
                    other => return Err(format!("{}: {} was acknowledged and is {other:?}", node.name, image.key)),
                }
            }
            for image in &doubtful {
                match digest(&kv, image).await? {
                    Some(seen) if seen != (image.size, image.hash) => return Err(format!("{}: {} is {seen:?}", node.name, image.key)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

async fn upload(shared: Arc<Shared>, client: Client) -> Result<(), String> {
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let (image, content) = paint(number);
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = client.put(image.key.as_bytes(), Source::Bytes(content.into()), None, &mut |_, _| {}).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(_) => shared.acknowledged.lock().unwrap().push(image),
            Err(error) => match error.kind {
                Kind::NotExecuted => {}
                Kind::Unknown => shared.doubtful.lock().unwrap().push(image),
                other => return Err(format!("a plain upload was refused ({other:?}): {error}")),
            },
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    Ok(())
}

fn paint(number: u64) -> (Image, Vec<u8>) {
    let size = match number % LARGE_EVERY {
        0 => LARGE_BYTES,
        _ => (SMALL_KIB.start + number * 37 % (SMALL_KIB.end - SMALL_KIB.start)) << 10,
    };
    let mut noise = Noise::new(number, size);
    let mut content = Vec::new();
    while let Some(chunk) = noise.chunk(usize::MAX) {
        content.extend_from_slice(&chunk);
    }
    (Image { key: format!("image/{number}"), hash: *blake3::hash(&content).as_bytes(), size }, content)
}

async fn read_back(shared: Arc<Shared>, kv: Kv, name: String) -> Result<(), String> {
    let mut turn = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        turn += 1;
        let image = {
            let images = shared.acknowledged.lock().unwrap();
            // Steps of a number that shares no factor with most lengths: old and new ones in turn.
            let place = turn.wrapping_mul(7_919) % (images.len() as u64).max(1);
            images.get(place as usize).cloned()
        };
        if let Some(image) = image {
            match kv.digest(image.key.as_bytes()).await {
                Ok(Some(seen)) if seen == (image.size, image.hash) => drop(shared.read_back.fetch_add(1, Ordering::Relaxed)),
                Ok(seen) => return Err(format!("{name}: {} was acknowledged and is {seen:?}", image.key)),
                // The node is down, or alone: nothing was seen.
                Err(_) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    Ok(())
}

async fn digest(kv: &Kv, image: &Image) -> Result<Option<(u64, [u8; 32])>, String> {
    let end = Instant::now() + Duration::from_secs(LAST_READ_LIMIT_S);
    loop {
        match kv.digest(image.key.as_bytes()).await {
            Ok(seen) => return Ok(seen),
            Err(failure) if Instant::now() >= end => return Err(format!("{} cannot be read: {failure:?}", image.key)),
            Err(_) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
        }
    }
}
