//! The gRPC services: wire in, engine or disk, wire out.

mod admin;
mod calls;
pub mod failure;
mod kv;
mod messages;
mod outflow;
mod raft;
pub mod requests;
mod status;
mod trust;

pub use admin::{AdminService, add_learner};
pub use failure::{is_blob_missing, not_executed};
pub use kv::KvService;
pub use raft::RaftService;
pub use requests::read_barrier;
pub use status::pending_nodes;
pub use trust::TrustService;
