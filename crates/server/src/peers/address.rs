//! Where somebody may listen: `host:port`, as dialled and as shown.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// What to dial.
    pub fn uri(&self) -> String {
        format!("http://{}", self.0)
    }

    /// Whether it is this machine's, written as a number.
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.0.parse::<SocketAddr>().is_ok_and(|own| own.ip().to_canonical() == address.to_canonical())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        // An IPv4 client on a dual-stack listener appears as ::ffff:a.b.c.d.
        Address(SocketAddr::new(address.ip().to_canonical(), address.port()).to_string())
    }
}

impl From<&discovery::Peer> for Address {
    fn from(peer: &discovery::Peer) -> Address {
        Address(peer.to_string())
    }
}

impl From<String> for Address {
    fn from(remembered: String) -> Address {
        Address(remembered)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
