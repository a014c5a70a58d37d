//! The committed log, as the first to commit each entry had it.

use raft::{Entry, Index, LogId, Membership, NodeId, Payload, Term};
use replica::state::Outcome;

#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Committed>,
    memberships: Vec<(Index, Membership)>,
}

#[derive(Debug)]
pub struct Committed {
    pub id: LogId,
    pub digest: u64,
    /// The term of whoever committed it.
    pub by: Term,
    /// On whose disks it was at that moment.
    pub holders: Vec<NodeId>,
    /// What a plain map makes of it; none if it is no command.
    pub outcome: Option<Outcome>,
}

impl Ledger {
    pub fn started(membership: Membership) -> Ledger {
        Ledger { entries: Vec::new(), memberships: vec![(0, membership)] }
    }

    pub fn end(&self) -> Index {
        self.entries.len() as Index
    }

    pub fn at(&self, index: Index) -> Option<&Committed> {
        self.entries.get(index.checked_sub(1)? as usize)
    }

    pub fn all(&self) -> &[Committed] {
        &self.entries
    }

    /// The newest configuration, and every one before it.
    pub fn memberships(&self) -> &[(Index, Membership)] {
        &self.memberships
    }

    pub fn membership(&self) -> &Membership {
        &self.memberships.last().expect("there is one from the start").1
    }

    pub fn push(&mut self, entry: &Entry, committed: Committed) {
        assert_eq!(entry.id.index, self.end() + 1, "entries are committed in order");
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.push((entry.id.index, membership.clone()));
        }
        self.entries.push(committed);
    }
}

/// Tells payloads apart.
pub fn digest(entry: &Entry) -> u64 {
    let mut hash = entry.id.term.0 ^ 0xcbf2_9ce4_8422_2325;
    let mut take = |word: u64| hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    match &entry.payload {
        Payload::Noop => take(1),
        Payload::Command(bytes) => {
            take(2);
            let (words, rest) = bytes.as_chunks::<8>();
            words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
            rest.iter().for_each(|byte| take(u64::from(*byte)));
        }
        Payload::Membership(membership) => {
            take(3);
            for set in [&membership.voters, &membership.outgoing] {
                take(set.len() as u64);
                set.iter().for_each(|id| take(id.0));
            }
            for (id, intent) in &membership.learners {
                take(id.0);
                take(match intent {
                    raft::Intent::Stay => 0,
                    raft::Intent::Promote => 1,
                    raft::Intent::Replace(old) => 2 + old.0,
                });
            }
        }
    }
    hash
}
