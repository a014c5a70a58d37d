//! A token for one use lets one caller in, however many race for it: what changes of trust do to a plain table, written apart from the state
//! machine.
//!
//! Left out: rotation of authorities, which no client asks for; it is decided by single entries, as stories show.

use std::collections::{BTreeMap, BTreeSet};

use super::{Property, Verdict};
use replica::{
    TokenId, TrustChange, TrustOutcome,
    state::{Outcome, TOKENS_MAX},
};

#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Cluster time, once there is a cluster to trust.
    time: Option<u64>,
    /// Their ends and the uses left.
    table: BTreeMap<TokenId, (u64, u32)>,
    newest: Option<TokenId>,
    /// Whoever asked for one and was told that it is granted.
    let_in: BTreeSet<TokenId>,
}

impl Tokens {
    pub fn is_founded(&self) -> bool {
        self.time.is_some()
    }

    pub fn time(&self) -> u64 {
        self.time.unwrap_or(0)
    }

    /// What callers race for.
    pub fn newest(&self) -> Option<TokenId> {
        self.newest
    }

    /// A caller was told what became of its use of a token. All tokens are for one use, and ids are never used again.
    pub fn told(&mut self, id: TokenId, outcome: Outcome) -> Verdict {
        let again = outcome == Outcome::Trust(TrustOutcome::Changed) && !self.let_in.insert(id);
        Property::ExactlyOnce.holds(!again, || format!("two callers were let in by token {id:x?}, which is for one"))
    }

    pub(super) fn change(&mut self, change: &TrustChange) -> TrustOutcome {
        match change {
            TrustChange::Found { at, .. } if self.time.is_none() => {
                self.time = Some(*at);
                TrustOutcome::Changed
            }
            TrustChange::Time { at } if self.time.is_some_and(|time| time < *at) => {
                self.time = Some(*at);
                TrustOutcome::Changed
            }
            TrustChange::Found { .. } | TrustChange::Time { .. } => TrustOutcome::Unchanged,
            TrustChange::AddToken(token) => {
                let Some(time) = self.time else { return TrustOutcome::Unchanged };
                if self.table.contains_key(&token.id) {
                    return TrustOutcome::Unchanged;
                }
                if self.table.len() == TOKENS_MAX {
                    self.table.retain(|_, (end, left)| *end > time && *left > 0);
                }
                if self.table.len() == TOKENS_MAX {
                    return TrustOutcome::TooMany;
                }
                self.table.insert(token.id, (token.expires.unwrap_or(u64::MAX), token.uses_left.unwrap_or(u32::MAX)));
                self.newest = Some(token.id);
                TrustOutcome::Changed
            }
            TrustChange::RevokeToken { id } => match self.table.remove(id) {
                Some(_) => TrustOutcome::Changed,
                None => TrustOutcome::TokenUnknown,
            },
            TrustChange::UseToken { id, at } => match self.table.get_mut(id) {
                None => TrustOutcome::TokenUnknown,
                Some((end, _)) if *end <= self.time.unwrap_or(0).max(*at) => TrustOutcome::TokenExpired,
                Some((_, 0)) => TrustOutcome::TokenUsedUp,
                Some((_, left)) => {
                    *left -= 1;
                    TrustOutcome::Changed
                }
            },
            other => unreachable!("no client asks for {other:?}"),
        }
    }
}
