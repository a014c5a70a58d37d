//! The data service: values in and out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proto::v1::{self as wire, Reason, kv_server};
use replica::{
    INLINE_VALUE_MAX_BYTES, Key, Value,
    state::{self, BlobRef, Meta, Outcome, Record},
};
use storage::BlobHash;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
    time::timeout,
};
use tonic::{Request, Response, Status, Streaming};
use trust::Role;

use super::{
    calls::Calls,
    failure::{not_executed, not_leader, rejected, unreadable, upload_failed},
    messages::{self, Put},
    outflow::{Outflow, Source, Unread, outflow},
    requests::{member, read_barrier, write},
};
use crate::{
    blobs::{CHUNK_BYTES, Upload, fetch, is_held, serve},
    caller::Caller,
    convert,
    listening::UnderWay,
    node::Node,
};

/// Of a value that comes through this node from a peer's disk.
const PEER_TIMEOUT_MS: u64 = 30_000;
/// Large values on their way out to clients: each keeps a thread that reads the file.
const DOWNLOADS_MAX: usize = 24;
const LISTS_MAX: usize = 64;
const PAGE_ITEMS: usize = 512;
const PAGE_BYTES: usize = 256 << 10;
const CHUNKS_QUEUED: usize = 2;

#[derive(Clone)]
pub struct KvService {
    node: Arc<Node>,
    downloads: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

impl KvService {
    pub fn new(node: Arc<Node>) -> KvService {
        KvService { node, downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)), lists: Arc::new(Semaphore::new(LISTS_MAX)) }
    }
}

