//! A client's request as it comes in.
//!
//! Invariants:
//! - the bytes of messages that are not whole yet are counted, over all connections; a request for which there is no room is refused, never
//!   kept waiting: those that wait for each other's room would wait for ever;
//! - whoever makes us wait sends at least [`RATE_MIN_BYTES`] in each [`STRETCH_MS`] of waiting. Time in which we do not read, because our own
//!   disk is behind, is not the sender's. What counts are bytes, not messages: a camera on weak Wi-Fi takes long for one message and is heard.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use proto::v1::Reason;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_stream::Stream;

use super::UnderWay;
use crate::services::failure::not_executed;

/// 1 KiB/s: a tenth of what the weakest of radios still carries.
const RATE_MIN_BYTES: usize = 30 << 10;
const STRETCH_MS: u64 = 30_000;
/// What precedes each message (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// What is asked of a request's sender: so much in each stretch of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    least_bytes: usize,
    stretch: Duration,
}

/// Room that all requests share.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// A request's bytes.
pub struct Inflow<B> {
    bytes: B,
    framing: Framing,
    pace: Option<Pace>,
    timer: Pin<Box<Sleep>>,
    budget: Budget,
    /// Taken from the budget.
    held: usize,
    _under_way: UnderWay,
}

/// Where in its message the last byte was.
#[derive(Debug, Default)]
struct Framing {
    prefix: Vec<u8>,
    /// Of the message's body; its prefix is whole.
    missing: usize,
    /// Bytes of this message that are here.
    here: usize,
}

/// How long we waited for how much.
#[derive(Debug)]
struct Pace {
    rate: Rate,
    bytes: usize,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Rate {
    pub const LEAST: Rate = Rate { least_bytes: RATE_MIN_BYTES, stretch: Duration::from_millis(STRETCH_MS) };
}

impl Budget {
    pub fn of(bytes: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl<B> Inflow<B> {
    /// `rate`: none for whoever may be silent for as long as it likes.
    pub fn new(bytes: B, rate: Option<Rate>, budget: Budget, under_way: UnderWay) -> Inflow<B> {
        let pace = rate.map(|rate| Pace { rate, bytes: 0, waited: Duration::ZERO, waiting_since: None });
        let timer = Box::pin(sleep_until(Instant::now()));
        Inflow { bytes, framing: Framing::default(), pace, timer, budget, held: 0, _under_way: under_way }
    }

    fn hold(&mut self, bytes: usize) -> bool {
        let taken = bytes <= self.held || self.budget.take(bytes - self.held);
        if taken {
            self.budget.give_back(self.held.saturating_sub(bytes));
            self.held = bytes;
        }
        taken
    }
}

impl<B> Drop for Inflow<B> {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
    }
}

impl<B, E> Stream for Inflow<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<tonic::codegen::StdError>,
{
    type Item = Result<Bytes, tonic::codegen::StdError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inflow = self.get_mut();
        // Whoever asks for more has dealt with all messages that were whole.
        let partial = inflow.framing.here;
        inflow.hold(partial);
        match Pin::new(&mut inflow.bytes).poll_next(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                if let Some(pace) = &mut inflow.pace {
                    pace.took(bytes.len(), Instant::now());
                }
                // All of it lies in memory until it is asked for more, also what is whole by now.
                if !inflow.hold(partial + bytes.len()) {
                    let full = not_executed(Reason::Overloaded, "too much is on its way in to this node; try again, or another node");
                    return Poll::Ready(Some(Err(full.into())));
                }
                inflow.framing.pass(&bytes);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(ended) => Poll::Ready(ended.map(|ended| ended.map_err(Into::into))),
            Poll::Pending => {
                let Some(pace) = &mut inflow.pace else { return Poll::Pending };
                loop {
                    let now = Instant::now();
                    let until = pace.waits(now);
                    if until > now {
                        inflow.timer.as_mut().reset(until);
                        ready!(inflow.timer.as_mut().poll(cx));
                    } else if !pace.begin_stretch(now) {
                        let slow = not_executed(Reason::TooSlow, "the request came too slowly, or not at all; nothing was stored");
                        return Poll::Ready(Some(Err(slow.into())));
                    }
                }
            }
        }
    }
}

impl Framing {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.prefix.len() < PREFIX_BYTES {
                let part = bytes.len().min(PREFIX_BYTES - self.prefix.len());
                self.prefix.extend_from_slice(&bytes[..part]);
                self.here += part;
                bytes = &bytes[part..];
                if let [_, length @ ..] = &self.prefix[..]
                    && let Ok(length) = <[u8; PREFIX_BYTES - 1]>::try_from(length)
                {
                    self.missing = u32::from_be_bytes(length) as usize;
                }
            }
            let part = if self.prefix.len() == PREFIX_BYTES { bytes.len().min(self.missing) } else { 0 };
            self.missing -= part;
            self.here += part;
            bytes = &bytes[part..];
            if self.prefix.len() == PREFIX_BYTES && self.missing == 0 {
                self.prefix.clear();
                self.here = 0;
            }
        }
    }
}

