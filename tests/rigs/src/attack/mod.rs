//! What somebody on the same network may try against a closed cluster: forged papers, relays, lies by mDNS, floods of all kinds.
//!
//! - Every attack is made from a network of its own, at a low priority: an attacker's machine has its own processors, so that here the
//!   nodes' must come first.
//! - An attack only does, and tells what became of it; whether that is too much is the story's to say.
//! - Each is bounded: in time, in connections, in bytes.

mod crowd;
mod door;
mod flood;
mod forger;
mod liar;
mod outpost;
mod relay;
mod siege;
mod wire;

pub use crowd::{Crowd, Manner};
pub use door::{Door, knock_as_node, knock_as_user};
pub use flood::{Flood, Toll};
pub use forger::Forger;
pub use liar::Liar;
pub use outpost::Outpost;
pub use relay::Relay;
pub use siege::Siege;
pub use wire::Wire;
