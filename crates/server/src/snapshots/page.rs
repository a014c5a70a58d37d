//! The bytes of a page, as they are checked.

use storage::Pair;

/// BLAKE3 over all pairs of a snapshot, in order: each key and value behind its length.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    hasher: blake3::Hasher,
    pairs: u64,
}

impl Digest {
    pub fn update(&mut self, pairs: &[Pair]) {
        each_part(pairs, |bytes| {
            self.hasher.update(bytes);
        });
        self.pairs += pairs.len() as u64;
    }

    /// Number of pairs, and the hash.
    pub fn finish(&self) -> (u64, [u8; 32]) {
        (self.pairs, self.hasher.finalize().into())
    }
}

/// Of one page, so that damage on the way is met at once.
pub fn crc_of(pairs: &[Pair]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    each_part(pairs, |bytes| crc.update(bytes));
    crc.finalize()
}

fn each_part(pairs: &[Pair], mut take: impl FnMut(&[u8])) {
    for (key, value) in pairs {
        for part in [key, value] {
            take(&(part.len() as u32).to_le_bytes());
            take(part);
        }
    }
}
