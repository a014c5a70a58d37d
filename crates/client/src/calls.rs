//! Many calls at a time over one stream.
//!
//! Invariants:
//! - a call is answered by what the node sends with its tag, or told that the stream ended: then what had left this machine may have been
//!   executed, what had not was not;
//! - an answer to a call that nobody waits for any more is passed over; an answer to a call that was never made ends the stream;
//! - at [`CALLS_MAX`] calls without an answer further ones wait here, within their time;
//! - whoever is slow to take an answer holds nobody up: answers are handed over without waiting.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::kv_client::KvClient;
use proto::v1::{CallRequest, CallResponse};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::fault::{Effect, Fault};

/// As many as a node takes from one stream.
const CALLS_MAX: usize = 1_024;

/// An open stream; it ends when this is dropped.
pub struct Calls {
    shared: Arc<Shared>,
}

/// Why a call has no answer.
pub enum Lost {
    /// The node does not know this method, and has executed nothing.
    NoSuchMethod,
    Fault(Fault),
}

struct Shared {
    state: Mutex<State>,
    room: Semaphore,
}

#[derive(Default)]
struct State {
    next_tag: u64,
    /// Not yet taken by the connection, in the order of their tags.
    queue: VecDeque<CallRequest>,
    /// Every call without an answer, by its tag.
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Wakes the connection.
    connection: Option<Waker>,
    /// Nobody will make a call any more.
    closed: bool,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Clone)]
enum End {
    /// The node, or the way to it, did not take the stream.
    Refused(Status),
    /// Calls may have been executed without an answer.
    Broken(String),
}

impl Calls {
    /// Must be called in a runtime, which does the work until the stream ends.
    pub fn open(channel: Channel) -> Calls {
        let shared = Arc::new(Shared { state: Mutex::default(), room: Semaphore::new(CALLS_MAX) });
        tokio::spawn(converse(shared.clone(), channel));
        Calls { shared }
    }

    pub fn has_ended(&self) -> bool {
        self.shared.state.lock().unwrap().end.is_some()
    }

    pub async fn call(&self, call: Call, effect: Effect, bound: Instant) -> Result<Answer, Lost> {
        let not_sent = || Lost::Fault(Fault::timed_out(Effect::None));
        let _room = match self.shared.room.try_acquire() {
            Ok(room) => room,
            Err(_) => timeout_at(bound, self.shared.room.acquire()).await.map_err(|_| not_sent())?.expect("nobody closes it"),
        };
        let Some(mut waiting) = self.shared.enqueue(call) else { return Err(self.shared.lost(false, effect)) };
        match timeout_at(bound, &mut waiting.answer).await {
            Ok(Ok(answer)) => {
                waiting.answered = true;
                Ok(answer)
            }
            Ok(Err(_)) => Err(self.shared.lost(waiting.withdraw(), effect)),
            Err(_) if waiting.withdraw() => Err(Lost::Fault(Fault::timed_out(effect))),
            Err(_) => Err(not_sent()),
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let connection = {
            let mut state = self.shared.state.lock().unwrap();
            state.closed = true;
            state.connection.take()
        };
        if let Some(connection) = connection {
            connection.wake();
        }
    }
}

/// A call without an answer yet. One that is dropped unsent will not be sent.
struct Waiting<'a> {
    shared: &'a Shared,
    tag: u64,
    answer: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Waiting<'_> {
    /// Gives the call up; whether it had left already. In one step, so that a call said not to be sent is not sent a moment later.
    fn withdraw(&self) -> bool {
        let mut state = self.shared.state.lock().unwrap();
        state.waiting.remove(&self.tag);
        let unsent = state.queue.binary_search_by_key(&self.tag, |request| request.tag);
        if let Ok(at) = unsent {
            state.queue.remove(at);
        }
        unsent.is_err()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.withdraw();
        }
    }
}

