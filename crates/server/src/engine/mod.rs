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
mod upkeep;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use raft::{NodeId, RoleName, Room};
use replica::{Effects, Input, Replica, Reply, Ticket};
use storage::{Anchor, LogStore, StateHome};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot, watch},
    time::timeout,
};

pub use inbox::{Full, Inbox, ReplyTo, Request};
pub use status::EngineStatus;

use crate::{
    blobs::News,
    fatal::Fatal,
    peers::Outbound,
    snapshots::{Shelf, Wanted},
    state_in_force::StateInForce,
};

/// Length of the core's tick.
pub const TICK_MS: u64 = 10;
/// Ticks made up for after a pause, at most.
const TICKS_CAUGHT_UP_MAX: u32 = 3;
/// Requests that wait for their commit or their read index; beyond it they are refused as overloaded.
const TICKETS_MAX: usize = 16_384;

/// The disks an engine works on.
pub struct Stores {
    pub log: Arc<dyn LogStore>,
    pub home: Arc<dyn StateHome>,
    pub state: StateInForce,
    pub generation: u64,
    pub anchor: Anchor,
}

/// A running engine.
pub struct Engine {
    inbox: Arc<Inbox>,
    status: watch::Receiver<Arc<EngineStatus>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Makes sure that a suspect never speaks again under its id.
pub type Condemn = Box<dyn Fn(&replica::Suspect) + Send>;

/// What an engine reaches beside its disks.
pub struct Surroundings {
    pub outbound: Outbound,
    /// What became of blobs' references, for whoever looks after blobs.
    pub blobs: UnboundedSender<News>,
    /// Where a frozen copy of the state is put for peers.
    pub shelf: Arc<Shelf>,
    /// Snapshots to be fetched. One at a time: what is still wanted is said again.
    pub wanted: tokio::sync::mpsc::Sender<Wanted>,
    /// This node must never speak again under its id.
    pub condemn: Condemn,
    pub alarm: Box<dyn Fn(String) + Send>,
    pub fatal: Fatal,
    pub requests_max: usize,
}

impl Engine {
    /// Starts the threads. `replica` must have been opened on the same stores.
    pub fn start(replica: Replica, stores: Stores, around: Surroundings) -> Engine {
        let inbox = Arc::new(Inbox::new(around.requests_max));
        let (publish, status) = watch::channel(Arc::new(EngineStatus::of(&replica)));
        let Stores { log, home, state, generation, anchor } = stores;
        let fatal = around.fatal;
        let apply = apply::Apply {
            log: log.clone(),
            home: home.clone(),
            state: state.clone(),
            generation,
            inbox: inbox.clone(),
            blobs: around.blobs.clone(),
        };
        let jobs = Jobs {
            persist: persist::start(log.clone(), anchor, inbox.clone(), fatal.clone()),
            apply: apply::start(apply, fatal.clone()),
            log_reads: log_reads::start(log, inbox.clone(), fatal.clone()),
            upkeep: upkeep::start(home, state, around.shelf.clone(), inbox.clone(), fatal.clone()),
        };
        let run = Run {
            replica,
            inbox: inbox.clone(),
            jobs,
            outbound: around.outbound,
            publish,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            generation,
            blobs: around.blobs,
            shelf: around.shelf,
            wanted: around.wanted,
            condemn: Some(around.condemn),
            alarm: around.alarm,
            fatal,
        };
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

    /// Has the voter that is fit for it lead in this node's place, and waits until it does.
    pub async fn hand_over(&self, patience: Duration) -> Result<NodeId, NoHeir> {
        let mut statuses = self.watch();
        let answer = self.request(|reply| Request::Transfer { to: None, reply }).map_err(|_| NoHeir::TooSlow)?;
        let handed_over = async {
            match answer.await {
                Ok(Reply::Transferring(_)) => {}
                _ => return Err(NoHeir::Nobody),
            }
            let another = statuses.wait_for(|status| status.role != RoleName::Leader && status.leader.is_some()).await;
            another.ok().and_then(|status| status.leader).ok_or(NoHeir::TooSlow)
        };
        timeout(patience, handed_over).await.unwrap_or(Err(NoHeir::TooSlow))
    }

    /// Ends all threads, what was handed to the disk before included. Blocks.
    pub fn stop(&self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

/// Why this node still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeir {
    /// No other voter is in touch.
    Nobody,
    /// One was told to stand, and does not lead yet.
    TooSlow,
}

/// Ways to the threads that touch the disk. Unbounded channels: what can be under way is bounded by the core (bytes not
/// committed, window per peer), and a bounded one would make the engine wait for a disk.
struct Jobs {
    persist: Worker<persist::Job>,
    apply: Worker<replica::ApplyJob>,
    log_reads: Worker<raft::NeedEntries>,
    upkeep: Worker<upkeep::Job>,
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
    /// Of the state in force.
    generation: u64,
    blobs: UnboundedSender<News>,
    shelf: Arc<Shelf>,
    wanted: tokio::sync::mpsc::Sender<Wanted>,
    /// Taken when it was used: the process ends then, but not at once.
    condemn: Option<Condemn>,
    alarm: Box<dyn Fn(String) + Send>,
    fatal: Fatal,
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
        self.jobs.upkeep.join();
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
            Request::Change { change, reply } => (reply, Input::Change { ticket, change }),
            Request::Transfer { to, reply } => (reply, Input::Transfer { ticket, to }),
            Request::Compact { reply } => (reply, Input::Compact { ticket }),
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
            if let replica::ApplyJob::Switch { generation } = job {
                self.generation = generation;
            }
            self.jobs.apply.give(job);
        }
        if effects.flush {
            self.jobs.upkeep.give(upkeep::Job::Flush);
        }
        if effects.checkpoint {
            self.jobs.upkeep.give(upkeep::Job::Checkpoint { generation: self.generation });
        }
        if effects.release_checkpoint {
            self.shelf.clear();
        }
        if let Some(fetch) = effects.fetch {
            let _ = self.wanted.try_send(Wanted { fetch, generation: self.replica.next_generation() });
        }
        if let Some(collect) = effects.collected {
            let _ = self.blobs.send(News::Collect(collect));
        }
        if let Some(alarm) = effects.alarm {
            log::error!(alarm = alarm.as_str(); "the members' states differ");
            (self.alarm)(alarm);
        }
        if let Some(suspect) = &effects.suspect
            && let Some(condemn) = self.condemn.take()
        {
            condemn(suspect);
        }
        if let Some(contradiction) = &effects.contradiction {
            self.fatal.report("this node", contradiction);
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
        if ticked {
            let me = self.replica.node().id();
            self.outbound.keep(self.replica.node().peers_to_reach().into_iter().filter(|id| *id != me));
        }
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
