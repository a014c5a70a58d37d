//! The reads of one stream: confirmed together, looked up together.
//!
//! Looks at the state are taken on threads that may wait for the disk, many keys at a time, several at a time because a card answers
//! several questions in hardly more time than one. What is confirmed while that many are under way goes together into the next: the
//! busier the stream, the fewer visits to another thread.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    task::{Context, Poll},
};

use proto::v1::{CallResponse, call_response::Answer};
use replica::{Failure, Key, state};
use storage::StateStore;
use tokio::{task::JoinSet, time::Instant};

use super::failed;
use crate::{
    node::Node,
    services::{
        failure::{refused, unreadable},
        messages,
        requests::unconfirmed_read,
    },
};

/// Keys of one look.
const LOOK_MAX_KEYS: usize = 64;
/// Values of one look: the one that crosses it is the last one read.
const LOOK_MAX_BYTES: usize = 256 << 10;
/// Looks of one stream under way.
const LOOKS_MAX: usize = 4;

pub struct Read {
    pub tag: u64,
    pub key: Key,
    pub deadline: Instant,
    /// Why it was not confirmed when last asked.
    pub refusal: Option<Failure>,
}

#[derive(Default)]
pub struct Reads {
    /// Wait for their read index, by the number of the request for it.
    asked: BTreeMap<u64, Vec<Read>>,
    /// Wait to be asked again.
    refused: Vec<Read>,
    /// The state here holds everything that they must see.
    confirmed: Vec<Read>,
    looks: JoinSet<Looked>,
    /// All that have no answer yet.
    count: usize,
}

/// What a look at the state brought, and what it left for the next one.
struct Looked {
    answers: Vec<CallResponse>,
    left: Vec<Read>,
}

impl Reads {
    pub fn len(&self) -> usize {
        self.count
    }

    /// The engine is asked for a read index for these.
    pub fn ask(&mut self, number: u64, reads: Vec<Read>) {
        self.count += reads.len();
        self.asked.insert(number, reads);
    }

    pub fn confirmed(&mut self, number: u64) {
        self.confirmed.extend(self.asked.remove(&number).into_iter().flatten());
    }

    pub fn refused(&mut self, number: u64, failure: Failure) {
        let reads = self.asked.remove(&number).into_iter().flatten();
        self.refused.extend(reads.map(|read| Read { refusal: Some(failure), ..read }));
    }

    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Those to be asked again; they do not count until then.
    pub fn take_refused(&mut self) -> Vec<Read> {
        self.count -= self.refused.len();
        mem::take(&mut self.refused)
    }

    /// Answers what is confirmed.
    pub fn look(&mut self, cx: &mut Context<'_>, node: &Node, answers: &mut VecDeque<CallResponse>) {
        loop {
            while self.looks.len() < LOOKS_MAX && !self.confirmed.is_empty() {
                let keys = self.confirmed.len().min(LOOK_MAX_KEYS);
                let (store, reads) = (node.state.get(), self.confirmed.drain(..keys).collect());
                self.looks.spawn_blocking(move || look_up(&*store, reads));
            }
            // A look that fails was given up by a runtime that ends, which ends this stream too.
            let Poll::Ready(Some(Ok(looked))) = self.looks.poll_join_next(cx) else { return };
            self.count -= looked.answers.len();
            answers.extend(looked.answers);
            self.confirmed.extend(looked.left);
        }
    }

    /// Answers those that nobody confirmed in time.
    pub fn expire(&mut self, now: Instant, node: &Node, answers: &mut VecDeque<CallResponse>) {
        let before = answers.len();
        for waiting in self.asked.values_mut().chain([&mut self.refused]) {
            for read in waiting.extract_if(.., |read| read.deadline <= now) {
                let status = read.refusal.map_or_else(unconfirmed_read, |failure| refused(node, failure));
                answers.push_back(failed(read.tag, &status));
            }
        }
        self.asked.retain(|_, reads| !reads.is_empty());
        self.count -= answers.len() - before;
    }
}

fn look_up(store: &dyn StateStore, reads: Vec<Read>) -> Looked {
    let mut answers = Vec::with_capacity(reads.len());
    let mut reads = reads.into_iter();
    let mut bytes = 0;
    while bytes < LOOK_MAX_BYTES
        && let Some(read) = reads.next()
    {
        let answer = match state::get(store, &read.key) {
            Ok(record) => {
                let found = messages::found(record);
                bytes += found.value.len();
                CallResponse { tag: read.tag, answer: Some(Answer::Get(found)) }
            }
            Err(error) => failed(read.tag, &unreadable(&error)),
        };
        answers.push(answer);
    }
    Looked { answers, left: reads.collect() }
}
