//! What is under way on one connection: how many streams, and since when none.
//!
//! A stream counts from its request to the end of all that holds its guard: the request's body, the answer, or the task that makes it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// Shared by a connection and the streams on it.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Mutex<Streams>>);

#[derive(Debug)]
struct Streams {
    open: usize,
    /// When the last one ended, or the connection began.
    quiet_since: Instant,
}

/// One stream under way. Clones are of the same stream; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct UnderWay(#[allow(dead_code, reason = "held for its drop")] Arc<Guard>);

#[derive(Debug)]
struct Guard(Activity);

impl Activity {
    pub fn new() -> Activity {
        Activity(Arc::new(Mutex::new(Streams { open: 0, quiet_since: Instant::now() })))
    }

    /// A stream begins, unless `max` are open.
    pub fn begin(&self, max: usize) -> Option<UnderWay> {
        let mut streams = self.0.lock().unwrap();
        if streams.open >= max {
            return None;
        }
        streams.open += 1;
        Some(UnderWay(Arc::new(Guard(self.clone()))))
    }

    /// When a connection that stays as it is now will have been without a stream for `patience`.
    pub fn idle_at(&self, now: Instant, patience: Duration) -> Instant {
        let streams = self.0.lock().unwrap();
        if streams.open > 0 { now + patience } else { streams.quiet_since + patience }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut streams = self.0.0.lock().unwrap();
        streams.open -= 1;
        streams.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_from_the_end_of_its_last_stream_on() {
        let patience = Duration::from_secs(10);
        let before = Instant::now();
        let activity = Activity::new();
        let now = before + patience * 9;
        assert!((before + patience..=Instant::now() + patience).contains(&activity.idle_at(now, patience)), "since it began");
        let stream = activity.begin(2).unwrap();
        let other = activity.begin(2).unwrap();
        drop(other);
        assert_eq!(activity.idle_at(now, patience), now + patience, "one is still under way");
        let part = stream.clone();
        drop(stream);
        assert_eq!(activity.idle_at(now, patience), now + patience, "and part of it still is");
        let before = Instant::now();
        drop(part);
        assert!((before + patience..=Instant::now() + patience).contains(&activity.idle_at(now, patience)), "since its end");
    }

    #[test]
    fn one_stream_more_than_allowed_does_not_begin() {
        let activity = Activity::new();
        let first = activity.begin(2).unwrap();
        let _second = activity.begin(2).unwrap();
        assert!(activity.begin(2).is_none());
        drop(first);
        assert!(activity.begin(2).is_some());
    }
}
