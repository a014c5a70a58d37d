//! Which node is meant: by its name, or by the beginning of its id. Pure.
//!
//! - A name wins over an id that begins alike: people choose names, nobody chooses ids.
//! - Whoever was removed is meant by its name only if nobody else has it: its board may be wiped by now, and wait under the same name.
//! - Two nodes of one name are ambiguous, also if one of them is pending: a board that was wiped has its old name and a new id.

use crate::view::{ClusterView, short_id};

/// Shortest beginning of an id that is taken for one.
const PREFIX_DIGITS: usize = 4;
const FULL_DIGITS: usize = 16;

/// What a node is that was a member once.
pub const REMOVED: &str = "removed";

/// A node that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node_id: u64,
    pub name: String,
    /// What it is: `voter`, `learner`, `pending`, [`REMOVED`].
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
    let mut named: Vec<&Candidate> = among.iter().filter(|candidate| !wanted.is_empty() && candidate.name == wanted).collect();
    if named.iter().any(|candidate| candidate.what != REMOVED) {
        named.retain(|candidate| candidate.what != REMOVED);
    }
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
        what: if node.removed { REMOVED } else { "pending" },
        address: Some(node.address.clone()).filter(|address| !address.is_empty()),
    };
    view.pending.iter().map(candidate).collect()
}

/// `pi1 (00000001, voter), pi2 (00000002, pending)`; ids in full where their beginnings do not tell them apart.
pub fn list(candidates: &[Candidate]) -> String {
    let shown = candidates.iter().map(|candidate| {
        let id = distinct_id(candidate.node_id, candidates.iter().map(|other| other.node_id));
        match &candidate.name {
            none if none.is_empty() => format!("{id} ({})", candidate.what),
            name => format!("{name} ({id}, {})", candidate.what),
        }
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "none".into() } else { shown.join(", ") }
}

/// Whether this is an id, in full.
pub fn is_full_id(text: &str) -> bool {
    text.len() == FULL_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit())
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
    fn who_was_removed_does_not_compete_for_its_name_and_is_found_by_its_id() {
        let mut board = board();
        board[1].what = REMOVED;
        let meant = |wanted: &str, board: &[Candidate]| resolve(wanted, board).map(|candidate| candidate.node_id & 0xf);
        assert_eq!(meant("pi2", &board), Ok(3), "the board was wiped and waits");
        assert_eq!(meant("abcd000000000002", &board), Ok(2));
        board.remove(2);
        assert_eq!(meant("pi2", &board), Ok(2), "nobody else has the name");
    }

    #[test]
    fn who_has_no_name_is_shown_by_its_id_and_not_meant_by_nothing() {
        let nameless = [candidate(0xb661_e14b_0000_0001, "", "learner")];
        assert_eq!(list(&nameless), "b661e14b (learner)");
        assert_eq!(resolve("", &nameless), Err(Unclear::Unknown));
    }

    #[test]
    fn only_all_its_digits_are_an_id_in_full() {
        assert!(is_full_id("abcd000000000002") && is_full_id("ABCD000000000002"));
        for text in ["", "abcd", "pi2", "abcd00000000000g", "abcd0000000000021"] {
            assert!(!is_full_id(text), "{text}");
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
