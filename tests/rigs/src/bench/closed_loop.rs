//! N clients, each with one request under way, until a time or a count is reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Caller, Connections, Corpus, Store, Usage};

/// Loops that failed so often in a row have nobody to talk to.
const FAILURES_MAX: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Writes,
    Reads,
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Time(Duration),
    /// Requests answered.
    Count(u64),
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub done: u64,
    pub failed: u64,
    pub usage: Usage,
}

/// Runs `clients` loops on the node that leads.
pub async fn closed_loop(
    store: &impl Store,
    corpus: &Arc<Corpus>,
    kind: Kind,
    clients: usize,
    connections: Connections,
    until: Until,
) -> Figures {
    let callers = store.callers(clients, connections).await;
    // Each connection is open, and proven, before the clock runs.
    for caller in callers.iter().take(connections.of(clients)) {
        let (key, value) = corpus.next();
        caller.put(key, value).await.unwrap_or_else(|reason| panic!("{} does not write: {reason}", store.name()));
    }
    let pids = store.pids();
    let (before, began) = (Usage::now(&pids), Instant::now());
    let end = match until {
        Until::Time(time) => Goal { end: Some(began + time), left: AtomicU64::new(u64::MAX) },
        Until::Count(count) => Goal { end: None, left: AtomicU64::new(count) },
    };
    let goal = Arc::new(end);
    let mut loops = JoinSet::new();
    for (number, caller) in callers.into_iter().enumerate() {
        loops.spawn(one_client(caller, corpus.clone(), kind, number as u64, goal.clone()));
    }
    let mut latencies_us: Vec<u32> = Vec::new();
    let mut failed = 0;
    while let Some(done) = loops.join_next().await {
        let (one, failures) = done.expect("a loop does not panic");
        latencies_us.extend(one);
        failed += failures;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let usage = Usage::now(&pids).since(before);
    latencies_us.sort_unstable();
    let quantile = |q: f64| latencies_us.get(((latencies_us.len() as f64 - 1.0) * q) as usize).copied().unwrap_or_default();
    let done = latencies_us.len() as u64;
    let [p50, p99] = [0.50, 0.99].map(|q| Duration::from_micros(quantile(q).into()));
    Figures { per_second: done as f64 / elapsed, p50, p99, done, failed, usage }
}

/// When the loops end.
struct Goal {
    end: Option<Instant>,
    left: AtomicU64,
}

impl Goal {
    fn is_reached(&self, now: Instant) -> bool {
        match self.end {
            Some(end) => now >= end,
            None => self.left.load(Ordering::Relaxed) == 0,
        }
    }

    fn count(&self) {
        if self.end.is_none() {
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        }
    }
}

async fn one_client(caller: Caller, corpus: Arc<Corpus>, kind: Kind, number: u64, goal: Arc<Goal>) -> (Vec<u32>, u64) {
    let mut latencies_us = Vec::with_capacity(1 << 12);
    let (mut failed, mut failed_in_a_row) = (0, 0);
    let mut draw = number << 32;
    let mut start = Instant::now();
    while !goal.is_reached(start) {
        let answer = match kind {
            Kind::Writes => {
                let (key, value) = corpus.next();
                caller.put(key, value).await
            }
            Kind::Reads => {
                draw += 1;
                caller.get(corpus.old(draw)).await
            }
        };
        let now = Instant::now();
        match answer {
            Ok(()) => {
                latencies_us.push(u32::try_from((now - start).as_micros()).unwrap_or(u32::MAX));
                failed_in_a_row = 0;
                goal.count();
            }
            Err(reason) => {
                if failed == 0 {
                    eprintln!("client {number}: {reason}");
                }
                (failed, failed_in_a_row) = (failed + 1, failed_in_a_row + 1);
                assert!(failed_in_a_row < FAILURES_MAX, "client {number} is never served: {reason}");
            }
        }
        start = now;
    }
    (latencies_us, failed)
}
