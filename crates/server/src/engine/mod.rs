//! The engine: one thread that owns the replica, and the threads that touch the disk for it.
//!
//! Invariants:
//! - the engine thread calls no database and no file: persist, apply and log reads are jobs for threads of their own, and come
//!   back as inputs. So ticks, heartbeats and votes never wait for a card;
//! - a batch is handed to the persist thread before anything that depends on it is done;
//! - the time that a paused process lost is not made up for: after a long pause a node first reads its mail.

mod apply;
mod inbox;
mod log_reads;
mod persist;
#[cfg(test)]
mod stall_test;
mod status;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use raft::Room;
use replica::{Effects, Input, Replica, Reply, Ticket, state::BlobRef};
use storage::{Anchor, LogStore, StateStore};
use tokio::sync::{oneshot, watch};

pub use inbox::{Full, Inbox, ReplyTo, Request};
pub use status::EngineStatus;

use crate::{fatal::Fatal, peers::Outbound};

/// Length of the core's tick.
pub const TICK_MS: u64 = 10;
/// Ticks made up for after a pause, at most.
const TICKS_CAUGHT_UP_MAX: u32 = 3;
/// Requests that wait for their commit or their read index; beyond it they are refused as overloaded.
const TICKETS_MAX: usize = 16_384;

/// The disks an engine works on.
pub struct Stores {
    pub log: Arc<dyn LogStore>,
    pub state: Arc<dyn StateStore>,
    pub anchor: Anchor,
}

