//! What clients ask the replicated state to do, and its form in the log.
//!
//! The form is a version byte and a `postcard` struct. It already carries what makes a retried write take effect once
//! (session id, applied index at its opening, serial) and room for a time to live; neither is evaluated by this version.

use serde::{Deserialize, Serialize};

use crate::{Key, Malformed};

/// Longest value kept in the database itself; larger ones are blobs.
pub const INLINE_VALUE_MAX_BYTES: usize = 64 << 10;

const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub session: Option<Stamp>,
    pub operation: Operation,
}

/// Names one attempt of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub session: u64,
    pub opened: u64,
    pub serial: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    Put { key: Key, value: Value, condition: Condition, expires: Option<u64> },
    Delete { key: Key, condition: Condition },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Inline(Vec<u8>),
    /// The manifest of a blob: its bytes are in a file named by their hash.
    Blob {
        hash: [u8; 32],
        size: u64,
    },
}

/// What must hold when the entry is applied, or nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Always,
    Absent,
    /// The key exists with this modify revision.
    Revision(u64),
}

impl Command {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT]).expect("a command always has a form")
    }

    pub fn decode(bytes: &[u8]) -> Result<Command, Malformed> {
        match bytes.split_first() {
            Some((&FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((command, [])) => Ok(command),
                _ => Err(Malformed("command")),
            },
            _ => Err(Malformed("command of an unknown format")),
        }
    }

    /// Whether it brings new data, which a cluster short of room refuses.
    pub fn needs_room(&self) -> bool {
        matches!(self.operation, Operation::Put { .. })
    }

    /// Whether it names a blob that a quorum must hold first.
    pub fn needs_blob(&self) -> Option<[u8; 32]> {
        match &self.operation {
            Operation::Put { value: Value::Blob { hash, .. }, .. } => Some(*hash),
            _ => None,
        }
    }
}
