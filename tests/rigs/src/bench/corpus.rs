//! The keys and values that are written and read.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::Noise;

pub const KEY_BYTES: usize = 256;
pub const VALUE_BYTES: usize = 1_024;
/// Bytes of key and value together.
pub const PAYLOAD_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;
/// Different keys.
pub const KEYS: u64 = 1_000_000;

/// Values are slices of so many random bytes: enough that no two of them meet in one block of a database.
const POOL_BYTES: usize = 16 << 20;

/// What one store is given; keeps count of what it has.
pub struct Corpus {
    pool: Bytes,
    written: AtomicU64,
}

impl Default for Corpus {
    fn default() -> Corpus {
        let mut noise = Noise::new(1, POOL_BYTES as u64);
        let mut pool = Vec::with_capacity(POOL_BYTES);
        while let Some(chunk) = noise.chunk(POOL_BYTES) {
            pool.extend_from_slice(&chunk);
        }
        Corpus { pool: pool.into(), written: AtomicU64::new(0) }
    }
}

impl Corpus {
    /// A key that nobody has, as long as there are any, and its value.
    pub fn next(&self) -> (Bytes, Bytes) {
        let number = self.written.fetch_add(1, Ordering::Relaxed) % KEYS;
        let at = mixed(number) as usize % (POOL_BYTES - VALUE_BYTES);
        (key(number), self.pool.slice(at..at + VALUE_BYTES))
    }

    /// One of the keys written; `draw` is any number.
    pub fn old(&self, draw: u64) -> Bytes {
        let written = self.written().clamp(1, KEYS);
        key(mixed(draw) % written)
    }

    /// Writes begun so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Random bytes, the same for the same number.
fn key(number: u64) -> Bytes {
    let mut key = Vec::with_capacity(KEY_BYTES);
    for word in 0..KEY_BYTES as u64 / 8 {
        key.extend_from_slice(&mixed(number << 8 | word).to_le_bytes());
    }
    key.into()
}

/// SplitMix64's output function: a bijection that leaves no pattern.
fn mixed(number: u64) -> u64 {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
