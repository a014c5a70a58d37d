//! What is known of a key beside its value, and conditions on it.

use proto::v1;

use crate::fault::Fault;

/// A key's revisions, size and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Log index of the write that created the key.
    pub create_revision: u64,
    /// Log index of the last write.
    pub modify_revision: u64,
    /// Bytes.
    pub size: u64,
    /// BLAKE3; only of a value that is kept as a blob.
    pub hash: Option<[u8; 32]>,
}

/// A write happens only if this holds when it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is absent.
    Absent,
    /// The key exists with this modify revision.
    Revision(u64),
}

impl Meta {
    pub(crate) fn from_wire(meta: v1::Meta) -> Result<Meta, Fault> {
        let hash = match meta.hash.len() {
            0 => None,
            _ => Some(meta.hash.as_ref().try_into().map_err(|_| Fault::not_understood("a hash that is not 32 bytes"))?),
        };
        Ok(Meta { create_revision: meta.create_revision, modify_revision: meta.modify_revision, size: meta.size, hash })
    }
}

impl Condition {
    pub(crate) fn to_wire(condition: Option<Condition>) -> Option<v1::Condition> {
        use v1::condition::When;
        condition.map(|condition| v1::Condition {
            when: Some(match condition {
                Condition::Absent => When::Absent(true),
                Condition::Revision(revision) => When::Revision(revision),
            }),
        })
    }
}
