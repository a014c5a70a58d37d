//! The thread that reads old entries for peers that lag behind what the core keeps in memory.

use std::sync::Arc;

use raft::{EntriesRead, NeedEntries};
use replica::Input;
use storage::{Error, LogStore};

use super::{Inbox, Worker};
use crate::fatal::Fatal;

pub fn start(log: Arc<dyn LogStore>, inbox: Arc<Inbox>, fatal: Fatal) -> Worker<NeedEntries> {
    Worker::spawn("log reads", move |jobs| {
        for NeedEntries { peer, term, first, last, max_bytes } in jobs {
            let read = match log.entries(first, last, max_bytes) {
                // Truncated since it was asked for, which ends the leadership that asked.
                Err(Error::NotInLog { .. }) => Ok(Vec::new()),
                read => read,
            };
            match read {
                Ok(entries) => inbox.complete(Input::EntriesRead(EntriesRead { peer, term, entries })),
                Err(error) => return fatal.report("the log", &error),
            }
        }
    })
}
