//! Reading a blob from this disk, a chunk at a time.

use std::sync::Arc;

use bytes::Bytes;
use storage::{BlobHash, Blobs};
use tokio::sync::mpsc;

use super::{CHUNK_BYTES, CHUNKS_QUEUED};
use crate::node::Node;

/// Bytes `offset..offset + length` of a blob. A whole blob is verified on the way: wrong bytes end it with an error before the
/// last chunk is given out, and from then on this node counts it among those it lacks: it reads the peers' copy, and fetches it.
pub fn serve(node: Arc<Node>, hash: BlobHash, offset: u64, length: u64) -> mpsc::Receiver<Result<Bytes, storage::Error>> {
    let (chunks, queue) = mpsc::channel(CHUNKS_QUEUED);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&node.blobs, hash, offset, length, &chunks) {
            log::warn!(blob:% = hash, error:%; "a blob cannot be read");
            if matches!(error, storage::Error::Corrupt { .. }) {
                node.blobs.doubt(&hash);
                node.blob_absent.notify_one();
            }
            let _ = chunks.blocking_send(Err(error));
        }
    });
    queue
}

fn read(
    blobs: &Blobs,
    hash: BlobHash,
    offset: u64,
    length: u64,
    chunks: &mpsc::Sender<Result<Bytes, storage::Error>>,
) -> Result<(), storage::Error> {
    let gone = || storage::Error::Corrupt { what: format!("blob {hash}"), detail: "it is not on this disk".into() };
    let reader = blobs.open_blob(&hash)?.ok_or_else(gone)?;
    let whole = offset == 0 && length >= reader.len();
    let mut hasher = blake3::Hasher::new();
    let mut at = offset;
    let end = offset.saturating_add(length).min(reader.len());
    while at < end {
        let mut chunk = vec![0; CHUNK_BYTES.min((end - at) as usize)];
        let read = reader.read_at(at, &mut chunk)?;
        chunk.truncate(read);
        at += read as u64;
        if whole {
            hasher.update(&chunk);
        }
        let wrong = whole && at == end && *hasher.finalize().as_bytes() != hash.0;
        if read == 0 || wrong {
            return Err(storage::Error::Corrupt { what: format!("blob {hash}"), detail: "its bytes do not have its hash".into() });
        }
        if chunks.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
