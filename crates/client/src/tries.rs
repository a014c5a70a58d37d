//! Going from node to node until one executes the request, or time is up.
//!
//! A round tries every known address once, the one a node names as leader at once; between rounds there is a short jittered pause.
//! The last part of the time is kept to find out what is wrong with the cluster, because "timed out" helps nobody.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use discovery::Peer;
use proto::v1::{Outcome, Reason};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Response, Status};

use crate::backoff::{Backoff, random};
use crate::error::{Error, Kind};
use crate::explain::{self, Errand};
use crate::fault::{Effect, Fault};
use crate::pool::{Miss, Node, Pool};
use crate::survey::Survey;

/// A read that one node leaves unanswered this long is put to another.
const READ_ATTEMPT_MS: u64 = 3_000;
/// Kept for the diagnosis; at most a quarter of the whole time.
const DIAGNOSIS_MS: u64 = 1_000;
/// A leader just elected refuses until a quorum has reported room to it; a cluster that is really full says so within this time. So does one
/// whose membership is being changed.
const REFUSED_PATIENCE_MS: u64 = 2_000;

pub struct Tries {
    pool: Arc<Pool>,
    /// Which of the connections to each node it uses.
    lane: usize,
    started: Instant,
    retry_until: Instant,
    deadline: Instant,
    backoff: Backoff,
    /// Not yet tried in this round; `None` as long as nothing has failed: most calls need no more than the first node.
    queue: Option<VecDeque<Peer>>,
    tried: Vec<Peer>,
    /// The last miss of each address.
    misses: BTreeMap<Peer, Miss>,
    refused_since: Option<Instant>,
    errand: Errand,
}

impl Tries {
    pub fn new(pool: &Arc<Pool>, time: Duration) -> Tries {
        let now = Instant::now();
        let mut tries = Tries {
            pool: pool.clone(),
            lane: pool.lane(),
            started: now,
            retry_until: now,
            deadline: now,
            backoff: Backoff::new(),
            queue: None,
            tried: Vec::new(),
            misses: BTreeMap::new(),
            refused_since: None,
            errand: Errand::Data,
        };
        tries.extend(time);
        tries
    }

    /// For a request to the cluster itself.
    pub fn of_operator(pool: &Arc<Pool>, time: Duration) -> Tries {
        Tries { errand: Errand::Operation, ..Tries::new(pool, time) }
    }

    /// Progress was made: the time starts again.
    pub fn extend(&mut self, time: Duration) {
        self.started = Instant::now();
        self.deadline = self.started + time;
        self.retry_until = self.deadline - Duration::from_millis(DIAGNOSIS_MS).min(time / 4);
        self.backoff = Backoff::new();
    }

    /// The bound of an attempt that cannot be made twice.
    pub fn write_bound(&self) -> Instant {
        self.retry_until
    }

    /// The bound of an attempt that another node can take over.
    pub fn read_bound(&self) -> Instant {
        self.retry_until.min(Instant::now() + Duration::from_millis(READ_ATTEMPT_MS))
    }

    /// The next node of a formed cluster that answers; waits as needed.
    pub async fn next(&mut self) -> Result<Arc<Node>, Error> {
        loop {
            if Instant::now() >= self.retry_until {
                return Err(self.give_up().await);
            }
            if self.queue.is_none()
                && let Some(node) = self.pool.favourite(self.lane)
            {
                return Ok(node);
            }
            let Some(peer) = self.queue.get_or_insert_with(|| self.pool.candidates().into()).pop_front() else {
                self.end_round().await?;
                continue;
            };
            self.tried.push(peer.clone());
            match timeout_at(self.retry_until, self.pool.dial(&peer, self.lane)).await {
                Ok(Ok(node)) if node.cluster().is_some() => return Ok(node),
                Ok(Ok(node)) => self.missed(peer, unformed(&node)),
                Ok(Err(miss)) => self.missed(peer, miss),
                Err(_) => self.missed(peer, Miss::Unreachable("no answer".into())),
            }
        }
    }

