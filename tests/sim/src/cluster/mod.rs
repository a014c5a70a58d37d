//! A started cluster of a few members and its clients.
//!
//! A [`World`] runs each member's replica over the engines in memory as a server would: one sync at a time on its disk, one apply job
//! at a time, log reads that come back late, answers to clients. A [`Ledger`] knows what is committed, in which order, what it did to
//! a plain map, and what each client was told; it fails the run at the first answer or state that contradicts it.
//!
//! What a world models: loss, delay, reorder, doubling; crashes that lose the write under way and every unflushed state; disks short
//! of room; leaders that come and go; logs longer than the memory kept for them; conditional writes, deletes, blobs.

mod ledger;
mod member;
mod model;
mod weather;
mod world;

pub use ledger::{Answers, Ledger};
pub use member::{Flaw, Member};
pub use model::Model;
pub use weather::Weather;
pub use world::{World, is_noticed};
