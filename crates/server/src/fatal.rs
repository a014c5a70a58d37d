//! The one way a fault of the disk ends the process.
//!
//! A failed write or sync is never tried again: nobody knows what the disk holds after it. The thread that meets it reports it here and
//! ends; what it was working on is never acknowledged. The main task logs it and leaves the process at once.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Clone, Debug)]
pub struct Fatal(UnboundedSender<String>);

impl Fatal {
    pub fn channel() -> (Fatal, UnboundedReceiver<String>) {
        let (sender, receiver) = unbounded_channel();
        (Fatal(sender), receiver)
    }

    /// A file of a blob that failed for another reason than a full disk or wrong bytes: a write or sync that may have lost what
    /// was there before. The other two end only the one transfer.
    pub fn judge_blob(&self, error: &storage::Error) {
        if !matches!(error, storage::Error::NoSpace { .. } | storage::Error::Corrupt { .. }) {
            self.report("the store of large values", error);
        }
    }

    pub fn report(&self, part: &str, error: &dyn std::error::Error) {
        let _ = self.0.send(format!("{part} cannot go on: {error}"));
    }
}
