//! What can go wrong with mDNS, told with the interfaces tried. The way without it differs for clients and nodes, and is theirs to tell.

use std::io;
use std::time::Duration;

/// A fault of discovery. None of them concerns data: the nodes can always be named instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mDNS cannot use UDP port 5353: {source} (interfaces tried: {interfaces})")]
    Port { interfaces: String, source: io::Error },
    #[error("mDNS failed: {reason} (interfaces tried: {interfaces})")]
    Engine { interfaces: String, reason: String },
    #[error("no node was seen by mDNS within {:.1} s (interfaces tried: {interfaces})", .waited.as_secs_f32())]
    Silence { interfaces: String, waited: Duration },
}
