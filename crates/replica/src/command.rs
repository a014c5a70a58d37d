//! What clients ask the replicated state to do, and its form in the log.
//!
//! The form is a version byte and a `postcard` struct. It carries what makes a retried write take effect once (session id, applied
//! index at its opening, serial) and room for a time to live, which this version does not evaluate.
//!
//! Every member decodes every command, so what is decoded borrows its bytes from the entry: `Command<&[u8]>`.

use serde::{Deserialize, Serialize, Serializer};

use crate::{Key, Malformed, TrustChange};

/// Longest value kept in the database itself; larger ones are blobs.
pub const INLINE_VALUE_MAX_BYTES: usize = 64 << 10;

const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "B: AsRef<[u8]>", deserialize = "B: Deserialize<'de> + AsRef<[u8]>"))]
pub struct Command<B = Vec<u8>> {
    pub session: Option<Stamp>,
    pub operation: Operation<B>,
}

/// Names one write of one session. Every attempt at it bears the same stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub session: u64,
    pub opened: u64,
    pub serial: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "B: AsRef<[u8]>", deserialize = "B: Deserialize<'de> + AsRef<[u8]>"))]
pub enum Operation<B = Vec<u8>> {
    Put {
        key: Key<B>,
        value: Value<B>,
        condition: Condition,
        expires: Option<u64>,
    },
    Delete {
        key: Key<B>,
        condition: Condition,
    },
    /// Blobs that nothing refers to any more may be unlinked; whoever said earlier that it has one must say so again.
    Collect,
    /// Rare and small, so it owns its bytes.
    Trust(TrustChange),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "B: AsRef<[u8]>", deserialize = "B: Deserialize<'de> + AsRef<[u8]>"))]
pub enum Value<B = Vec<u8>> {
    Inline(#[serde(serialize_with = "as_bytes")] B),
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

/// serde writes bytes element by element; this hands them over in one piece. The encoding is the same.
fn as_bytes<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes.as_ref())
}

impl<'a> Command<&'a [u8]> {
    pub fn decode(bytes: &'a [u8]) -> Result<Command<&'a [u8]>, Malformed> {
        match bytes.split_first() {
            Some((&FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((command, [])) => Ok(command),
                _ => Err(Malformed("command")),
            },
            _ => Err(Malformed("command of an unknown format")),
        }
    }

    /// For whoever keeps it longer than the entry.
    pub fn owned(&self) -> Command {
        let operation = match &self.operation {
            Operation::Put { key, value, condition, expires } => {
                Operation::Put { key: key.owned(), value: value.owned(), condition: *condition, expires: *expires }
            }
            Operation::Delete { key, condition } => Operation::Delete { key: key.owned(), condition: *condition },
            Operation::Collect => Operation::Collect,
            Operation::Trust(change) => Operation::Trust(change.clone()),
        };
        Command { session: self.session, operation }
    }
}

impl Value<&[u8]> {
    pub fn owned(&self) -> Value {
        match self {
            Value::Inline(bytes) => Value::Inline(bytes.to_vec()),
            Value::Blob { hash, size } => Value::Blob { hash: *hash, size: *size },
        }
    }
}

impl<B: AsRef<[u8]>> Command<B> {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.operation.about_bytes());
        bytes.push(FORMAT);
        postcard::to_extend(self, bytes).expect("a command always has a form")
    }

    /// Whether it brings new data, which a cluster short of room refuses. What is bounded anyway goes on: to let in a board with room is
    /// a way out.
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

impl<B: AsRef<[u8]>> Operation<B> {
    /// How long its form will be, a little more rather than less.
    fn about_bytes(&self) -> usize {
        const ALL_BUT_KEY_AND_VALUE: usize = 96;
        ALL_BUT_KEY_AND_VALUE
            + match self {
                Operation::Put { key, value: Value::Inline(bytes), .. } => key.as_bytes().len() + bytes.as_ref().len(),
                Operation::Put { key, .. } | Operation::Delete { key, .. } => key.as_bytes().len(),
                Operation::Collect => 0,
                Operation::Trust(change) => change.about_bytes(),
            }
    }
}
