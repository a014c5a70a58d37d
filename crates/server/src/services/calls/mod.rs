//! Many small calls over one stream: the way of our own client library.
//!
//! A stream is one future: whoever sends its answers polls it, and in that it takes requests, hands them to the engine and turns replies
//! into answers. So there is no task, no channel and no timer per request, what arrived together goes to the engine together, and answers
//! that are ready together leave in one frame.
//!
//! Invariants:
//! - every call is answered once, with its tag; a stream ends only with no call under way, unless the client has gone;
//! - at [`CALLS_MAX`] calls under way, or [`WRITES_MAX_BYTES`] of writes, the stream is not read: flow control holds the client back. A
//!   client that does not read its answers is at this limit sooner or later, because an answer not taken is a call under way;
//! - a read joins a read index that is asked for after it arrived: one for all reads that arrived together;
//! - a write without a reply by its deadline has an unknown outcome; a reply that comes later is dropped.

mod reads;

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use proto::v1::{CallRequest, CallResponse, Reason, call_request::Call, call_response::Answer};
use replica::{Command, Reply, state::Outcome};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, Sleep, sleep},
};
use tokio_stream::Stream;
use tonic::{Status, Streaming};
use trust::Role;

use self::reads::{Read, Reads};
use super::{
    failure::{detail, refused, rejected, session_expired},
    messages,
    requests::{READ_RETRY_PAUSE, READ_TIMEOUT, WRITE_TIMEOUT, fate_unknown, member, unconfirmed_write},
};
use crate::{
    caller::Caller,
    engine::{ReplyTo, Request},
    node::Node,
};

/// Calls of one stream that are under way, answers that the client has not taken included.
const CALLS_MAX: usize = 1_024;
/// Keys and values of one stream that wait for their commit: the write that crosses it is the last one read.
const WRITES_MAX_BYTES: usize = 1 << 20;
/// How late a deadline may be noticed.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);
/// A stopping node listens so long for calls that were on their way to it, to say that they are not executed.
const FAREWELL: Duration = Duration::from_millis(100);

/// The answers to one client's stream of calls.
pub struct Calls {
    node: Arc<Node>,
    caller: Caller,
    /// `None` once the client has said everything, or something that is no call.
    requests: Option<Streaming<CallRequest>>,
    /// What was no call. Told at the end.
    broken: Option<Status>,
    /// Names what the engine is asked for.
    next_number: u64,
    replies: UnboundedReceiver<(u64, Reply)>,
    reply_to: UnboundedSender<(u64, Reply)>,
    /// In the order of their deadlines.
    writes: BTreeMap<u64, Write>,
    writes_bytes: usize,
    reads: Reads,
    answers: VecDeque<CallResponse>,
    timer: Pin<Box<Sleep>>,
    timer_runs: bool,
    /// Ready when a stopping node has said farewell.
    farewell: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A write that waits for its commit.
struct Write {
    tag: u64,
    kind: Kind,
    bytes: usize,
    deadline: Instant,
}

#[derive(Clone, Copy)]
enum Kind {
    Set,
    Delete,
}

/// What arrived together.
struct Arrivals {
    now: Instant,
    requests: Vec<Request>,
    reads: Vec<Read>,
}

impl Calls {
    pub fn new(node: Arc<Node>, caller: Caller, requests: Streaming<CallRequest>) -> Calls {
        let (reply_to, replies) = unbounded_channel();
        let farewell = {
            let node = node.clone();
            Box::pin(async move {
                node.stopped().await;
                sleep(FAREWELL).await;
            })
        };
        Calls {
            node,
            caller,
            requests: Some(requests),
            broken: None,
            next_number: 0,
            replies,
            reply_to,
            writes: BTreeMap::new(),
            writes_bytes: 0,
            reads: Reads::default(),
            answers: VecDeque::new(),
            timer: Box::pin(sleep(SWEEP_PERIOD)),
            timer_runs: false,
            farewell,
        }
    }

