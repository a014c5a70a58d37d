//! What can go wrong with mDNS, told with the interfaces tried and the way without it.

use std::io;
use std::time::Duration;

/// A fault of discovery. None of them concerns data: the nodes can always be named instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mDNS cannot use UDP port 5353: {source} (interfaces tried: {interfaces}); {WITHOUT_MDNS}")]
    Port { interfaces: String, source: io::Error },
    #[error("mDNS failed: {reason} (interfaces tried: {interfaces}); {WITHOUT_MDNS}")]
    Engine { interfaces: String, reason: String },
    #[error("no node answered within {} s (interfaces tried: {interfaces}); {WITHOUT_MDNS}", .waited.as_secs_f32())]
    Silence { interfaces: String, waited: Duration },
}

const WITHOUT_MDNS: &str = "without it, name the nodes: --addr HOST for a client, --peers HOST:PORT,... for a node";
