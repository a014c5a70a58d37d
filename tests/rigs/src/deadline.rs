//! Waiting with a limit: generous, so that a slow machine is no failure, and finite, so that a hang is one.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

const POLL_MS: u64 = 50;

/// Asks until the answer is good; panics with the last answer after `seconds`.
#[track_caller]
pub fn eventually<T: Debug, F: Future<Output = T>>(
    seconds: u64,
    what: &str,
    ask: impl FnMut() -> F,
    good: impl Fn(&T) -> bool,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    wait(seconds, format!("{caller}: {what}"), ask, good)
}

async fn wait<T: Debug, F: Future<Output = T>>(seconds: u64, what: String, mut ask: impl FnMut() -> F, good: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {seconds} s; at last: {answer:?}");
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}

/// The result of `work`, or a panic after `seconds`.
#[track_caller]
pub fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = format!("{caller}: {what}: not within {seconds} s");
    async move { tokio::time::timeout(Duration::from_secs(seconds), work).await.unwrap_or_else(|_| panic!("{what}")) }
}
