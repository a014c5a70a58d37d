//! Blank boards on one LAN that are to become one cluster.
//!
//! A [`World`] runs the formation code of each board as a server would: it asks others who they are, feeds what they answered
//! lately, writes what it is told to write and tells nobody before that is done. A [`Ledger`] remembers every promise and start that ever
//! was durable, also those of boards that were wiped since.
//!
//! What a world models: loss, delay, reorder and doubling of identity answers and of Raft hellos; views cut in one direction; crashes
//! that keep or lose a write under way; wiped boards; more boards than wanted; boards of another name; operators who change a plan.

mod board;
mod ledger;
mod scenario;
mod world;

pub use board::{Board, Flaw};
pub use ledger::Ledger;
pub use scenario::{Scenario, Setup, Weather};
pub use world::{World, is_noticed};
