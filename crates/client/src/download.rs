//! Fetching a value of any size.
//!
//! Invariants:
//! - All bytes are of one revision. A download that breaks goes on at the next byte, at any node, with the revision pinned; when the key has
//!   changed meanwhile it starts from nothing, which a stream that has taken bytes already cannot.
//! - Size and hash are verified over what was written here, before a file gets its name. If the hash is another, a file is fetched once more
//!   from the start: the node that had damaged bytes has noticed by then, and gives out another's.
//! - Memory: one chunk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::v1::download_response::Part;
use proto::v1::{DownloadRequest, DownloadResponse, Reason};
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use crate::Progress;
use crate::client::{Client, Value};
use crate::error::{Error, Kind};
use crate::fault::{Effect, Fault};
use crate::meta::Meta;
use crate::pool::Node;
use crate::sink::Sink;
use crate::tries::{Tries, attempt};

/// A node silent this long in the middle of a stream is left for another.
const GAP_MS: u64 = 10_000;
/// How often a download starts again because the key was written meanwhile.
const CHANGES: u32 = 8;

/// One value on its way here.
struct Fetch<'a, 'b> {
    key: Bytes,
    meta: Meta,
    hash: [u8; 32],
    sink: &'a mut Sink<'b>,
    offset: u64,
    hasher: blake3::Hasher,
}

/// How a stream that is not at its end ended.
enum Ended {
    Fault(Fault),
    /// The key has another revision now.
    Changed,
    Local(Error),
}

impl Client {
    /// Writes a key's value to `sink`; None if there is no such key, then nothing is written.
    pub async fn download(&self, key: &[u8], sink: &mut Sink<'_>, progress: Progress<'_>) -> Result<Option<Meta>, Error> {
        let mut damaged = false;
        for _ in 0..=CHANGES {
            let meta = match self.get_within(key, self.options.stall).await? {
                None => return Ok(None),
                Some(Value::Inline(meta, bytes)) => {
                    sink.write(&bytes).await?;
                    sink.commit().await?;
                    return Ok(Some(meta));
                }
                Some(Value::Large(meta)) => meta,
            };
            match self.fetch(key, meta, sink, progress).await {
                Ok(true) => return Ok(Some(meta)),
                Ok(false) if sink.rewind().await? => {}
                Ok(false) => break,
                Err(error) => {
                    let again = error.kind == Kind::Verification && !damaged && sink.rewind().await?;
                    if !again {
                        return Err(error);
                    }
                    damaged = true;
                }
            }
        }
        let message = "the value was changed while it was being read";
        Err(Error::new(Kind::NotExecuted, message, "try again when nobody writes to this key").because(Reason::Changed))
    }

    /// Fetches one revision; false if the key has another one by now.
    async fn fetch(&self, key: &[u8], meta: Meta, sink: &mut Sink<'_>, progress: Progress<'_>) -> Result<bool, Error> {
        let hash = meta.hash.expect("a value is large if and only if it has a hash");
        let mut fetch = Fetch { key: Bytes::copy_from_slice(key), meta, hash, sink, offset: 0, hasher: blake3::Hasher::new() };
        let mut tries = Tries::new(&self.pool, self.options.stall);
        loop {
            let node = tries.next().await?;
            match fetch.stream(&node, &mut tries, self.options.stall, progress).await {
                Ok(()) => return fetch.finish().await.map(|()| true),
                Err(Ended::Fault(fault)) => tries.failed(&node, fault).await?,
                Err(Ended::Changed) => return Ok(false),
                Err(Ended::Local(error)) => return Err(error),
            }
        }
    }
}

impl Fetch<'_, '_> {
    /// Reads from one node from `offset` on; `Ok` when all bytes are here.
    async fn stream(&mut self, node: &Arc<Node>, tries: &mut Tries, stall: Duration, progress: Progress<'_>) -> Result<(), Ended> {
        let request = DownloadRequest { key: self.key.clone(), offset: self.offset, length: 0, revision: self.meta.modify_revision };
        let answer = attempt(bound(tries), Effect::None, node.kv().download(request)).await;
        let mut stream = answer.map_err(ended)?;
        self.check_head(next(&mut stream, tries).await?)?;
        while self.offset < self.meta.size {
            let Some(Part::Chunk(chunk)) = next(&mut stream, tries).await? else {
                return Err(Ended::Fault(Fault::silent(Effect::None, "the stream ended early")));
            };
            let rest = self.meta.size - self.offset;
            if chunk.len() as u64 > rest {
                return Err(Ended::Fault(Fault::not_understood("more bytes than the value has")));
            }
            self.sink.write(&chunk).await.map_err(Ended::Local)?;
            self.hasher.update(&chunk);
            self.offset += chunk.len() as u64;
            if !chunk.is_empty() {
                tries.extend(stall);
                progress(self.offset, Some(self.meta.size));
            }
        }
        Ok(())
    }

    fn check_head(&self, part: Option<Part>) -> Result<(), Ended> {
        let Some(Part::Head(head)) = part else {
            return Err(Ended::Fault(Fault::silent(Effect::None, "the stream does not begin with a head")));
        };
        match head.meta {
            Some(meta) if meta.modify_revision == self.meta.modify_revision => Ok(()),
            _ => Err(Ended::Changed),
        }
    }

    async fn finish(self) -> Result<(), Error> {
        let found = self.hasher.finalize();
        if *found.as_bytes() != self.hash {
            let wanted = blake3::Hash::from_bytes(self.hash);
            let message = format!("the bytes received have the hash {found}, not {wanted}");
            let next = "do not use what was written; try again, perhaps from another node with --addr";
            return Err(Error::new(Kind::Verification, message, next).because(Reason::HashMismatch));
        }
        self.sink.commit().await
    }
}

async fn next(stream: &mut Streaming<DownloadResponse>, tries: &Tries) -> Result<Option<Part>, Ended> {
    match timeout_at(bound(tries), stream.message()).await {
        Ok(Ok(message)) => Ok(message.and_then(|message| message.part)),
        Ok(Err(status)) => Err(ended(Fault::of(&status, Effect::None))),
        Err(_) => Err(Ended::Fault(Fault::timed_out(Effect::None))),
    }
}

fn bound(tries: &Tries) -> Instant {
    tries.bound().min(Instant::now() + Duration::from_millis(GAP_MS))
}

fn ended(fault: Fault) -> Ended {
    if fault.reason == Reason::Changed { Ended::Changed } else { Ended::Fault(fault) }
}
