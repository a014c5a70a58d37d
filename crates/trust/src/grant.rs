//! What a client was allowed when its certificate was signed.
//!
//! Invariants:
//! - A higher role allows whatever a lower one does.
//! - A prefix narrows every role: no key outside of it is read, written or listed. A listing is asked for with its own prefix as the key,
//!   so one that would reach further than the grant is refused as a whole, not cut silently.
//! - What concerns no single key (membership, tokens, the authorities) needs a grant without a prefix, but for reading the cluster's
//!   status: that names no key, and a client cannot find its leader without it.

use crate::Role;

/// Longest prefix of a grant: it travels in every handshake.
pub const PREFIX_MAX_BYTES: usize = 256;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Grant {
    pub role: Role,
    /// Empty: all keys.
    pub prefix: Vec<u8>,
}

impl Grant {
    /// Whether this suffices for an action that needs the role `needed` and touches `key`, or no single key.
    pub fn allows(&self, needed: Role, key: Option<&[u8]>) -> bool {
        let within = match key {
            Some(key) => key.starts_with(&self.prefix),
            None => self.prefix.is_empty() || needed == Role::Read,
        };
        self.role >= needed && within
    }
}
