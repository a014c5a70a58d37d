//! Names that people choose: the cluster's and the node's.
//!
//! Both travel in announcements, log lines and terminals, so their alphabet is letters, digits, `.`, `_` and `-`: nothing that
//! could move a cursor or turn text around when it comes from a stranger.

use std::fmt;
use std::str::FromStr;

/// Longest cluster name.
pub const CLUSTER_NAME_BYTES: usize = 32;
/// Longest node name: the longest label of a host name (RFC 1035, section 2.3.4).
pub const NODE_NAME_BYTES: usize = 63;

/// A cluster's name: 1 to 32 letters, digits, `.`, `_` or `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterName(String);

/// A node's name for people: 1 to 63 letters, digits, `.`, `_` or `-`. Not unique.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeName(String);

/// Why a text is no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a name has 1 to {limit} letters, digits, `.`, `_` or `-`, not `{}`", .text.escape_debug())]
pub struct BadName {
    pub text: String,
    pub limit: usize,
}

impl ClusterName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// The nearest name to a host name: forbidden characters become `-`, what is too long is cut, nothing becomes `unnamed`.
    pub fn from_hostname(hostname: &str) -> NodeName {
        let name: String = hostname.chars().map(|c| if allowed(c) { c } else { '-' }).take(NODE_NAME_BYTES).collect();
        NodeName(if name.is_empty() { "unnamed".to_string() } else { name })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<ClusterName, BadName> {
        checked(text, CLUSTER_NAME_BYTES).map(ClusterName)
    }
}

impl FromStr for NodeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<NodeName, BadName> {
        checked(text, NODE_NAME_BYTES).map(NodeName)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn checked(text: &str, limit: usize) -> Result<String, BadName> {
    let good = (1..=limit).contains(&text.len()) && text.chars().all(allowed);
    // A stranger's text is cut before it can fill a log line.
    good.then(|| text.to_string()).ok_or_else(|| BadName { text: text.chars().take(limit).collect(), limit })
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!("garden-1".parse::<ClusterName>().unwrap().as_str(), "garden-1");
        for bad in ["", "two words", "caf\u{e9}", "\u{1b}[2J", "a\u{202e}b", &"x".repeat(33)] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(63).parse::<NodeName>().is_ok());
        assert!("x".repeat(64).parse::<NodeName>().is_err());
    }

    #[test]
    fn any_hostname_becomes_a_node_name() {
        for (host, name) in [("pi2", "pi2"), ("", "unnamed"), ("k\u{fc}che pi", "k-che-pi")] {
            assert_eq!(NodeName::from_hostname(host).as_str(), name);
        }
        let long = NodeName::from_hostname(&"y".repeat(200));
        assert_eq!(long.as_str().parse::<NodeName>().unwrap(), long);
    }

    #[test]
    fn a_refused_name_is_shown_harmlessly() {
        let shown = "\u{1b}[31mred".parse::<ClusterName>().unwrap_err().to_string();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        assert!("z".repeat(100_000).parse::<ClusterName>().unwrap_err().to_string().len() < 150);
    }
}
