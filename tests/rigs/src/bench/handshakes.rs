//! How many callers a node can get to know in a second.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Pass;

/// Below what a node greets at a time.
const AT_A_TIME: usize = 16;

/// TLS handshakes of logged-in clients with one node, both sides showing certificates. Client and node share the machine, so that each costs about
/// twice what it costs the node.
#[derive(Clone, Copy, Debug)]
pub struct Handshakes {
    pub per_second: f64,
    pub p99: Duration,
    pub failed: u64,
}

pub async fn handshakes(address: &str, pass: &Pass, time: Duration) -> Handshakes {
    let mut callers = JoinSet::new();
    let start = Instant::now();
    for _ in 0..AT_A_TIME {
        let (address, pass) = (address.to_owned(), pass.clone());
        callers.spawn(async move {
            let (mut took, mut failed) = (Vec::new(), 0);
            while start.elapsed() < time {
                let began = Instant::now();
                match greet(&address, &pass).await {
                    Ok(()) => took.push(began.elapsed()),
                    Err(_) => failed += 1,
                }
            }
            (took, failed)
        });
    }
    let each = callers.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    let failed = each.iter().map(|(_, failed)| failed).sum();
    let mut took: Vec<Duration> = each.into_iter().flat_map(|(took, _)| took).collect();
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    Handshakes { per_second: took.len() as f64 / seconds, p99, failed }
}

async fn greet(address: &str, pass: &Pass) -> std::io::Result<()> {
    let mut greeted = pass.greet(TcpStream::connect(address).await?).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut greeted).await
}
