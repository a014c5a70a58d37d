//! A key: any bytes, 1 B to 4 KiB.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Longest key.
pub const KEY_MAX_BYTES: usize = 4 << 10;

/// `B` holds the bytes: its own, or borrowed from where they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<B = Vec<u8>>(B);

/// A key of no or too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {KEY_MAX_BYTES} bytes, this one has {bytes}")]
pub struct KeySize {
    pub bytes: usize,
}

impl Key {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Key, KeySize> {
        Key::checked(bytes.into())
    }
}

impl<B: AsRef<[u8]>> Key<B> {
    fn checked(bytes: B) -> Result<Key<B>, KeySize> {
        match bytes.as_ref().len() {
            1..=KEY_MAX_BYTES => Ok(Key(bytes)),
            bytes => Err(KeySize { bytes }),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl<'a> Key<&'a [u8]> {
    /// As long as the bytes themselves are there.
    pub(crate) fn borrowed(self) -> &'a [u8] {
        self.0
    }

    pub fn owned(self) -> Key {
        Key(self.0.to_vec())
    }
}

impl<B: AsRef<[u8]>> Serialize for Key<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

/// Also the way in from stored bytes: no key of a forbidden size comes out of a log.
impl<'de, B: Deserialize<'de> + AsRef<[u8]>> Deserialize<'de> for Key<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<B>, D::Error> {
        Key::checked(B::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
