//! What ends the process.
//!
//! - *A fault of the disk.* A failed write or sync is never tried again: nobody knows what the disk holds after it. The thread that meets
//!   it reports it here and ends; what it was working on is never acknowledged. The main task logs it and leaves the process at once.
//! - *A panic*, on whatever thread: an invariant is broken. A process whose engine alone had ended would go on listening, keep its
//!   clients waiting for answers that never come, and no supervisor would start it again.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// From now on a panic is told and then ends the process.
pub fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        log::error!(panic:%; "a bug in rusty-kv: an invariant is broken; stopping at once, what was acknowledged is on the disk");
        log::logger().flush();
        std::process::abort()
    }));
}

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
