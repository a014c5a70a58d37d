//! A cluster's identity.

use std::fmt;

/// 16 random or derived bytes, fixed when the cluster forms; shown in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// Shortest beginning of an id that is taken for one.
const PREFIX_DIGITS: usize = 4;

impl ClusterId {
    /// None for a node that belongs to no cluster, or for what is no id.
    pub fn from_wire(bytes: &[u8]) -> Option<ClusterId> {
        bytes.try_into().ok().map(ClusterId)
    }

    /// Reads 32 hex digits.
    pub fn from_hex(text: &str) -> Option<ClusterId> {
        let good = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|id| ClusterId(id.to_be_bytes()))
    }

    /// The first digits, enough for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_string()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Whether `wanted`, a name or the beginning of an id, means the cluster with this name and id.
pub fn is_meant(wanted: Option<&str>, name: &str, id: Option<ClusterId>) -> bool {
    let Some(wanted) = wanted else { return true };
    let by_id = wanted.len() >= PREFIX_DIGITS && id.is_some_and(|id| id.to_string().starts_with(&wanted.to_ascii_lowercase()));
    wanted == name || by_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_is_shown() {
        let id = ClusterId([0x0a; 16]);
        assert_eq!(ClusterId::from_hex(&id.to_string()), Some(id));
        for bad in ["", "0a0a", &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(ClusterId::from_hex(bad), None, "{bad}");
        }
        assert_eq!(ClusterId::from_wire(&[]), None);
    }

    #[test]
    fn a_cluster_is_meant_by_name_or_by_the_beginning_of_its_id() {
        let id = Some(ClusterId([0xab; 16]));
        for wanted in [None, Some("home"), Some("abab"), Some("ABABab")] {
            assert!(is_meant(wanted, "home", id), "{wanted:?}");
        }
        for wanted in [Some("hom"), Some(""), Some("aba"), Some("abac")] {
            assert!(!is_meant(wanted, "home", id), "{wanted:?}");
        }
        assert!(!is_meant(Some("abab"), "home", None));
    }
}
