//! N clients, each with one request under way, for a given time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::{Store, StoreClient};
use crate::Noise;

const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1_024;
/// Keys are drawn from this many, so that a long run does not measure an ever larger state.
const KEYS: u64 = 20_000;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub done: u64,
    pub failed: u64,
}

/// Runs `clients` loops over `connections` connections to the leader.
pub async fn closed_loop(store: &impl Store, clients: u64, connections: u64, seconds: u64, writes: bool) -> Figures {
    let mut channels = Vec::new();
    for _ in 0..connections.min(clients) {
        let endpoint = Endpoint::from_shared(format!("http://{}", store.leader_address())).expect("an address is a URL").tcp_nodelay(true);
        channels.push(endpoint.connect().await.expect("the leader listens"));
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let mut loops = JoinSet::new();
    for number in 0..clients {
        let client = store.client(channels[(number % channels.len() as u64) as usize].clone());
        loops.spawn(one_client(client, number, end, writes));
    }
    let mut latencies = Vec::new();
    let mut failed = 0;
    while let Some(done) = loops.join_next().await {
        let (one, errors) = done.expect("a loop does not panic");
        latencies.extend(one);
        failed += errors;
    }
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |q: f64| latencies.get(((latencies.len() as f64 - 1.0) * q) as usize).copied().unwrap_or_default();
    Figures { per_second: latencies.len() as f64 / elapsed, p50: quantile(0.50), p99: quantile(0.99), done: latencies.len() as u64, failed }
}

/// Bytes of key and value together.
pub const PAYLOAD_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;

async fn one_client(client: StoreClient, number: u64, end: Instant, writes: bool) -> (Vec<Duration>, u64) {
    let mut latencies = Vec::new();
    let mut failed = 0;
    // Values that compress would flatter the bytes written.
    let pool = Noise::new(number, 1 << 20).chunk(1 << 20).expect("a chunk");
    let mut draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while Instant::now() < end {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = key(draw >> 33);
        let at = (draw >> 40) as usize % (pool.len() - VALUE_BYTES);
        let start = Instant::now();
        let answer = if writes { client.put(key, pool.slice(at..at + VALUE_BYTES)).await } else { client.get(key).await };
        match answer {
            Ok(()) => latencies.push(start.elapsed()),
            Err(_) => failed += 1,
        }
    }
    (latencies, failed)
}

fn key(draw: u64) -> Bytes {
    let mut key = format!("{:016x}", (draw % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(KEY_BYTES / 16);
    key.truncate(KEY_BYTES);
    key.into()
}
