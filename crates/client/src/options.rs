//! What a client may be told.

use std::time::Duration;

use crate::login::Login;

/// How long calls may take, and which cluster is meant.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bound of a call that moves at most 64 KiB, and of finding the cluster.
    pub timeout: Duration,
    /// Bound of a pause in an upload or download: no byte moved and no answer came.
    pub stall: Duration,
    /// Name of the cluster, or the beginning of its id in hex; needed only where several are in sight.
    pub cluster: Option<String>,
    /// Keep the addresses of the cluster's nodes in a file, for networks that lose multicast.
    pub remember: bool,
    /// Who the user is to a closed cluster; none: to an open one nobody has to be anybody.
    pub login: Option<Login>,
    /// Connections to each node, among which calls take turns; one serves a thousand calls at a time.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            cluster: None,
            remember: false,
            login: None,
            connections: 1,
        }
    }
}
