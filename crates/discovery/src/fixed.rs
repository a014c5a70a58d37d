//! Nodes named by hand, for networks without multicast: `--peers` of a node, `--addr` of a client.
//!
//! Accepted, one or a comma list: `http://host:port`, `host:port`, `host`; an IPv6 address in brackets, or bare without a port.
//! A name ending in `.local` is a name like any other; the system resolves it when the node is dialled.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of a node that names none.
pub const DEFAULT_PORT: u16 = 50051;

/// Longest list of nodes. A cluster has at most 7; the rest is room for replacements, not for a pasted file.
const PEERS_LIMIT: usize = 32;
/// Longest host name (RFC 1035, section 2.3.4).
const HOST_BYTES: usize = 253;

/// Where a node may be reached. `host` is a name or an address, IPv6 without brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    pub host: String,
    pub port: u16,
}

/// The piece of a list that is no node, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{}` is not a node's address: {why}; write host, host:port or http://host:port", .piece.escape_debug())]
pub struct BadPeer {
    pub piece: String,
    pub why: &'static str,
}

/// Parses a comma list of at least one node, each named once.
pub fn parse_peers(list: &str) -> Result<Vec<Peer>, BadPeer> {
    let mut peers = Vec::new();
    for piece in list.split(',') {
        let peer: Peer = piece.parse()?;
        if peers.contains(&peer) {
            return Err(bad(piece, "it is named twice"));
        }
        if peers.len() == PEERS_LIMIT {
            return Err(bad(piece, "it is one too many, a list has at most 32"));
        }
        peers.push(peer);
    }
    Ok(peers)
}

impl FromStr for Peer {
    type Err = BadPeer;

    fn from_str(piece: &str) -> Result<Peer, BadPeer> {
        let refuse = |why| bad(piece, why);
        let trimmed = piece.trim();
        let address = match trimmed.split_once("://") {
            None => trimmed,
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(("https", _)) => return Err(refuse("https is not spoken")),
            Some(_) => return Err(refuse("the scheme is not http")),
        };
        let (host, port) = split(address).map_err(refuse)?;
        check_host(host).map_err(refuse)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => parse_port(port).ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?,
        };
        Ok(Peer { host: host.to_string(), port })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn bad(piece: &str, why: &'static str) -> BadPeer {
    BadPeer { piece: piece.chars().take(HOST_BYTES).collect(), why }
}

fn split(address: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        if !is_ipv6(host) {
            return Err("between the brackets is no IPv6 address");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("after the bracket comes `:port` or nothing"),
        };
    }
    match address.split_once(':') {
        None => Ok((address, None)),
        // `::1:50051` could mean two things; only what is an address as a whole is taken for one.
        Some(_) if is_ipv6(address) => Ok((address, None)),
        Some((_, rest)) if rest.contains(':') => Err("an IPv6 address with a port needs brackets"),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// An IPv6 address, a link-local one with its interface: `fe80::1%eth0`.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    let zone_good = zone.is_none_or(|zone| !zone.is_empty() && zone.chars().all(is_host_char));
    zone_good && address.parse::<Ipv6Addr>().is_ok()
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.len() > HOST_BYTES {
        return Err("the host is longer than 253 bytes");
    }
    if !is_ipv6(host) && !host.chars().all(is_host_char) {
        return Err("a host has letters, digits, `.`, `-` and `_` only");
    }
    Ok(())
}

fn is_host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_in_many_ways() {
        for (text, shown) in [
            ("http://127.0.0.1:50052", "127.0.0.1:50052"),
            ("http://127.0.0.1:50052/", "127.0.0.1:50052"),
            ("pi2.local", "pi2.local:50051"),
            ("  pi2:7 ", "pi2:7"),
            ("http://pi2", "pi2:50051"),
            ("[::1]:50053", "[::1]:50053"),
            ("[::1]", "[::1]:50051"),
            ("::1", "[::1]:50051"),
            ("http://[fe80::1%eth0]:9", "[fe80::1%eth0]:9"),
        ] {
            let peer: Peer = text.parse().unwrap();
            assert_eq!(peer.to_string(), shown, "{text}");
            assert_eq!(peer.to_string().parse(), Ok(peer), "what is shown can be given back");
        }
    }

    #[test]
    fn a_list_keeps_its_order() {
        let peers = parse_peers("http://127.0.0.1:50052,http://127.0.0.1:50053, pi3").unwrap();
        assert_eq!(peers.iter().map(Peer::to_string).collect::<Vec<_>>(), ["127.0.0.1:50052", "127.0.0.1:50053", "pi3:50051"]);
    }

    #[test]
    fn the_bad_piece_is_named() {
        let long = "x".repeat(254);
        for (list, piece, why) in [
            ("", "", "missing"),
            ("a,,b", "", "missing"),
            ("a,b:0", "b:0", "port"),
            ("a:+5", "a:+5", "port"),
            ("a:65536", "a:65536", "port"),
            ("a:", "a:", "port"),
            (":50051", ":50051", "missing"),
            ("https://a", "https://a", "https"),
            ("ftp://a", "ftp://a", "scheme"),
            ("http://a/b", "http://a/b", "letters"),
            ("a b", "a b", "letters"),
            ("[::1", "[::1", "closed"),
            ("[pi2]:5", "[pi2]:5", "IPv6"),
            ("[::1]5", "[::1]5", "after the bracket"),
            ("1:2:3", "1:2:3", "brackets"),
            ("a,a:50051", "a:50051", "twice"),
            (&long, &long[..253], "253"),
        ] {
            let error = parse_peers(list).expect_err(list);
            assert_eq!(error.piece, piece, "{list}");
            assert!(error.why.contains(why), "{list}: {error}");
        }
        let many: Vec<String> = (0..33).map(|n| format!("pi{n}")).collect();
        assert_eq!(parse_peers(&many.join(",")).unwrap_err().piece, "pi32");
    }
}
