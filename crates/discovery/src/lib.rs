//! Who is where: nodes announced and found by mDNS, or named in a fixed list.
//!
//! Promises:
//! - Everything here is a **hint**. A sighting says "somebody claims that this node answers there"; whoever dials proves it in the
//!   handshake. Membership comes from the log and from nowhere else: a node that says goodbye, or is not heard of for
//!   hours, is still a member.
//! - Text from the network is parsed once, into types whose fields are bounded and printable, or refused with a reason. It never panics.
//! - A node never sights itself, and an unchanged sighting is reported once.
//! - Interfaces are chosen before anything is announced. In [`Scope::Loopback`] all announcements and questions stay on 127.0.0.1.
//! - Errors name the interfaces tried.
//!
//! Left out: remembering addresses, dialling, choosing among clusters.

mod announce;
mod browse;
mod discovery;
mod error;
mod find;
mod fixed;
mod interfaces;
mod name;
mod record;
mod sighting;

pub use browse::{Browser, Event};
pub use discovery::Discovery;
pub use error::Error;
pub use find::find;
pub use fixed::{BadPeer, DEFAULT_PORT, Peer, parse_peers};
pub use interfaces::Scope;
pub use name::{BadName, CLUSTER_NAME_BYTES, ClusterName, NODE_NAME_BYTES, NodeName};
pub use record::{Malformed, PROTOCOL_VERSION, Record, State, TXT_LIMIT_BYTES};
pub use sighting::Sighting;
