//! The thread that makes the state durable when the log is to be cut, and freezes copies of it for peers that need a snapshot.

use std::sync::Arc;

use replica::Input;
use storage::StateHome;

use super::{Inbox, Worker};
use crate::{fatal::Fatal, snapshots::Shelf, state_in_force::StateInForce};

#[derive(Clone, Copy, Debug)]
pub enum Job {
    Flush,
    /// A frozen copy of the state of this generation.
    Checkpoint {
        generation: u64,
    },
}

pub fn start(home: Arc<dyn StateHome>, state: StateInForce, shelf: Arc<Shelf>, inbox: Arc<Inbox>, fatal: Fatal) -> Worker<Job> {
    Worker::spawn("upkeep", move |jobs| {
        for job in jobs {
            let done = match job {
                Job::Flush => {
                    let state = state.get();
                    state.flush().and_then(|()| state.applied_durable()).map(Input::Flushed)
                }
                Job::Checkpoint { generation } => home.checkpoint(generation).and_then(|copy| shelf.put(copy)).map(Input::Checkpointed),
            };
            match done {
                Ok(input) => inbox.complete(input),
                Err(error) => return fatal.report("the state", &error),
            }
        }
    })
}
