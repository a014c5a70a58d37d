//! A page of a snapshot on its way from a peer.

use prost::Message as _;
use proto::v1 as wire;
use replica::state;
use storage::{MemState, Pair, StateStore, Write};

use crate::page::{Digest, crc_of};

/// The whole is the same however it is cut into pages, and what it holds can be looked into.
pub fn snapshot_page(bytes: &[u8]) {
    let Ok(page) = wire::PullSnapshotResponse::decode(bytes) else { return };
    let pairs: Vec<Pair> = page.pairs.into_iter().map(|pair| (pair.key.to_vec(), pair.value.to_vec())).collect();
    let whole = digest_of(&[&pairs]);
    let (first, second) = pairs.split_at(pairs.len() / 2);
    assert_eq!(digest_of(&[first, second]), whole, "pages matter");
    if !pairs.is_empty() {
        assert_ne!(digest_of(&[&pairs[1..]]), whole, "a pair too few goes unseen");
        let mut moved = pairs.clone();
        let (key, value) = &mut moved[0];
        if !key.is_empty() {
            value.insert(0, key.pop().expect("just looked"));
            assert_ne!(crc_of(&moved), crc_of(&pairs), "where a key ends goes unseen");
        }
    }
    let staged = MemState::new();
    staged.write(pairs.into_iter().map(|(key, value)| Write::Put(key, value)).collect(), raft::LogId::ZERO).expect("memory can be written");
    let _ = (state::position(&staged), state::blobs(&staged, None, 4), state::list(&staged, b"", b"", 4, usize::MAX));
}

fn digest_of(pages: &[&[Pair]]) -> (u64, [u8; 32]) {
    let mut digest = Digest::default();
    pages.iter().for_each(|pairs| digest.update(pairs));
    digest.finish()
}