    fn under_way(&self) -> usize {
        self.writes.len() + self.reads.len() + self.answers.len()
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) {
        let mut arrivals = Arrivals { now: Instant::now(), requests: Vec::new(), reads: Vec::new() };
        while self.under_way() + arrivals.reads.len() < CALLS_MAX && self.writes_bytes < WRITES_MAX_BYTES {
            let Some(requests) = &mut self.requests else { break };
            match Pin::new(requests).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(request))) => self.take(request, &mut arrivals),
                Poll::Ready(ended) => {
                    self.requests = None;
                    self.broken = ended.and_then(Result::err);
                }
            }
        }
        let Arrivals { requests, reads, .. } = arrivals;
        self.hand_over(requests, reads);
    }

    fn take(&mut self, CallRequest { tag, call }: CallRequest, arrivals: &mut Arrivals) {
        let taken = member(&self.node).and_then(|_| self.allowed(call.as_ref())).and_then(|()| match call {
            Some(Call::Set(request)) => {
                let bytes = request.key.len() + request.value.len();
                let write = Write { tag, kind: Kind::Set, bytes, deadline: arrivals.now + WRITE_TIMEOUT };
                messages::set(request).map(|command| self.write(write, command, arrivals))
            }
            Some(Call::Delete(request)) => {
                let bytes = request.key.len();
                let write = Write { tag, kind: Kind::Delete, bytes, deadline: arrivals.now + WRITE_TIMEOUT };
                messages::delete(request).map(|command| self.write(write, command, arrivals))
            }
            Some(Call::Get(request)) => messages::key(&request.key).map(|key| {
                arrivals.reads.push(Read { tag, key, deadline: arrivals.now + READ_TIMEOUT, refusal: None });
            }),
            None => Err(rejected(Reason::Malformed, "a call of a kind that this node does not know")),
        });
        if let Err(status) = taken {
            self.answers.push_back(failed(tag, &status));
        }
    }

    fn allowed(&self, call: Option<&Call>) -> Result<(), Status> {
        match call {
            Some(Call::Set(request)) => self.caller.may(Role::Write, Some(&request.key)),
            Some(Call::Delete(request)) => self.caller.may(Role::Write, Some(&request.key)),
            Some(Call::Get(request)) => self.caller.may(Role::Read, Some(&request.key)),
            None => Ok(()),
        }
    }

    fn write(&mut self, write: Write, command: Command, arrivals: &mut Arrivals) {
        let (number, reply) = self.number();
        self.writes_bytes += write.bytes;
        self.writes.insert(number, write);
        arrivals.requests.push(Request::Write { command, haves: None, reply });
    }

    fn number(&mut self) -> (u64, ReplyTo) {
        self.next_number += 1;
        (self.next_number, ReplyTo::Queue(self.next_number, self.reply_to.clone()))
    }

    /// Gives the engine what came together, the reads as one.
    fn hand_over(&mut self, mut requests: Vec<Request>, reads: Vec<Read>) {
        if !reads.is_empty() {
            let (number, reply) = self.number();
            self.reads.ask(number, reads);
            requests.push(Request::Read { reply });
        }
        if !requests.is_empty() {
            let member = self.node.member().expect("only a member takes calls");
            member.engine.inbox().requests(requests);
        }
    }

    fn take_replies(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((number, reply))) = self.replies.poll_recv(cx) {
            match self.writes.remove(&number) {
                Some(write) => {
                    self.writes_bytes -= write.bytes;
                    self.answers.push_back(wrote(&self.node, &write, reply));
                }
                None => match reply {
                    Reply::ReadNow => self.reads.confirmed(number),
                    Reply::NotExecuted(failure) => {
                        self.reads.refused(number, failure);
                        self.timer_runs = false;
                    }
                    // Its deadline had passed.
                    _ => {}
                },
            }
        }
    }

    /// Runs the timer while there is something that time may end.
    fn pass_time(&mut self, cx: &mut Context<'_>) {
        if self.timer_runs && self.timer.as_mut().poll(cx).is_ready() {
            self.timer_runs = false;
            self.expire(Instant::now());
            let again = self.reads.take_refused();
            self.hand_over(Vec::new(), again);
        }
        if !self.timer_runs && self.under_way() > 0 {
            let pause = if self.reads.has_refused() { READ_RETRY_PAUSE } else { SWEEP_PERIOD };
            self.timer.as_mut().reset(Instant::now() + pause);
            self.timer_runs = self.timer.as_mut().poll(cx).is_pending();
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(write) = self.writes.first_entry().filter(|write| write.get().deadline <= now) {
            let write = write.remove();
            self.writes_bytes -= write.bytes;
            self.answers.push_back(failed(write.tag, &unconfirmed_write()));
        }
        self.reads.expire(now, &self.node, &mut self.answers);
    }

    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.under_way() == 0 && (self.requests.is_none() || self.farewell.as_mut().poll(cx).is_ready())
    }
}

impl Stream for Calls {
    type Item = Result<CallResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let calls = self.get_mut();
        if calls.answers.is_empty() {
            calls.take_requests(cx);
            calls.take_replies(cx);
            calls.reads.look(cx, &calls.node, &mut calls.answers);
            calls.pass_time(cx);
        }
        match calls.answers.pop_front() {
            Some(answer) => Poll::Ready(Some(Ok(answer))),
            None if calls.has_ended(cx) => Poll::Ready(calls.broken.take().map(Err)),
            None => Poll::Pending,
        }
    }
}

fn wrote(node: &Node, write: &Write, reply: Reply) -> CallResponse {
    let answer = match (reply, write.kind) {
        (Reply::Written(Outcome::Expired { index }), _) => Answer::Error(detail(&session_expired(index))),
        (Reply::Unknown, _) => Answer::Error(detail(&fate_unknown())),
        (Reply::Written(outcome), Kind::Set) => Answer::Set(messages::was_set(outcome)),
        (Reply::Written(outcome), Kind::Delete) => Answer::Delete(messages::was_deleted(outcome)),
        (Reply::NotExecuted(failure), _) => Answer::Error(detail(&refused(node, failure))),
        _ => unreachable!("a write is not answered as anything else"),
    };
    CallResponse { tag: write.tag, answer: Some(answer) }
}

fn failed(tag: u64, status: &Status) -> CallResponse {
    CallResponse { tag, answer: Some(Answer::Error(detail(status))) }
}
