//! Which node is meant: by its name, or by the beginning of its id. Pure.
//!
//! - A name wins over an id that begins alike: people choose names, nobody chooses ids.
//! - Two nodes of one name are ambiguous, also if one of them is pending: a board that was wiped has its old name and a new id.

use crate::view::{ClusterView, short_id};

/// Shortest beginning of an id that is taken for one.
const PREFIX_DIGITS: usize = 4;

/// A node that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node_id: u64,
    pub name: String,
    /// What it is: `voter`, `learner`, `pending`.
    pub what: &'static str,
    pub address: Option<String>,
}

/// Nobody, or more than one, is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    Unknown,
    Ambiguous(Vec<Candidate>),
}

/// Whom `wanted` means among these.
pub fn resolve(wanted: &str, among: &[Candidate]) -> Result<Candidate, Unclear> {
    let named: Vec<&Candidate> = among.iter().filter(|candidate| candidate.name == wanted).collect();
    let digits = wanted.to_ascii_lowercase();
    let long_enough = digits.len() >= PREFIX_DIGITS;
    let by_id = among.iter().filter(|candidate| long_enough && format!("{:016x}", candidate.node_id).starts_with(&digits));
    let meant = if named.is_empty() { by_id.collect() } else { named };
    match meant[..] {
        [] => Err(Unclear::Unknown),
        [one] => Ok(one.clone()),
        _ => Err(Unclear::Ambiguous(meant.into_iter().cloned().collect())),
    }
}

/// Every member, with what it is.
pub fn members(view: &ClusterView) -> Vec<Candidate> {
    let candidate = |member: &crate::view::MemberView| Candidate {
        node_id: member.node_id,
        name: member.name.clone(),
        what: if member.voter { "voter" } else { "learner" },
        address: member.addresses.first().cloned(),
    };
    view.members.iter().map(candidate).collect()
}

/// Every node in no cluster.
pub fn pending(view: &ClusterView) -> Vec<Candidate> {
    let candidate = |node: &crate::view::PendingView| Candidate {
        node_id: node.node_id,
        name: node.name.clone(),
        what: "pending",
        address: Some(node.address.clone()).filter(|address| !address.is_empty()),
    };
    view.pending.iter().map(candidate).collect()
}

/// `pi1 (00000001, voter), pi2 (00000002, pending)`; ids in full where their beginnings do not tell them apart.
pub fn list(candidates: &[Candidate]) -> String {
    let shown = candidates.iter().map(|candidate| {
        let id = distinct_id(candidate.node_id, candidates.iter().map(|other| other.node_id));
        format!("{} ({id}, {})", candidate.name, candidate.what)
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "none".into() } else { shown.join(", ") }
}

/// The beginning of an id, or all of it where another node's begins alike.
pub fn distinct_id(node_id: u64, among: impl IntoIterator<Item = u64>) -> String {
    let alike = among.into_iter().any(|other| other != node_id && short_id(other) == short_id(node_id));
    if alike { format!("{node_id:016x}") } else { short_id(node_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(node_id: u64, name: &str, what: &'static str) -> Candidate {
        Candidate { node_id, name: name.into(), what, address: None }
    }

    fn board() -> Vec<Candidate> {
        vec![
            candidate(0xabcd_0000_0000_0001, "pi1", "voter"),
            candidate(0xabcd_0000_0000_0002, "pi2", "voter"),
            candidate(0x1234_5678_0000_0003, "pi2", "pending"),
            candidate(0x7777_0000_0000_0004, "1234", "learner"),
        ]
    }

    fn meant(wanted: &str) -> Result<u64, Unclear> {
        resolve(wanted, &board()).map(|candidate| candidate.node_id & 0xf)
    }

    #[test]
    fn a_node_is_meant_by_name_or_by_the_beginning_of_its_id() {
        for (wanted, node) in [("pi1", 1), ("7777", 4), ("ABCD000000000002", 2), ("12345", 3)] {
            assert_eq!(meant(wanted), Ok(node), "{wanted}");
        }
        assert_eq!(meant("1234"), Ok(4), "a name wins over an id");
    }

    #[test]
    fn who_is_not_there_is_not_guessed() {
        for wanted in ["", "pi", "PI1", "777", "77770000000000040", "pi3"] {
            assert_eq!(meant(wanted), Err(Unclear::Unknown), "{wanted}");
        }
    }

    #[test]
    fn a_wiped_board_has_two_ids_under_one_name() {
        let Err(Unclear::Ambiguous(both)) = resolve("pi2", &board()) else { panic!("one was taken") };
        assert_eq!(list(&both), "pi2 (abcd0000, voter), pi2 (12345678, pending)");
        let Err(Unclear::Ambiguous(both)) = resolve("abcd", &board()) else { panic!("one was taken") };
        assert_eq!(list(&both), "pi1 (abcd000000000001, voter), pi2 (abcd000000000002, voter)");
    }
}
