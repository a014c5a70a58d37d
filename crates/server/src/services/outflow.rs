//! A long answer as it goes out: made by a task, sent as fast as the client takes it.
//!
//! A client that takes nothing for [`UNREAD_TIMEOUT_MS`] loses its place: the task ends, and with it what it held. Should the client read on
//! after all, it gets what had been queued and then an error, never an end: half a list would else look like a whole one.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use proto::v1::Reason;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::Stream;
use tonic::Status;

use super::failure::not_executed;

const UNREAD_TIMEOUT_MS: u64 = 30_000;
/// Messages made and not yet taken.
const MESSAGES_QUEUED: usize = 2;

/// The end that the client reads. What it was given to hold is dropped with it.
pub struct Outflow<T> {
    messages: mpsc::Receiver<Result<T, Status>>,
    given_up: Arc<AtomicBool>,
    _held: Box<dyn Send>,
}

/// The end that is filled.
pub struct Source<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    given_up: Arc<AtomicBool>,
    patience: Duration,
}

/// The client has gone, or reads nothing.
#[derive(Debug)]
pub struct Unread;

pub fn outflow<T>(held: impl Send + 'static) -> (Source<T>, Outflow<T>) {
    within(Duration::from_millis(UNREAD_TIMEOUT_MS), held)
}

fn within<T>(patience: Duration, held: impl Send + 'static) -> (Source<T>, Outflow<T>) {
    let (sender, receiver) = mpsc::channel(MESSAGES_QUEUED);
    let given_up = Arc::new(AtomicBool::new(false));
    (Source { messages: sender, given_up: given_up.clone(), patience }, Outflow { messages: receiver, given_up, _held: Box::new(held) })
}

impl<T> Source<T> {
    pub async fn give(&self, message: Result<T, Status>) -> Result<(), Unread> {
        match timeout(self.patience, self.messages.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unread),
            Err(_) => {
                self.given_up.store(true, Ordering::Release);
                Err(Unread)
            }
        }
    }
}

impl<T> Stream for Outflow<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.messages.poll_recv(cx) {
            Poll::Ready(None) if self.given_up.swap(false, Ordering::Acquire) => {
                Poll::Ready(Some(Err(not_executed(Reason::TooSlow, "the answer was not read for too long; ask again"))))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::services::failure::detail;

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up_in_time_and_is_no_whole_answer() {
        let patience = Duration::from_millis(100);
        let (source, mut answer) = within::<usize>(patience, ());
        let begun = Instant::now();
        let mut given = 0;
        while source.give(Ok(given)).await.is_ok() {
            given += 1;
        }
        assert!(begun.elapsed() >= patience);
        assert_eq!(given, MESSAGES_QUEUED);
        drop(source);
        for expected in 0..MESSAGES_QUEUED {
            assert_eq!(answer.next().await.unwrap().unwrap(), expected);
        }
        assert_eq!(detail(&answer.next().await.unwrap().unwrap_err()).reason(), Reason::TooSlow);
        assert!(answer.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_and_an_end() {
        let (source, mut answer) = within::<usize>(Duration::from_secs(10), ());
        tokio::spawn(async move {
            for number in 0..10 {
                source.give(Ok(number)).await.unwrap();
            }
        });
        for expected in 0..10 {
            sleep(Duration::from_millis(5)).await;
            assert_eq!(answer.next().await.unwrap().unwrap(), expected);
        }
        assert!(answer.next().await.is_none());
    }

    #[tokio::test]
    async fn what_it_was_given_to_hold_lasts_as_long_as_it() {
        let held = Arc::new(());
        let (source, answer) = outflow::<usize>(held.clone());
        drop(source);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(answer);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
