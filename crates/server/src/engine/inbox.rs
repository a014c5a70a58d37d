//! What waits for the engine thread.
//!
//! Three queues, so that no flood of one kind costs another its place: completions of the engine's own work (bounded by that work),
//! messages of peers (beyond the bound the new one is dropped: Raft takes it for lost), requests of clients (beyond the bound
//! refused as overloaded).

use std::{
    sync::{Condvar, Mutex},
    time::Instant,
};

use raft::Envelope;
use replica::{Command, Failure, Haves, Input, Reply};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

/// Messages of all peers that may wait; a leader's window per peer keeps their bytes within a few MiB.
const MESSAGES_MAX: usize = 4_096;

/// A client's request and where its answer goes.
#[derive(Debug)]
pub enum Request {
    Write { command: Command, haves: Option<Haves>, reply: ReplyTo },
    Read { reply: ReplyTo },
    Change { change: raft::Change, reply: ReplyTo },
    Transfer { to: Option<raft::NodeId>, reply: ReplyTo },
    Compact { reply: ReplyTo },
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub enum ReplyTo {
    /// To whoever waits for this one.
    Once(oneshot::Sender<Reply>),
    /// To a queue of answers to many requests, with the number that the asker gave this one. Unbounded: there is one answer to each
    /// request, and the asker bounds its requests.
    Queue(u64, UnboundedSender<(u64, Reply)>),
}

impl ReplyTo {
    /// Never waits. A client that has gone needs no answer.
    pub fn send(self, reply: Reply) {
        match self {
            ReplyTo::Once(waiting) => {
                let _ = waiting.send(reply);
            }
            ReplyTo::Queue(number, queue) => {
                let _ = queue.send((number, reply));
            }
        }
    }
}

impl Request {
    /// Answers a request that was not taken.
    pub fn refuse(self, failure: Failure) {
        let (Request::Write { reply, .. }
        | Request::Read { reply }
        | Request::Change { reply, .. }
        | Request::Transfer { reply, .. }
        | Request::Compact { reply }) = self;
        reply.send(Reply::NotExecuted(failure));
    }
}

/// Everything that waited.
#[derive(Debug, Default)]
pub struct Mail {
    pub completions: Vec<Input>,
    pub messages: Vec<Envelope>,
    pub requests: Vec<Request>,
    pub stop: bool,
}

#[derive(Debug)]
pub struct Inbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
    requests_max: usize,
}

/// The client queue is at its bound; the request was not taken.
#[derive(Debug)]
pub struct Full;

impl Inbox {
    pub fn new(requests_max: usize) -> Inbox {
        Inbox { mail: Mutex::default(), arrived: Condvar::new(), requests_max }
    }

    /// Work that the engine asked for is done.
    pub fn complete(&self, input: Input) {
        self.mail.lock().unwrap().completions.push(input);
        self.arrived.notify_one();
    }

    pub fn deliver(&self, messages: impl IntoIterator<Item = Envelope>) {
        let mut mail = self.mail.lock().unwrap();
        for message in messages {
            if mail.messages.len() < MESSAGES_MAX {
                mail.messages.push(message);
            }
        }
        self.arrived.notify_one();
    }

    pub fn request(&self, request: Request) -> Result<(), Full> {
        let mut mail = self.mail.lock().unwrap();
        if mail.requests.len() >= self.requests_max {
            return Err(Full);
        }
        mail.requests.push(request);
        self.arrived.notify_one();
        Ok(())
    }

    /// Requests that came together. Those for which there is no room are answered as overloaded.
    pub fn requests(&self, mut batch: Vec<Request>) {
        let mut mail = self.mail.lock().unwrap();
        let room = self.requests_max.saturating_sub(mail.requests.len());
        let beyond = batch.split_off(room.min(batch.len()));
        mail.requests.append(&mut batch);
        self.arrived.notify_one();
        drop(mail);
        for request in beyond {
            request.refuse(Failure::Overloaded);
        }
    }

    /// Tells the engine to end.
    pub fn stop(&self) {
        self.mail.lock().unwrap().stop = true;
        self.arrived.notify_one();
    }

    /// Everything that waits, at once if there is any, else what has come by `until`.
    pub fn take(&self, until: Instant) -> Mail {
        let mail = self.mail.lock().unwrap();
        let empty = |mail: &mut Mail| mail.completions.is_empty() && mail.messages.is_empty() && mail.requests.is_empty() && !mail.stop;
        let patience = until.saturating_duration_since(Instant::now());
        let (mut mail, _) = self.arrived.wait_timeout_while(mail, patience, empty).unwrap();
        std::mem::take(&mut *mail)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use raft::{Message, NodeId, Term};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn exactly_so_many_requests_wait_and_the_next_is_refused_at_once() {
        let inbox = Inbox::new(3);
        let (answers, mut answered) = unbounded_channel();
        let read = |number| Request::Read { reply: ReplyTo::Queue(number, answers.clone()) };
        inbox.request(read(1)).unwrap();
        inbox.requests(vec![read(2), read(3), read(4)]);
        let (number, reply) = answered.try_recv().unwrap();
        assert_eq!(number, 4);
        assert!(matches!(reply, Reply::NotExecuted(Failure::Overloaded)));
        assert!(inbox.request(read(5)).is_err());
        let mail = inbox.take(Instant::now() + Duration::from_secs(1));
        assert_eq!(mail.requests.len(), 3);
        inbox.request(read(6)).expect("there is room again");
    }

    #[test]
    fn peers_and_clients_take_no_place_of_each_other() {
        let inbox = Inbox::new(1);
        let (answers, _answered) = unbounded_channel();
        inbox.requests((0..10).map(|number| Request::Read { reply: ReplyTo::Queue(number, answers.clone()) }).collect());
        let message = Envelope { from: NodeId(2), to: NodeId(1), term: Term(1), message: Message::Campaign };
        inbox.deliver(std::iter::repeat_n(message, MESSAGES_MAX + 1));
        let mail = inbox.take(Instant::now() + Duration::from_secs(1));
        assert_eq!((mail.requests.len(), mail.messages.len()), (1, MESSAGES_MAX));
    }
}
