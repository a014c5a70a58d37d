//! The thread that reads old entries for peers that lag behind what the core keeps in memory.

use std::sync::Arc;

use raft::{EntriesRead, NeedEntries};
use replica::Input;
use storage::LogStore;

use super::{Inbox, Worker};
use crate::fatal::Fatal;

pub fn start(log: Arc<dyn LogStore>, inbox: Arc<Inbox>, fatal: Fatal) -> Worker<NeedEntries> {
    Worker::spawn("log reads", move |jobs| {
        for NeedEntries { peer, term, first, last, max_bytes } in jobs {
            match log.entries(first, last, max_bytes) {
                Ok(entries) => inbox.complete(Input::EntriesRead(EntriesRead { peer, term, entries })),
                Err(error) => return fatal.report("the log", &error),
            }
        }
    })
}
