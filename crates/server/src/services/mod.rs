//! The gRPC services: wire in, engine or disk, wire out.

mod admin;
mod calls;
mod failure;
mod kv;
mod messages;
mod raft;
mod requests;
mod status;

pub use admin::AdminService;
pub use failure::{is_blob_missing, not_executed};
pub use kv::KvService;
pub use raft::RaftService;
pub use requests::read_barrier;
pub use status::pending_nodes;
