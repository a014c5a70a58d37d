//! Storing a value of any size.
//!
//! Invariants:
//! - A node executes an upload only after its end marker, which carries the hash of all bytes. Before the marker was handed to the connection
//!   the upload is known not to have been executed, whatever happens; from then on a lost answer leaves it in doubt. It carries a session,
//!   so it is sent again in either case, if its source can be read again.
//! - Memory: a few chunks, and of a pipe the bytes kept for a retry.
//! - It ends: without progress for [`Options::stall`](crate::Options), or after `RESTARTS` transfers that failed late.

use std::sync::Arc;

use bytes::Bytes;
use proto::v1::upload_request::{End, Header, Part};
use proto::v1::{self, Reason};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Client, Written, check_key, written};
use crate::error::{Error, Kind};
use crate::fault::{Effect, Fault};
use crate::meta::Condition;
use crate::pool::Node;
use crate::source::{Opened, Reader, Source};
use crate::tries::Tries;
use crate::{CHUNK_BYTES, Progress};

/// Chunks between the reader and the connection.
const CHUNKS_IN_FLIGHT: usize = 4;
/// A failed transfer of at least this size counts as one: less is what a node that does not lead is sent before it says so.
const TRANSFER_BYTES: u64 = 8 * 1024 * 1024;
const RESTARTS: u32 = 3;

/// How far an upload has come, over all attempts.
struct Course<'a> {
    /// Most bytes any attempt since the last restart has sent; only more is progress.
    high_water: u64,
    restarts: u32,
    progress: Progress<'a>,
}

/// How an attempt that failed ended.
enum Ended {
    /// At the node or on the way.
    Fault(Fault),
    /// Here; nothing to retry.
    Local(Error),
}

impl Client {
    /// Stores a value of any size. `progress` is told of the bytes of large values.
    pub async fn put(&self, key: &[u8], source: Source, condition: Option<Condition>, progress: Progress<'_>) -> Result<Written, Error> {
        check_key(key)?;
        match source.open().await? {
            Opened::Inline(value) => self.set(key, value, condition).await,
            Opened::Large(reader) => self.upload(key, reader, condition, progress).await,
        }
    }

    async fn upload(&self, key: &[u8], mut reader: Reader, condition: Option<Condition>, progress: Progress<'_>) -> Result<Written, Error> {
        let mut header =
            Header { key: Bytes::copy_from_slice(key), condition: Condition::to_wire(condition), size: reader.size, session: None };
        let mut course = Course { high_water: 0, restarts: 0, progress };
        let mut tries = Tries::of_write(&self.pool, self.options.stall);
        let mut opened = None;
        loop {
            let node = tries.next_leader().await?;
            let session = match opened.take() {
                Some(session) => session,
                None => self.pool.sessions.take()?,
            };
            header.session = Some(session.stamp());
            let mut sent = 0;
            let ready = match self.transfer(&node, header.clone(), &mut reader, &mut sent, &mut tries, &mut course).await {
                Ok(written) => {
                    self.pool.sessions.give_back(session, written.revision());
                    return Ok(self.led(&node.peer, written));
                }
                Err(Ended::Local(error)) => Err(error),
                Err(Ended::Fault(fault)) => {
                    let (last, expired) = (fault.message.clone(), fault.expired);
                    tries.failed(&node, fault).await?;
                    opened = Some(match expired {
                        Some(index) => self.pool.sessions.replace(&session, index)?,
                        None => session,
                    });
                    again(&mut course, &mut reader, sent, &last).await
                }
            };
            if let Err(error) = ready {
                return Err(tries.in_truth(error).await);
            }
        }
    }

