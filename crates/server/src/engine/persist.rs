//! The thread that syncs: batches of the log, and the anchor behind them.
//!
//! Batches that came while one was being synced go down together, as one write with one sync: group commit.
//! The anchor is written after the sync that it tells of, at most once a second or every thousand entries under load, once on
//! going idle, never while idle.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use raft::{Batch, HardState, Index, LogId, Seq};
use replica::Input;
use storage::{Anchor, LogStore};

use super::{Inbox, Worker};
use crate::fatal::Fatal;

/// A batch, and the last entry that was committed and durable when it was made.
pub struct Job {
    pub seq: Seq,
    pub batch: Batch,
    pub settled: LogId,
}

const ANCHOR_PERIOD_MS: u64 = 1_000;
const ANCHOR_ENTRIES: usize = 1_000;
/// Batches that go down together, at most.
const GROUP_MAX_BYTES: usize = 8 << 20;

pub fn start(log: Arc<dyn LogStore>, anchor: Anchor, inbox: Arc<Inbox>, fatal: Fatal) -> Worker<Job> {
    let anchor = Telltale { anchor, hard: None, settled: LogId::ZERO, entries: 0, written: Instant::now(), dirty: false };
    Worker::spawn("persist", move |jobs| {
        if let Err(error) = (Persist { log, anchor, inbox, jobs }).until_closed() {
            fatal.report("the log", &error);
        }
    })
}

struct Persist {
    log: Arc<dyn LogStore>,
    anchor: Telltale,
    inbox: Arc<Inbox>,
    jobs: Receiver<Job>,
}

impl Persist {
    fn until_closed(mut self) -> Result<(), storage::Error> {
        loop {
            let first = match self.anchor.wait(&self.jobs) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.anchor.write()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.anchor.write(),
            };
            let group = self.gather(first);
            let (seqs, batches): (Vec<Seq>, Vec<Batch>) = group.into_iter().map(|job| (job.seq, job.batch)).unzip();
            tell_before(&batches);
            self.log.persist(&batches)?;
            self.log.check()?;
            tell_of(&batches);
            for seq in seqs {
                self.inbox.complete(Input::Persisted(seq));
            }
            self.anchor.follow(&batches);
            if self.anchor.is_due() {
                self.anchor.write()?;
            }
        }
    }

    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = bytes_of(&first.batch);
        let mut group = vec![first];
        while bytes < GROUP_MAX_BYTES
            && let Ok(job) = self.jobs.try_recv()
        {
            bytes += bytes_of(&job.batch);
            group.push(job);
        }
        self.anchor.settled = self.anchor.settled.max(group[group.len() - 1].settled);
        group
    }
}

/// What was told before of these entries holds no longer, from the moment on that the batch may be on the disk.
fn tell_before(batches: &[Batch]) {
    if let Some(from) = batches.iter().filter(|batch| batch.install.is_none()).filter_map(|batch| batch.truncate).min() {
        log::info!(from; "the leader has replaced entries that were not committed");
    }
}

/// Between the sync and whatever follows from it: what is told here must never be taken back by a restart.
fn tell_of(batches: &[Batch]) {
    if let Some(hard) = batches.iter().rev().find_map(|batch| batch.hard) {
        let vote = hard.vote.map_or("nobody".into(), |id| id.to_string());
        log::info!(term = hard.term.0, vote = vote.as_str(); "term and vote are on the disk");
    }
    if log::log_enabled!(log::Level::Debug)
        && let Some(last) = batches.iter().fold(None, |last, batch| end_after(batch).or(last))
    {
        let bytes: usize = batches.iter().map(bytes_of).sum();
        log::debug!(batches = batches.len(), bytes, last; "synced");
    }
}

/// The last entry of the log behind this batch, if it changes the end.
fn end_after(batch: &Batch) -> Option<Index> {
    batch.entries.last().map(|entry| entry.id.index).or(batch.truncate.map(|from| from - 1))
}

fn bytes_of(batch: &Batch) -> usize {
    batch.entries.iter().map(raft::Entry::size_bytes).sum()
}

/// What the anchor is to tell next.
struct Telltale {
    anchor: Anchor,
    hard: Option<HardState>,
    settled: LogId,
    entries: usize,
    written: Instant,
    dirty: bool,
}

impl Telltale {
    fn wait(&self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        if self.dirty {
            jobs.recv_timeout(Duration::from_millis(ANCHOR_PERIOD_MS))
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn follow(&mut self, batches: &[Batch]) {
        for batch in batches {
            self.hard = batch.hard.or(self.hard);
            self.entries += batch.entries.len();
        }
        self.dirty = true;
    }

    fn is_due(&self) -> bool {
        self.entries >= ANCHOR_ENTRIES || self.written.elapsed() >= Duration::from_millis(ANCHOR_PERIOD_MS)
    }

    fn write(&mut self) -> Result<(), storage::Error> {
        if !self.dirty {
            return Ok(());
        }
        let mut record = self.anchor.read().clone();
        record.hard = self.hard.unwrap_or(record.hard);
        record.reached = record.reached.max(self.settled);
        self.anchor.write(&record)?;
        (self.entries, self.written, self.dirty) = (0, Instant::now(), false);
        Ok(())
    }
}
