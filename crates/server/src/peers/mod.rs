//! The other nodes: who they are, where they listen, the streams to them.

mod address;
mod book;
mod dial;
mod identity;
mod link;
mod locate;
mod memory;
mod outbound;

pub use address::Address;
pub use book::{Book, Origin};
pub use dial::{Dialed, PEER_MESSAGE_MAX_BYTES, deepest, dial, dial_for_blobs};
pub use identity::{Identity, PROTOCOL_VERSION};
pub use link::Link;
pub use locate::locate;
pub use memory::Memory;
pub use outbound::{NewPeer, Outbound};