    /// One attempt at one node.
    async fn transfer(
        &self,
        node: &Arc<Node>,
        header: Header,
        reader: &mut Reader,
        sent: &mut u64,
        tries: &mut Tries,
        course: &mut Course<'_>,
    ) -> Result<Written, Ended> {
        let (parts, queue) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let mut kv = node.kv();
        let mut call = std::pin::pin!(kv.upload(ReceiverStream::new(queue)));
        let mut parts = Some(parts);
        let mut effect = Effect::None;
        let mut next = Some(Part::Header(header));
        let mut hasher = blake3::Hasher::new();
        loop {
            let deadline = tries.bound();
            let feed = feed(&mut parts, &mut next, reader);
            tokio::select! {
                biased;
                answer = &mut call => {
                    let response = answer.map_err(|status| Ended::Fault(Fault::of(&status, effect)))?.into_inner();
                    return written(response.result(), response.meta).map_err(Ended::Fault);
                }
                () = sleep_until(deadline) => return Err(Ended::Fault(Fault::timed_out(effect))),
                fed = feed => match fed.map_err(Ended::Local)? {
                    Fed::HandedOver => {}
                    Fed::EndHandedOver => effect = Effect::Possible,
                    Fed::Chunk(chunk) => {
                        hasher.update(&chunk);
                        *sent += chunk.len() as u64;
                        next = Some(Part::Chunk(chunk));
                        if course.moved(*sent, reader.size) {
                            tries.extend(self.options.stall);
                        }
                    }
                    Fed::End => {
                        let hash = Bytes::copy_from_slice(hasher.finalize().as_bytes());
                        next = Some(Part::End(End { hash }));
                    }
                },
            }
        }
    }
}

/// One step of an upload.
enum Fed {
    /// Read.
    Chunk(Bytes),
    /// The source is at its end; the marker is to follow.
    End,
    HandedOver,
    EndHandedOver,
}

/// Hands the waiting part to the connection, then reads the one after it. Pending for ever once all is handed over or nobody takes it.
async fn feed(parts: &mut Option<mpsc::Sender<v1::UploadRequest>>, next: &mut Option<Part>, reader: &mut Reader) -> Result<Fed, Error> {
    let Some(sender) = parts else { return std::future::pending().await };
    if next.is_some() {
        let Ok(permit) = sender.reserve().await else { return std::future::pending().await };
        let part = next.take();
        let last = matches!(part, Some(Part::End(_)));
        permit.send(v1::UploadRequest { part });
        if last {
            *parts = None;
            return Ok(Fed::EndHandedOver);
        }
        return Ok(Fed::HandedOver);
    }
    Ok(reader.next().await?.map_or(Fed::End, Fed::Chunk))
}

impl Course<'_> {
    /// Notes that `sent` bytes of this attempt are on their way; whether that is progress.
    fn moved(&mut self, sent: u64, size: Option<u64>) -> bool {
        let further = sent > self.high_water;
        if further {
            self.high_water = sent;
            (self.progress)(sent, size);
        }
        further
    }

    /// An attempt failed after `sent` bytes. A long transfer gets its time again, a bounded number of times.
    fn restart(&mut self, sent: u64, last: &str) -> Result<(), Error> {
        if sent < TRANSFER_BYTES {
            return Ok(());
        }
        if self.restarts == RESTARTS {
            let message = format!("gave up after {} transfers that failed late: {last}", RESTARTS + 1);
            return Err(Error::new(Kind::NotExecuted, message, "try again when the cluster is stable; `rusty-kv status` shows its state"));
        }
        self.restarts += 1;
        self.high_water = 0;
        Ok(())
    }
}

/// Makes ready for the next attempt.
async fn again(course: &mut Course<'_>, reader: &mut Reader, sent: u64, last: &str) -> Result<(), Error> {
    course.restart(sent, last)?;
    if reader.rewind().await? { Ok(()) } else { Err(cannot_repeat(last)) }
}

fn cannot_repeat(last: &str) -> Error {
    let message = format!("the upload was not executed ({last}), and its input cannot be read a second time");
    Error::new(Kind::NotExecuted, message, "run the command again, or upload from a file, which is retried by itself")
        .because(Reason::Unspecified)
}

const _: () = assert!(TRANSFER_BYTES > (CHUNKS_IN_FLIGHT * CHUNK_BYTES) as u64);
