//! A cluster on its boards, its clients and its operators, with everything that can happen to them. One seed, one run.
//!
//! A [`World`] runs each member's replica as a server would: syncs, apply jobs, log reads, flushes, checkpoints and fetches end later, in
//! virtual time; a network carries messages; boards crash, forget, fall silent. All properties watch. First comes the safety phase, in which
//! anything goes that the [`Plan`] has switched on, then the liveness phase: the faults end, and the cluster must elect, commit and serve within a
//! bound, and all members come to agree.
//!
//! What a power cut leaves of a board is in its [`Card`]; the properties count there, and believe no node's word.

mod admin;
mod board;
mod card;
mod clients;
pub mod fault;
mod forming;
mod jobs;
mod log_model;
mod network;
mod plan;
mod queue;
mod report;
mod trouble;
mod world;

pub use card::Card;
pub use fault::{Acts, Fault, Faults};
pub use log_model::LogModel;
pub use plan::{Plan, TICK};
pub use report::Report;
pub use world::World;