impl Pace {
    fn took(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now - since;
        }
        self.bytes += bytes;
    }

    /// Until when we wait before we judge.
    fn waits(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.rate.stretch.saturating_sub(self.waited)
    }

    /// A stretch of waiting is over. False if it brought too little.
    fn begin_stretch(&mut self, now: Instant) -> bool {
        let enough = self.bytes >= self.rate.least_bytes;
        *self = Pace { rate: self.rate, bytes: 0, waited: Duration::ZERO, waiting_since: Some(now) };
        enough
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::timeout};
    use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
    use tonic::Status;

    use super::*;
    use crate::listening::Activity;

    type Sent = mpsc::Sender<Result<Bytes, std::io::Error>>;

    fn request(rate: Option<Rate>, budget: &Budget) -> (Sent, Inflow<ReceiverStream<Result<Bytes, std::io::Error>>>) {
        let (sent, bytes) = mpsc::channel(16);
        let under_way = Activity::new().begin(1).unwrap();
        (sent, Inflow::new(ReceiverStream::new(bytes), rate, budget.clone(), under_way))
    }

    fn reason(error: &tonic::codegen::StdError) -> i32 {
        crate::services::failure::detail(error.downcast_ref::<Status>().unwrap()).reason
    }

    /// A message of this size, with what precedes it.
    fn message(bytes: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend((bytes as u32).to_be_bytes());
        message.resize(PREFIX_BYTES + bytes, 7);
        message
    }

    /// When a sender of so much each second, which we always wait for, is given up.
    fn given_up_after(bytes_a_second: usize) -> Option<u64> {
        let begun = Instant::now();
        let mut pace = Pace { rate: Rate::LEAST, bytes: 0, waited: Duration::ZERO, waiting_since: None };
        (1..600).find(|second| {
            let now = begun + Duration::from_secs(*second);
            let slow = pace.waits(now - Duration::from_secs(1)) <= now && !pace.begin_stretch(now);
            pace.took(bytes_a_second, now);
            slow
        })
    }

    #[tokio::test]
    async fn a_request_that_trickles_is_given_up_and_a_slow_one_is_not() {
        // Of the stretch's last second nothing counts that comes at its very end.
        assert_eq!(given_up_after(RATE_MIN_BYTES / 29 + 1), None);
        assert_eq!(given_up_after(1_000), Some(30));
        assert_eq!(given_up_after(0), Some(30));
    }

    #[tokio::test]
    async fn exactly_the_least_in_a_stretch_passes_and_a_byte_less_does_not() {
        let rate = Rate { least_bytes: RATE_MIN_BYTES, stretch: Duration::from_millis(100) };
        for (bytes, passes) in [(RATE_MIN_BYTES, true), (RATE_MIN_BYTES - 1, false)] {
            let (sent, mut inflow) = request(Some(rate), &Budget::of(1 << 20));
            sent.send(Ok(vec![0; bytes].into())).await.unwrap();
            let begun = Instant::now();
            assert!(inflow.next().await.unwrap().is_ok());
            // Whoever passed is judged again at the end of the next stretch.
            let ended = inflow.next().await.unwrap().unwrap_err();
            assert_eq!(reason(&ended), Reason::TooSlow as i32);
            let stretches = if passes { 2 } else { 1 };
            assert!(begun.elapsed() >= rate.stretch * stretches && (passes || begun.elapsed() < rate.stretch * 2), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn time_in_which_nobody_reads_is_not_the_senders() {
        let rate = Rate { least_bytes: RATE_MIN_BYTES, stretch: Duration::from_millis(50) };
        let (sent, mut inflow) = request(Some(rate), &Budget::of(1 << 20));
        for _ in 0..5 {
            sent.send(Ok(vec![0; 1].into())).await.unwrap();
            tokio::time::sleep(rate.stretch).await;
            assert!(inflow.next().await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn a_stream_of_calls_may_be_silent() {
        let (sent, mut inflow) = request(None, &Budget::of(1 << 20));
        assert!(timeout(Duration::from_millis(100), inflow.next()).await.is_err());
        drop(sent);
    }

    #[tokio::test]
    async fn the_room_for_requests_is_shared_to_the_last_byte_and_given_back() {
        let budget = Budget::of(1_000);
        let (first_sent, mut first) = request(Some(Rate::LEAST), &budget);
        let (second_sent, mut second) = request(Some(Rate::LEAST), &budget);
        let part = |bytes: usize| Ok(message(2_000)[..bytes].to_vec().into());
        first_sent.send(part(600)).await.unwrap();
        assert!(first.next().await.unwrap().is_ok());
        second_sent.send(part(400)).await.unwrap();
        assert!(second.next().await.unwrap().is_ok(), "exactly what is left");
        second_sent.send(Ok(vec![7; 1].into())).await.unwrap();
        let refused = second.next().await.unwrap().unwrap_err();
        assert_eq!(reason(&refused), Reason::Overloaded as i32);
        drop((first, second));
        assert_eq!(budget.left.load(Ordering::Relaxed), 1_000);
    }

    #[tokio::test]
    async fn what_was_a_whole_message_is_forgotten_when_more_is_asked_for() {
        let budget = Budget::of(1_000);
        let (sent, mut inflow) = request(None, &budget);
        // Cut anywhere: in prefixes, in bodies, several messages in one piece.
        let all: Vec<u8> = [message(300), message(0), message(1), message(500), message(90)].concat();
        for round in 1..40 {
            for piece in all.chunks(7 * round) {
                sent.send(Ok(piece.to_vec().into())).await.unwrap();
                assert!(inflow.next().await.unwrap().is_ok(), "no message is larger than the room");
            }
        }
        assert!(timeout(Duration::from_millis(5), inflow.next()).await.is_err());
        assert_eq!(budget.left.load(Ordering::Relaxed), 1_000);
    }
}
