//! A key: any bytes, 1 B to 4 KiB.

use serde::{Deserialize, Serialize};

/// Longest key.
pub const KEY_MAX_BYTES: usize = 4 << 10;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>")]
pub struct Key(Vec<u8>);

/// A key of no or too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {KEY_MAX_BYTES} bytes, this one has {bytes}")]
pub struct KeySize {
    pub bytes: usize,
}

impl Key {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Key, KeySize> {
        let bytes = bytes.into();
        match bytes.len() {
            1..=KEY_MAX_BYTES => Ok(Key(bytes)),
            bytes => Err(KeySize { bytes }),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Also the way in from stored bytes: no key of a forbidden size comes out of a log.
impl TryFrom<Vec<u8>> for Key {
    type Error = KeySize;

    fn try_from(bytes: Vec<u8>) -> Result<Key, KeySize> {
        Key::new(bytes)
    }
}
