//! Histories of what clients asked and were told, and whether one register per key can explain them.
//!
//! Promises an exact answer: [`Verdict::Ok`] only if there is an order of all operations in which each takes effect at one moment
//! between its call and its return, and [`Verdict::Violation`] only if there is none. A search that takes too long is no answer and
//! says so; whoever checks treats it as a failure.
//!
//! An operation whose outcome the client does not know stays open for ever: it may take effect at any moment after its call, or never.
//! One that is known not to have been executed is not part of the history.
//!
//! Leaves out what goes beyond one key: pages of keys, and the order of revisions of different keys.

mod history;
mod register;
mod search;

pub use history::{Action, Call, Held, History, Operation, Told, When};
pub use search::{STEPS_MAX, Verdict, check};