impl Shared {
    /// `None`: the stream has ended.
    fn enqueue(&self, call: Call) -> Option<Waiting<'_>> {
        let (sender, answer) = oneshot::channel();
        let (tag, connection) = {
            let mut state = self.state.lock().unwrap();
            if state.end.is_some() {
                return None;
            }
            let tag = state.next_tag;
            state.next_tag += 1;
            state.queue.push_back(CallRequest { tag, call: Some(call) });
            state.waiting.insert(tag, sender);
            (tag, state.connection.take())
        };
        if let Some(connection) = connection {
            connection.wake();
        }
        Some(Waiting { shared: self, tag, answer, answered: false })
    }

    /// What the end of the stream means for a call.
    fn lost(&self, sent: bool, effect: Effect) -> Lost {
        let effect = if sent { effect } else { Effect::None };
        match &self.state.lock().unwrap().end {
            Some(End::Refused(status)) if status.code() == Code::Unimplemented => Lost::NoSuchMethod,
            Some(End::Refused(status)) => Lost::Fault(Fault::of(status, effect)),
            Some(End::Broken(why)) => Lost::Fault(Fault::silent(effect, why.clone())),
            None => unreachable!("a call waits as long as its stream is open"),
        }
    }

    fn answered(&self, answers: &mut Vec<CallResponse>) -> Result<(), End> {
        let mut state = self.state.lock().unwrap();
        for CallResponse { tag, answer } in answers.drain(..) {
            let never_sent = tag >= state.next_tag || state.queue.front().is_some_and(|first| first.tag <= tag);
            let (false, Some(answer)) = (never_sent, answer) else {
                return Err(End::Broken("the node answered what nobody had asked".into()));
            };
            if let Some(waiting) = state.waiting.remove(&tag) {
                // Who has gone meanwhile needs no answer.
                let _ = waiting.send(answer);
            }
        }
        Ok(())
    }
}

/// Runs the stream until it ends, and tells those who wait.
async fn converse(shared: Arc<Shared>, channel: Channel) {
    // Dropped before its end, with the runtime, it is an end too.
    let mut ending = Ending { shared: shared.clone(), end: End::Broken("the runtime of the connection ended".into()) };
    ending.end = match KvClient::new(channel).calls(Requests(shared.clone())).await {
        Ok(response) => listen(&shared, response.into_inner()).await,
        Err(status) => End::Refused(status),
    };
}

async fn listen(shared: &Shared, mut responses: Streaming<CallResponse>) -> End {
    let mut answers = Vec::new();
    loop {
        let ended = std::future::poll_fn(|cx| take_ready(&mut responses, &mut answers, cx)).await;
        if let Err(end) = shared.answered(&mut answers) {
            return end;
        }
        if let Some(end) = ended {
            return end;
        }
    }
}

/// Ready with at least one answer, or at the end.
fn take_ready(responses: &mut Streaming<CallResponse>, answers: &mut Vec<CallResponse>, cx: &mut Context<'_>) -> Poll<Option<End>> {
    while answers.len() < CALLS_MAX {
        match Pin::new(&mut *responses).poll_next(cx) {
            Poll::Ready(Some(Ok(answer))) => answers.push(answer),
            Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(End::Broken(crate::fault::innermost(&status)))),
            Poll::Ready(None) => return Poll::Ready(Some(End::Broken("the node ended the stream".into()))),
            Poll::Pending if answers.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(None)
}

struct Ending {
    shared: Arc<Shared>,
    end: End,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.end = Some(self.end.clone());
        state.waiting.clear();
    }
}

/// What the connection takes and sends.
struct Requests(Arc<Shared>);

impl Stream for Requests {
    type Item = CallRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CallRequest>> {
        let mut state = self.0.state.lock().unwrap();
        // Whoever waited has been told by now that what is left here was not sent.
        if state.end.is_some() {
            return Poll::Ready(None);
        }
        match state.queue.pop_front() {
            Some(request) => Poll::Ready(Some(request)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.connection = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