/// A running engine.
pub struct Engine {
    inbox: Arc<Inbox>,
    status: watch::Receiver<Arc<EngineStatus>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What an engine reaches beside its disks.
pub struct Surroundings {
    pub outbound: Outbound,
    /// Blobs that entries just applied refer to.
    pub blobs_named: tokio::sync::mpsc::UnboundedSender<BlobRef>,
    pub fatal: Fatal,
    pub requests_max: usize,
}

impl Engine {
    /// Starts the threads. `replica` must have been opened on the same stores.
    pub fn start(replica: Replica, stores: Stores, around: Surroundings) -> Engine {
        let inbox = Arc::new(Inbox::new(around.requests_max));
        let (publish, status) = watch::channel(Arc::new(EngineStatus::of(&replica)));
        let (log, state) = (stores.log, stores.state);
        let jobs = Jobs {
            persist: persist::start(log.clone(), stores.anchor, inbox.clone(), around.fatal.clone()),
            apply: apply::start(log.clone(), state, inbox.clone(), around.blobs_named, around.fatal.clone()),
            log_reads: log_reads::start(log, inbox.clone(), around.fatal),
        };
        let run = Run { replica, inbox: inbox.clone(), jobs, outbound: around.outbound, publish, tickets: BTreeMap::new(), next_ticket: 1 };
        let thread = thread::Builder::new().name("engine".into()).spawn(move || run.until_stopped()).expect("the system has threads left");
        Engine { inbox, status, thread: Mutex::new(Some(thread)) }
    }

    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The member as it was a tick ago, or since its role last changed.
    pub fn status(&self) -> Arc<EngineStatus> {
        self.status.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Arc<EngineStatus>> {
        self.status.clone()
    }

    pub fn set_room(&self, room: Room) {
        self.inbox.complete(Input::Room(room));
    }

    /// Queues a request; the answer may never come, so the caller brings a deadline.
    pub fn request(&self, make: impl FnOnce(ReplyTo) -> Request) -> Result<oneshot::Receiver<Reply>, Full> {
        let (reply, answer) = oneshot::channel();
        self.inbox.request(make(ReplyTo::Once(reply))).map(|()| answer)
    }

    /// Ends all threads, what was handed to the disk before included. Blocks.
    pub fn stop(&self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

/// Ways to the threads that touch the disk. Unbounded channels: what can be under way is bounded by the core (bytes not
/// committed, window per peer), and a bounded one would make the engine wait for a disk.
struct Jobs {
    persist: Worker<persist::Job>,
    apply: Worker<replica::ApplyJob>,
    log_reads: Worker<raft::NeedEntries>,
}

/// A thread and the queue of its jobs; it ends when the queue is closed and empty.
pub(super) struct Worker<T> {
    jobs: mpsc::Sender<T>,
    thread: thread::JoinHandle<()>,
}

impl<T: Send + 'static> Worker<T> {
    fn spawn(name: &str, work: impl FnOnce(mpsc::Receiver<T>) + Send + 'static) -> Worker<T> {
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new().name(name.into()).spawn(move || work(queue)).expect("the system has threads left");
        Worker { jobs, thread }
    }

    /// A worker that ended has reported why; its jobs are lost and the process is ending.
    fn give(&self, job: T) {
        let _ = self.jobs.send(job);
    }

    fn join(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

struct Run {
    replica: Replica,
    inbox: Arc<Inbox>,
    jobs: Jobs,
    outbound: Outbound,
    publish: watch::Sender<Arc<EngineStatus>>,
    tickets: BTreeMap<Ticket, ReplyTo>,
    next_ticket: Ticket,
}

impl Run {
    fn until_stopped(mut self) {
        let tick = Duration::from_millis(TICK_MS);
        let mut next_tick = Instant::now() + tick;
        loop {
            let mail = self.inbox.take(next_tick);
            if mail.stop {
                break;
            }
            for input in mail.completions {
                self.replica.handle(input);
            }
            for message in mail.messages {
                self.replica.handle(Input::Message(message));
            }
            for request in mail.requests {
                self.admit(request);
            }
            let ticked = self.pass_time(&mut next_tick, tick);
            let effects = self.replica.effects();
            self.carry_out(effects);
            self.publish(ticked);
        }
        self.jobs.persist.join();
        self.jobs.apply.join();
        self.jobs.log_reads.join();
    }

    fn pass_time(&mut self, next_tick: &mut Instant, tick: Duration) -> bool {
        let now = Instant::now();
        let mut ticks = 0;
        while *next_tick <= now {
            if ticks == TICKS_CAUGHT_UP_MAX {
                *next_tick = now + tick;
                break;
            }
            self.replica.handle(Input::Tick);
            *next_tick += tick;
            ticks += 1;
        }
        ticks > 0
    }

    fn admit(&mut self, request: Request) {
        #[cfg(feature = "planted")]
        let Some(request) = self.answer_at_once(request) else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let overloaded = self.tickets.len() >= TICKETS_MAX;
        let (reply, input) = match request {
            Request::Write { command, haves, reply } => (reply, Input::Write { ticket, command, haves }),
            Request::Read { reply } => (reply, Input::Read { ticket }),
        };
        if overloaded {
            reply.send(Reply::NotExecuted(replica::Failure::Overloaded));
            return;
        }
        self.tickets.insert(ticket, reply);
        self.replica.handle(input);
    }

    /// The planted fault: a read that should have asked the leader.
    #[cfg(feature = "planted")]
    fn answer_at_once(&self, request: Request) -> Option<Request> {
        match request {
            Request::Read { reply } if crate::planted::Planted::LocalReads.is_chosen() && !self.replica.node().is_leader() => {
                let _ = reply.send(Reply::ReadNow);
                None
            }
            honest => Some(honest),
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        if let Some((seq, batch)) = effects.persist {
            self.jobs.persist.give(persist::Job { seq, batch, settled: self.replica.settled() });
        }
        self.outbound.send(effects.send);
        if let Some(job) = effects.apply {
            self.jobs.apply.give(job);
        }
        for need in effects.need_entries {
            self.jobs.log_reads.give(need);
        }
        for (ticket, reply) in effects.replies {
            if let Some(waiting) = self.tickets.remove(&ticket) {
                waiting.send(reply);
            }
        }
    }

    fn publish(&mut self, ticked: bool) {
        let role_changed = self.publish.borrow().is_stale(self.replica.node());
        if ticked || role_changed {
            let status = EngineStatus::of(&self.replica);
            self.publish.send_if_modified(|current| {
                let changed = **current != status;
                if changed {
                    *current = Arc::new(status);
                }
                changed
            });
        }
    }
}
