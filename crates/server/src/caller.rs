//! Who called, as far as it is proven, and what that lets it do.
//!
//! Invariants:
//! - what a caller says of itself never widens what its connection has proven;
//! - in a closed cluster a caller without a certificate may ask to be admitted, and nothing else;
//! - only nodes speak to the peers' service, and each only in its own name.

use std::net::SocketAddr;

use proto::v1::Reason;
use raft::NodeId;
use tonic::{Request, Status};
use trust::{Grant, Role};

use crate::services::failure::{forbidden, rejected};

pub const WITHOUT_LOGIN: &str =
    "this cluster is closed: log in with a token first, `rusty-kv login TOKEN`, or as root on one of its boards";

/// One connection's caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where it calls from; none over the local socket.
    pub remote: Option<SocketAddr>,
    pub proven: Proven,
}

/// What a connection has proven.
#[derive(Clone, Debug)]
pub enum Proven {
    /// Nothing, and nobody asks: this node's cluster is open, or it belongs to none.
    Open,
    /// The system vouches for it: root, or the user that the node runs as, on this very board.
    Local,
    /// TLS without a certificate. The bytes are this connection's own, known to both ends and to nobody else.
    Stranger {
        exporter: [u8; 32],
    },
    Node(NodeId),
    Client {
        id: u64,
        grant: Grant,
    },
}

impl Caller {
    /// Who sent this request.
    pub fn of<T>(request: &Request<T>) -> Caller {
        request.extensions().get::<Caller>().cloned().expect("every connection of ours says who called")
    }

    /// Whether it may do what needs this role; `key` is the key concerned, a listing's prefix, or none.
    pub fn may(&self, needed: Role, key: Option<&[u8]>) -> Result<(), Status> {
        match &self.proven {
            Proven::Open | Proven::Local => Ok(()),
            // What a node may do among nodes is more than any client may; but it asks nothing of a client's services but the state of things.
            Proven::Node(_) if needed == Role::Read && key.is_none() => Ok(()),
            Proven::Node(_) => Err(forbidden("a node's certificate is for speaking to nodes; `rusty-kv login TOKEN` gives a client's")),
            Proven::Client { grant, .. } if grant.allows(needed, key) => Ok(()),
            Proven::Client { grant, .. } if grant.allows(needed, None) || grant.role >= needed => {
                Err(forbidden(format!("this login is bound to keys that begin with \"{}\"", grant.prefix.escape_ascii())))
            }
            Proven::Client { .. } => Err(forbidden(format!(
                "this needs the role {}; log in with a token for it: `rusty-kv token new --client --role {}` makes one",
                name(needed),
                name(needed)
            ))),
            Proven::Stranger { .. } => Err(forbidden(WITHOUT_LOGIN)),
        }
    }

    /// Whether it may do it with some key at least.
    pub fn may_somewhere(&self, needed: Role) -> Result<(), Status> {
        match &self.proven {
            Proven::Client { grant, .. } => self.may(needed, Some(&grant.prefix)),
            _ => self.may(needed, Some(b"")),
        }
    }

    /// Whether it speaks for this node.
    pub fn is_node(&self, id: NodeId) -> Result<(), Status> {
        match &self.proven {
            Proven::Open => Ok(()),
            Proven::Node(proven) if *proven == id => Ok(()),
            Proven::Node(proven) => Err(rejected(Reason::Permission, format!("node {proven} speaks for node {id}"))),
            _ => Err(rejected(Reason::Permission, "only nodes with a certificate of this cluster speak here")),
        }
    }

    /// Whether it is somebody on this board who could read the node's files anyway.
    pub fn is_local(&self) -> Result<(), Status> {
        match self.proven {
            Proven::Local => Ok(()),
            _ => Err(rejected(Reason::LocalOnly, "this is asked over the node's own socket: run it as root on the board")),
        }
    }
}

pub fn name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}
