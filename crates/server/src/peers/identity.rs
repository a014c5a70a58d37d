//! What a node says of itself when asked. Never more than its word: membership is decided elsewhere.

use raft::NodeId;
use replica::Sighting;

/// The protocol between nodes that this program speaks.
pub const PROTOCOL_VERSION: u32 = discovery::PROTOCOL_VERSION as u32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub protocol_version: u32,
    pub id: NodeId,
    pub boot: u64,
    pub cluster_name: String,
    pub cluster_id: Option<[u8; 16]>,
    pub promised: Option<Vec<NodeId>>,
    pub name: String,
    pub version: String,
    pub port: u16,
    /// Which board it runs on, if that can be told.
    pub board: Option<u64>,
}

impl Identity {
    /// Its part in forming a cluster.
    pub fn sighting(&self) -> Sighting {
        Sighting { id: self.id, cluster_name: self.cluster_name.clone(), cluster_id: self.cluster_id, promised: self.promised.clone() }
    }
}
