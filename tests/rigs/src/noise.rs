//! Bytes that do not repeat and can be made again: a large file without the file.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

const BLOCK_BYTES: usize = 64 * 1024;

/// `left` bytes that depend on `seed` alone.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
    left: u64,
    block: Vec<u8>,
    used: usize,
}

impl Noise {
    pub fn new(seed: u64, bytes: u64) -> Noise {
        Noise { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, left: bytes, block: vec![0; BLOCK_BYTES], used: BLOCK_BYTES }
    }

    /// BLAKE3 of all that is left.
    pub fn hash(mut self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        while let Some(chunk) = self.chunk(BLOCK_BYTES) {
            hasher.update(&chunk);
        }
        *hasher.finalize().as_bytes()
    }

    /// At most `bytes_max` and at most 64 KiB; `None` at the end.
    pub fn chunk(&mut self, bytes_max: usize) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        if self.used == BLOCK_BYTES {
            self.fill();
        }
        let count = bytes_max.min(BLOCK_BYTES - self.used).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let chunk = Bytes::copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        self.left -= count as u64;
        Some(chunk)
    }

    fn fill(&mut self) {
        for word in self.block.chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        self.used = 0;
    }
}

impl AsyncRead for Noise {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(chunk) = self.chunk(buffer.remaining()) {
            buffer.put_slice(&chunk);
        }
        Poll::Ready(Ok(()))
    }
}