/// One of so many places, given back when it is dropped.
fn place(places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Status> {
    let taken = places.clone().try_acquire_owned();
    taken.map_err(|_| not_executed(Reason::Overloaded, format!("as many {what} as allowed are under way; try again")))
}

#[tonic::async_trait]
impl kv_server::Kv for KvService {
    type CallsStream = Calls;
    type ListStream = Outflow<wire::ListResponse>;
    type DownloadStream = Outflow<wire::DownloadResponse>;

    async fn set(&self, request: Request<wire::SetRequest>) -> Result<Response<wire::SetResponse>, Status> {
        Caller::of(&request).may(Role::Write, Some(&request.get_ref().key))?;
        let outcome = write(&self.node, messages::set(request.into_inner())?, None).await?;
        Ok(Response::new(messages::was_set(outcome)))
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetResponse>, Status> {
        Caller::of(&request).may(Role::Read, Some(&request.get_ref().key))?;
        let record = read(&self.node, messages::key(&request.get_ref().key)?).await?;
        Ok(Response::new(messages::found(record)))
    }

    async fn delete(&self, request: Request<wire::DeleteRequest>) -> Result<Response<wire::DeleteResponse>, Status> {
        Caller::of(&request).may(Role::Write, Some(&request.get_ref().key))?;
        let outcome = write(&self.node, messages::delete(request.into_inner())?, None).await?;
        Ok(Response::new(messages::was_deleted(outcome)))
    }

    async fn calls(&self, request: Request<Streaming<wire::CallRequest>>) -> Result<Response<Calls>, Status> {
        let caller = Caller::of(&request);
        Ok(Response::new(Calls::new(self.node.clone(), caller, request.into_inner())))
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        Caller::of(&request).may(Role::Read, Some(&request.get_ref().prefix))?;
        let under_way = request.extensions().get::<UnderWay>().cloned();
        let request = request.into_inner();
        member(&self.node)?;
        let place = place(&self.lists, "lists")?;
        let (pages, stream) = outflow(under_way);
        let node = self.node.clone();
        tokio::spawn(async move {
            list_pages(node, request, pages).await;
            drop(place);
        });
        Ok(Response::new(stream))
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadRequest>>) -> Result<Response<wire::UploadResponse>, Status> {
        let caller = Caller::of(&request);
        // Whoever may write nothing at all takes no place of those who may.
        caller.may_somewhere(Role::Write)?;
        let _place = place(&self.node.uploads, "uploads")?;
        let outcome = receive(&self.node, &caller, Parts { stream: request.into_inner() }).await?;
        let (result, meta) = messages::written(outcome);
        Ok(Response::new(wire::UploadResponse { result: result.into(), meta }))
    }

    async fn download(&self, request: Request<wire::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        Caller::of(&request).may(Role::Read, Some(&request.get_ref().key))?;
        let under_way = request.extensions().get::<UnderWay>().cloned();
        let request = request.into_inner();
        let record = read(&self.node, messages::key(&request.key)?).await?;
        if request.revision != 0 && record.as_ref().map(|record| record.modified) != Some(request.revision) {
            return Err(not_executed(Reason::Changed, "the key has changed since; download it again from the start"));
        }
        let large = record.as_ref().is_some_and(|record| matches!(record.value, Value::Blob { .. }));
        let place = large.then(|| place(&self.downloads, "downloads")).transpose()?;
        let (parts, stream) = outflow(under_way);
        let node = self.node.clone();
        tokio::spawn(async move {
            send_value(node, record, request.offset, request.length, parts).await;
            drop(place);
        });
        Ok(Response::new(stream))
    }
}

/// The parts of an upload as they come in.
struct Parts {
    stream: Streaming<wire::UploadRequest>,
}

impl Parts {
    async fn next(&mut self) -> Result<wire::upload_request::Part, Status> {
        let truncated = || not_executed(Reason::Truncated, "the upload ended before its end marker; nothing was stored");
        match self.stream.message().await {
            Err(broken) if broken.code() == tonic::Code::OutOfRange => Err(rejected(Reason::Malformed, broken.message())),
            // It came too slowly, or there was no room for it.
            Err(ours) if !ours.details().is_empty() => Err(ours),
            Err(_) | Ok(None) => Err(truncated()),
            Ok(Some(request)) => request.part.ok_or_else(|| rejected(Reason::Malformed, "an upload message without content")),
        }
    }
}

async fn receive(node: &Arc<Node>, caller: &Caller, mut parts: Parts) -> Result<Outcome, Status> {
    use wire::upload_request::Part;
    let out_of_order = || rejected(Reason::Malformed, "an upload is one header, chunks, one end");
    let Part::Header(header) = parts.next().await? else { return Err(out_of_order()) };
    caller.may(Role::Write, Some(&header.key))?;
    let put = Put::parse(&header.key, header.condition, header.session)?;
    let member = member(node)?;
    let status = member.engine.status();
    if status.leader != Some(node.id) {
        return Err(not_leader(node, status.leader));
    }
    if status.refusing {
        return Err(super::failure::refused(node, replica::Failure::NoRoom));
    }
    // A value that turns out small is stored like one that `Set` brought.
    let mut small = Vec::new();
    let mut large: Option<Upload> = None;
    let promised = loop {
        match parts.next().await? {
            Part::Chunk(chunk) if chunk.len() > CHUNK_BYTES => {
                return Err(rejected(Reason::Malformed, format!("a chunk of {} bytes; at most {CHUNK_BYTES}", chunk.len())));
            }
            Part::Chunk(chunk) => match &mut large {
                Some(upload) => upload.write(chunk).await.map_err(|error| upload_failed(node, error))?,
                None if small.len() + chunk.len() <= INLINE_VALUE_MAX_BYTES => small.extend_from_slice(&chunk),
                None => {
                    let mut upload = Upload::open(node.clone(), member.cluster_id, &status);
                    for chunk in [Bytes::from(std::mem::take(&mut small)), chunk] {
                        upload.write(chunk).await.map_err(|error| upload_failed(node, error))?;
                    }
                    large = Some(upload);
                }
            },
            Part::End(end) => break end.hash,
            Part::Header(_) => return Err(out_of_order()),
        }
    };
    let promised = convert::hash(&promised).map_err(|malformed| rejected(Reason::Malformed, malformed.to_string()))?;
    let received = large.as_ref().map_or(small.len() as u64, Upload::size);
    if header.size.is_some_and(|size| size != received) {
        return Err(rejected(Reason::Truncated, format!("{received} bytes arrived where {} were announced", header.size.unwrap_or(0))));
    }
    match large {
        None if *blake3::hash(&small).as_bytes() != promised => {
            Err(rejected(Reason::HashMismatch, "the bytes received do not have the hash sent"))
        }
        None => write(node, put.of(Value::Inline(small)), None).await,
        Some(upload) => {
            let (hash, size, haves) = upload.finish(BlobHash(promised)).await.map_err(|error| upload_failed(node, error))?;
            write(node, put.of(Value::Blob { hash: hash.0, size }), Some(haves)).await
        }
    }
}

async fn send_value(node: Arc<Node>, record: Option<Record>, offset: u64, length: u64, parts: Source<wire::DownloadResponse>) {
    let head = wire::download_response::Head { meta: record.as_ref().map(|record| convert::meta_to_wire(&record.meta())) };
    let part = |part| wire::DownloadResponse { part: Some(part) };
    if parts.give(Ok(part(wire::download_response::Part::Head(head)))).await.is_err() {
        return;
    }
    let Some(record) = record else { return };
    let size = record.meta().size;
    let wanted = if length == 0 { size.saturating_sub(offset) } else { length.min(size.saturating_sub(offset)) };
    if wanted == 0 {
        return;
    }
    let mut chunks = match record.value {
        Value::Inline(bytes) => {
            let range = offset as usize..(offset + wanted) as usize;
            let _: Result<(), Unread> = parts.give(Ok(part(wire::download_response::Part::Chunk(Bytes::from(bytes).slice(range))))).await;
            return;
        }
        Value::Blob { hash, size } => blob_chunks(node, BlobRef { hash, size }, offset, wanted).await,
    };
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map(|chunk| part(wire::download_response::Part::Chunk(chunk)));
        let ended = chunk.is_err();
        if parts.give(chunk).await.is_err() || ended {
            return;
        }
    }
}

/// From this disk, or through this node from a peer's.
async fn blob_chunks(node: Arc<Node>, blob: BlobRef, offset: u64, length: u64) -> mpsc::Receiver<Result<Bytes, Status>> {
    let (chunks, queue) = mpsc::channel(CHUNKS_QUEUED);
    let hash = BlobHash(blob.hash);
    let missing = move || not_executed(Reason::BlobMissing, format!("no node that answers holds the bytes of this value (blob {hash})"));
    tokio::spawn(async move {
        let blobs = node.blobs.clone();
        let here = spawn_blocking(move || is_held(&blobs, &blob)).await.unwrap_or(false);
        if here {
            let mut local = serve(node, hash, offset, length);
            while let Some(chunk) = local.recv().await {
                let chunk = chunk
                    .map_err(|error| not_executed(Reason::HashMismatch, format!("this node cannot read the value: {error}; ask another")));
                if chunks.send(chunk).await.is_err() {
                    return;
                }
            }
            return;
        }
        node.blob_absent.notify_one();
        let Some(member) = node.member() else { return };
        let Ok(mut remote) = fetch(&node, member, hash, offset, length).await else {
            let _ = chunks.send(Err(missing())).await;
            return;
        };
        let mut left = length;
        while left > 0 {
            match timeout(Duration::from_millis(PEER_TIMEOUT_MS), remote.message()).await {
                Ok(Ok(Some(part))) => {
                    left = left.saturating_sub(part.chunk.len() as u64);
                    if chunks.send(Ok(part.chunk)).await.is_err() {
                        return;
                    }
                }
                _ => {
                    let _ = chunks.send(Err(missing())).await;
                    return;
                }
            }
        }
    });
    queue
}

async fn list_pages(node: Arc<Node>, request: wire::ListRequest, pages: Source<wire::ListResponse>) {
    let mut after = request.after.to_vec();
    let mut left = if request.limit == 0 { u64::MAX } else { request.limit };
    while left > 0 {
        let wanted = PAGE_ITEMS.min(usize::try_from(left).unwrap_or(usize::MAX));
        let page = match list_page(&node, request.prefix.clone(), after.clone(), wanted).await {
            Ok(page) => page,
            Err(status) => {
                let _: Result<(), Unread> = pages.give(Err(status)).await;
                return;
            }
        };
        let Some((last, _)) = page.last() else { return };
        after = last.clone();
        left -= page.len() as u64;
        let items =
            page.iter().map(|(key, meta)| wire::list_response::Item { key: key.clone().into(), meta: Some(convert::meta_to_wire(meta)) });
        if pages.give(Ok(wire::ListResponse { items: items.collect() })).await.is_err() {
            return;
        }
    }
}

async fn list_page(node: &Arc<Node>, prefix: Bytes, after: Vec<u8>, items: usize) -> Result<Vec<(Vec<u8>, Meta)>, Status> {
    read_barrier(node).await?;
    let store = node.state.get();
    blocking(move || state::list(&*store, &prefix, &after, items, PAGE_BYTES)).await
}

async fn read(node: &Arc<Node>, key: Key) -> Result<Option<Record>, Status> {
    read_barrier(node).await?;
    let store = node.state.get();
    blocking(move || state::get(&*store, &key)).await
}

/// Runs a read of the state on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, replica::Error> + Send + 'static) -> Result<T, Status> {
    match spawn_blocking(work).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => Err(not_executed(Reason::Stopping, "this node is shutting down; ask another")),
    }
}
