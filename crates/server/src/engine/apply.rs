//! The thread that applies committed entries to the state, and puts a staged state in force.

use std::{sync::Arc, thread, time::Duration};

use replica::{ApplyJob, Input, state};
use storage::{Error, LogStore, StateHome, StateStore};
use tokio::sync::mpsc::UnboundedSender;

use super::{Inbox, Worker};
use crate::{blobs::News, fatal::Fatal, state_in_force::StateInForce};

/// Readers of a state that is no longer in force are given this long between two looks whether they are done.
const OLD_READERS_PERIOD_MS: u64 = 100;

/// What the thread works on.
pub struct Apply {
    pub log: Arc<dyn LogStore>,
    pub home: Arc<dyn StateHome>,
    pub state: StateInForce,
    pub generation: u64,
    pub inbox: Arc<Inbox>,
    pub blobs: UnboundedSender<News>,
}

pub fn start(mut apply: Apply, fatal: Fatal) -> Worker<ApplyJob> {
    Worker::spawn("apply", move |jobs| {
        for job in jobs {
            let done = match job {
                ApplyJob::Entries(entries) => apply.entries(&entries),
                ApplyJob::FromLog { first, last, max_bytes } => match apply.log.entries(first, last, max_bytes) {
                    Ok(entries) => apply.entries(&entries),
                    // A snapshot took their place meanwhile; anything else the replica takes for what it is.
                    Err(Error::NotInLog { .. }) => Ok(Input::NothingApplied),
                    Err(error) => Err(error.into()),
                },
                ApplyJob::Switch { generation } => apply.switch(generation),
            };
            match done {
                Ok(input) => apply.inbox.complete(input),
                Err(error) => return fatal.report("the state", &error),
            }
        }
    })
}

impl Apply {
    fn entries(&self, entries: &[raft::Entry]) -> Result<Input, replica::Error> {
        let applied = state::apply(&*self.state.get(), entries)?;
        for blob in &applied.blobs {
            let _ = self.blobs.send(News::Named(*blob));
        }
        let _ = self.blobs.send(News::Applied { through: applied.through.index, dereferenced: applied.dereferenced });
        Ok(Input::Applied(applied))
    }

    fn switch(&mut self, generation: u64) -> Result<Input, replica::Error> {
        let new = self.home.open(generation)?;
        let position = state::position(&*new)?;
        let old = self.state.replace(new);
        let before = std::mem::replace(&mut self.generation, generation);
        forget(old, before, self.home.clone());
        let _ = self.blobs.send(News::Replaced);
        log::info!(generation, applied:% = position.applied; "a snapshot is in force");
        Ok(Input::Switched(position))
    }
}

/// Removes a state once its last reader has gone. What a stop leaves behind the next start removes.
fn forget(old: Arc<dyn StateStore>, generation: u64, home: Arc<dyn StateHome>) {
    let work = move || {
        while Arc::strong_count(&old) > 1 {
            thread::sleep(Duration::from_millis(OLD_READERS_PERIOD_MS));
        }
        drop(old);
        if let Err(error) = home.remove(generation) {
            log::warn!(generation, error:%; "a state that is no longer in force could not be removed");
        }
    };
    thread::Builder::new().name("old state".into()).spawn(work).expect("the system has threads left");
}
