//! The thread that applies committed entries to the state.

use std::sync::Arc;

use replica::{ApplyJob, Input, state, state::BlobRef};
use storage::{LogStore, StateStore};
use tokio::sync::mpsc::UnboundedSender;

use super::{Inbox, Worker};
use crate::fatal::Fatal;

pub fn start(
    log: Arc<dyn LogStore>,
    store: Arc<dyn StateStore>,
    inbox: Arc<Inbox>,
    blobs_named: UnboundedSender<BlobRef>,
    fatal: Fatal,
) -> Worker<ApplyJob> {
    Worker::spawn("apply", move |jobs| {
        for job in jobs {
            let entries = match job {
                ApplyJob::Entries(entries) => Ok(entries),
                ApplyJob::FromLog { first, last, max_bytes } => log.entries(first, last, max_bytes).map_err(replica::Error::from),
            };
            match entries.and_then(|entries| state::apply(&*store, &entries)) {
                Ok(applied) => {
                    for blob in &applied.blobs {
                        let _ = blobs_named.send(*blob);
                    }
                    inbox.complete(Input::Applied(applied));
                }
                Err(error) => return fatal.report("the state", &error),
            }
        }
    })
}
