//! The place where the server's files look for it.

#[path = "../../../crates/server/src/peers/identity.rs"]
#[allow(dead_code)]
mod identity;

pub use identity::Identity;
