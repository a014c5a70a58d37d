//! The state of one node on its way to another that lacks too much of the log.
//!
//! The leader freezes a copy of its state and offers it; the peer fetches it page by page, in order of key, into a state of its own that
//! counts for nothing until its log names it. A broken transfer goes on behind the last key, as long as the same copy is offered.
//!
//! Invariants:
//! - every page is checked when it comes, the whole before it is durable; position and membership are read from inside it;
//! - what is staged is durable before the core hears of it.

mod fetch;
mod give;
mod page;
mod shelf;

pub use fetch::{Fetcher, Wanted};
pub use give::give;
pub use page::{Digest, crc_of};
pub use shelf::Shelf;
