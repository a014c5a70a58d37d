//! The gRPC services: wire in, engine or disk, wire out.

mod admin;
mod calls;
mod failure;
mod kv;
mod messages;
mod raft;
mod requests;

pub use admin::AdminService;
pub use kv::KvService;
pub use raft::RaftService;