    /// The next node, the leader if any node knows it: for streams, which cost much to send twice.
    pub async fn next_leader(&mut self) -> Result<Arc<Node>, Error> {
        let node = self.next().await?;
        self.begin(&node.peer);
        let identity = &node.identity;
        let leader = identity.members.iter().find(|member| member.node_id == identity.leader_id && member.node_id != identity.node_id);
        let Some(leader) = leader.and_then(|leader| leader.addresses.first()).and_then(|address| address.parse::<Peer>().ok()) else {
            return Ok(node);
        };
        if self.tried.contains(&leader) {
            return Ok(node);
        }
        match timeout_at(self.retry_until, self.pool.dial(&leader, self.lane)).await {
            Ok(Ok(named)) if named.cluster().is_some() => {
                self.put_first(node.peer.clone());
                self.tried.push(leader.clone());
                self.queue.iter_mut().for_each(|queue| queue.retain(|peer| *peer != leader));
                Ok(named)
            }
            _ => Ok(node),
        }
    }

    /// Takes note of a failed attempt; `Err` if the request must not be sent again.
    pub async fn failed(&mut self, node: &Arc<Node>, fault: Fault) -> Result<(), Error> {
        if fault.broken {
            self.pool.forget(node).await;
        }
        match fault.outcome {
            Outcome::NotExecuted => {}
            Outcome::Rejected => return Err(final_error(node, &fault)),
            Outcome::Unknown | Outcome::Unspecified => {
                let survey = self.diagnose().await;
                return Err(explain::unknown(self.errand, &node.peer, &fault, &survey));
            }
        }
        if matches!(fault.reason, Reason::NoRoom | Reason::Busy) {
            let since = *self.refused_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_millis(REFUSED_PATIENCE_MS) {
                return Err(final_error(node, &fault));
            }
        }
        self.begin(&node.peer);
        self.missed(node.peer.clone(), Miss::Refused(fault.reason, fault.message));
        if let Some(leader) = fault.leader.and_then(|address| address.parse::<Peer>().ok()) {
            self.pool.prefer(&leader);
            // An address tried already waits for the next round: two nodes may each take the other for the leader.
            if !self.tried.contains(&leader) {
                self.put_first(leader);
            }
        }
        Ok(())
    }

    /// There is more to try than the first node.
    fn begin(&mut self, first: &Peer) {
        if self.queue.is_none() {
            self.queue = Some(self.pool.candidates().into_iter().filter(|peer| peer != first).collect());
            self.tried.push(first.clone());
        }
    }

    fn put_first(&mut self, peer: Peer) {
        if let Some(queue) = &mut self.queue {
            queue.retain(|other| *other != peer);
            queue.push_front(peer);
        }
    }

    fn missed(&mut self, peer: Peer, miss: Miss) {
        log::debug!(peer:% = peer, miss:? = miss; "next node");
        self.misses.insert(peer, miss);
    }

    async fn end_round(&mut self) -> Result<(), Error> {
        if let Some(error) = explain::all_foreign(&self.misses) {
            return Err(error);
        }
        let pause = self.backoff.pause(random());
        sleep(pause.min(self.retry_until.saturating_duration_since(Instant::now()))).await;
        self.queue = Some(self.pool.candidates().into());
        self.tried.clear();
        Ok(())
    }

    async fn give_up(&self) -> Error {
        let survey = self.diagnose().await;
        explain::gave_up(&self.misses, &survey, self.started.elapsed())
    }

    async fn diagnose(&self) -> Survey {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Survey::take(&self.pool, left.min(Duration::from_millis(DIAGNOSIS_MS))).await
    }
}

/// Makes one attempt; what becomes of it is a fault or the answer.
pub async fn attempt<T>(bound: Instant, effect: Effect, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Fault> {
    match timeout_at(bound, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Fault::of(&status, effect)),
        Err(_) => Err(Fault::timed_out(effect)),
    }
}

fn unformed(node: &Node) -> Miss {
    let waits = &node.identity.waits_for;
    let text = if waits.is_empty() { "belongs to no cluster yet".into() } else { format!("belongs to no cluster yet; it waits: {waits}") };
    Miss::Refused(Reason::Unformed, text)
}

fn final_error(node: &Node, fault: &Fault) -> Error {
    let kind = if fault.outcome == Outcome::Rejected { Kind::Rejected } else { Kind::NotExecuted };
    Error::new(kind, format!("{}: {}", node.peer, fault.message), explain::next_step(kind, fault.reason)).because(fault.reason)
}
