//! The peers' service: identity, Raft messages, blobs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use proto::v1::{self as wire, Reason, raft_server};
use raft::NodeId;
use replica::state;
use storage::BlobHash;
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    failure::{not_executed, rejected},
    outflow::{Outflow, outflow},
};
use crate::{
    blobs::{CHUNK_BYTES, Sink, SinkError, serve},
    caller::{Caller, Proven},
    convert,
    node::{Hello, Member, Node},
    peers::{Address, Origin, PROTOCOL_VERSION},
    snapshots,
};

const HELLO_TIMEOUT_MS: u64 = 5_000;
const CHUNK_TIMEOUT_MS: u64 = 30_000;
/// Read from a snapshot and not yet on their way.
const PAGES_QUEUED: usize = 1;

#[derive(Clone)]
pub struct RaftService {
    node: Arc<Node>,
}

impl RaftService {
    pub fn new(node: Arc<Node>) -> RaftService {
        RaftService { node }
    }

    /// The cluster that a peer claims to speak for, if it is ours. Whoever belongs to it may speak, unless it was removed; who is counted is
    /// the configuration's say. Else a node that slept while others were replaced could never catch up.
    async fn member_of(&self, caller: &Caller, cluster_id: &[u8], from: NodeId) -> Result<&Member, Status> {
        self.speaks_for(caller, from)?;
        let member = self.node.member().ok_or_else(|| not_executed(Reason::Unformed, "this node belongs to no cluster yet"))?;
        if convert::cluster_id(cluster_id).map_err(malformed)? != member.cluster_id {
            return Err(rejected(
                Reason::OtherCluster,
                format!("this node belongs to another cluster named \"{}\"", self.node.config.cluster_name),
            ));
        }
        if from == self.node.id {
            return Err(rejected(Reason::OtherCluster, "a node does not speak to itself"));
        }
        self.not_removed(caller, from).await?;
        Ok(member)
    }

    /// Whether the caller is this node, as far as its connection has proven; who is not is counted.
    fn speaks_for(&self, caller: &Caller, id: NodeId) -> Result<(), Status> {
        caller.is_node(id).inspect_err(|refusal| self.count(caller, refusal.message()))
    }

    fn count(&self, caller: &Caller, why: &str) {
        if let Some(remote) = caller.remote {
            self.node.guard.refused(remote.ip(), why);
        }
    }

    async fn not_removed(&self, caller: &Caller, from: NodeId) -> Result<(), Status> {
        let state = self.node.state.get();
        let removed = spawn_blocking(move || state::is_removed(&*state, from)).await;
        if !matches!(removed, Ok(Ok(false))) {
            self.count(caller, "a removed node");
            return Err(rejected(
                Reason::Removed,
                format!("node {from} was removed from this cluster; wipe the board: it then has a new id"),
            ));
        }
        Ok(())
    }

    async fn admit(&self, caller: &Caller, hello: &wire::peer_frame::Hello) -> Result<&Member, Status> {
        self.speaks_for(caller, NodeId(hello.from))?;
        if hello.protocol_version != PROTOCOL_VERSION {
            let message = format!(
                "node {:016x} speaks protocol version {}, this node {PROTOCOL_VERSION}; upgrade the older one",
                hello.from, hello.protocol_version
            );
            return Err(rejected(Reason::ProtocolVersion, message));
        }
        if hello.to != self.node.id.0 {
            return Err(rejected(Reason::OtherCluster, format!("here is node {}, not {:016x}", self.node.id, hello.to)));
        }
        if self.node.member().is_none() && self.node.guard.current().is_none() {
            let cluster_id = convert::cluster_id(&hello.cluster_id).map_err(malformed)?;
            self.node.note_hello(Hello { from: NodeId(hello.from), cluster_id, cluster_name: hello.cluster_name.clone() });
        }
        self.member_of(caller, &hello.cluster_id, NodeId(hello.from)).await
    }

    /// Where a caller may listen itself.
    fn note_caller(&self, remote: Option<SocketAddr>, port: u32) -> Option<Address> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        let address = Address::from(SocketAddr::new(remote?.ip(), port));
        self.node.book.suggest(address.clone(), Origin::Heard);
        Some(address)
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type ConverseStream = ReceiverStream<Result<wire::PeerWelcome, Status>>;
    type PullSnapshotStream = Outflow<wire::PullSnapshotResponse>;
    type PullBlobStream = Outflow<wire::PullBlobResponse>;

    async fn identify(&self, request: Request<wire::IdentifyRequest>) -> Result<Response<wire::IdentifyResponse>, Status> {
        let proven = Caller::of(&request);
        let remote = proven.remote;
        match &proven.proven {
            Proven::Open => {}
            Proven::Node(id) => self.not_removed(&proven, *id).await?,
            _ => self.speaks_for(&proven, self.node.id)?,
        }
        if let Some(caller) = request.into_inner().me {
            let caller = convert::identity_from_wire(caller).map_err(malformed)?;
            self.speaks_for(&proven, caller.id)?;
            if caller.id != self.node.id
                && let Some(address) = self.note_caller(remote, caller.port.into())
            {
                self.node.book.called(address, caller);
            }
        }
        Ok(Response::new(wire::IdentifyResponse { me: Some(convert::identity_to_wire(&self.node.identity())) }))
    }

    async fn converse(&self, request: Request<Streaming<wire::PeerFrame>>) -> Result<Response<Self::ConverseStream>, Status> {
        let proven = Caller::of(&request);
        let remote = proven.remote;
        let mut frames = request.into_inner();
        let first = timeout(Duration::from_millis(HELLO_TIMEOUT_MS), frames.message()).await;
        let hello = match first.map_err(|_| rejected(Reason::TooSlow, "no hello in time"))?? {
            Some(wire::PeerFrame { part: Some(wire::peer_frame::Part::Hello(hello)) }) => hello,
            _ => return Err(rejected(Reason::Malformed, "a stream between nodes starts with a hello")),
        };
        if let Err(refusal) = self.admit(&proven, &hello).await {
            log::debug!(peer:% = NodeId(hello.from), reason = refusal.message(); "refused a stream");
            return Err(refusal);
        }
        let from = NodeId(hello.from);
        self.note_caller(remote, hello.port);
        let (welcomes, stream) = mpsc::channel(1);
        let welcome = wire::PeerWelcome { me: Some(convert::identity_to_wire(&self.node.identity())) };
        welcomes.try_send(Ok(welcome)).expect("the queue is new");
        let node = self.node.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = listen(&node, from, frames) => ended,
                () = node.stopped() => Err(not_executed(Reason::Stopping, "this node is shutting down")),
            };
            if let Err(status) = ended {
                let _ = welcomes.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn push_blob(&self, request: Request<Streaming<wire::PushBlobRequest>>) -> Result<Response<wire::Have>, Status> {
        use wire::push_blob_request::Part;
        let caller = Caller::of(&request);
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = next_part(&mut parts).await? else {
            return Err(rejected(Reason::Malformed, "a blob transfer starts with a header"));
        };
        self.member_of(&caller, &header.cluster_id, NodeId(header.from)).await?;
        if header.to != self.node.id.0 {
            return Err(rejected(Reason::OtherCluster, format!("here is node {}, not {:016x}", self.node.id, header.to)));
        }
        if self.node.room.borrow().state != storage::RoomState::Enough {
            return Err(not_executed(Reason::NoRoom, "this node is short of disk space"));
        }
        let mut sink = Sink::open(&self.node);
        loop {
            match next_part(&mut parts).await? {
                Some(Part::Chunk(chunk)) if chunk.len() <= CHUNK_BYTES => sink.write(chunk).await.map_err(|error| not_stored(&error))?,
                Some(Part::End(question)) => {
                    let hash = convert::hash(&question.hash).map_err(malformed)?;
                    sink.finish(BlobHash(hash)).await.map_err(|error| not_stored(&error))?;
                    self.promise(BlobHash(hash), question.collect).await?;
                    let have = wire::Have { node_id: self.node.id.0, term: question.term, collect: question.collect, hash: question.hash };
                    return Ok(Response::new(have));
                }
                Some(_) => return Err(rejected(Reason::Malformed, "a blob transfer is one header, chunks, one end")),
                None => return Err(not_executed(Reason::Truncated, "the transfer ended before its end")),
            }
        }
    }

    async fn pull_blob(&self, request: Request<wire::PullBlobRequest>) -> Result<Response<Self::PullBlobStream>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        self.member_of(&caller, &request.cluster_id, NodeId(request.from)).await?;
        let hash = BlobHash(convert::hash(&request.hash).map_err(malformed)?);
        let blobs = self.node.blobs.clone();
        let size = spawn_blocking(move || blobs.has(&hash)).await;
        let Ok(Ok(Some(size))) = size else {
            return Err(not_executed(Reason::BlobMissing, format!("blob {hash} is not on this disk")));
        };
        let left = size.saturating_sub(request.offset);
        let length = if request.length == 0 { left } else { request.length.min(left) };
        let mut chunks = serve(self.node.clone(), hash, request.offset, length);
        let (parts, stream) = outflow(());
        tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                let part = chunk
                    .map(|chunk| wire::PullBlobResponse { chunk, size })
                    .map_err(|error| not_executed(Reason::HashMismatch, error.to_string()));
                if parts.give(part).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(stream))
    }

    async fn pull_snapshot(&self, request: Request<wire::PullSnapshotRequest>) -> Result<Response<Self::PullSnapshotStream>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        self.member_of(&caller, &request.cluster_id, NodeId(request.from)).await?;
        let mark =
            request.mark.map(convert::log_id_from_wire).ok_or_else(|| rejected(Reason::Malformed, "a snapshot without a position"))?;
        let copy = self.node.shelf.get(mark);
        let copy = copy.ok_or_else(|| not_executed(Reason::UnknownNode, format!("there is no snapshot at {mark} here (any more)")))?;
        let (pages, mut read) = mpsc::channel(PAGES_QUEUED);
        tokio::spawn(snapshots::give(copy, request.after.to_vec(), pages));
        let (parts, stream) = outflow(());
        tokio::spawn(async move {
            while let Some(page) = read.recv().await {
                if parts.give(page).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(stream))
    }
}

impl RaftService {
    /// This node's word that it has a blob for good, which a later collection takes back.
    async fn promise(&self, hash: BlobHash, collect: u64) -> Result<(), Status> {
        let (blobs, state) = (self.node.blobs.clone(), self.node.state.get());
        let promised = spawn_blocking(move || {
            if state::collect(&*state)? < collect {
                return Ok(None);
            }
            Ok::<_, replica::Error>(blobs.promise(&hash, collect)?)
        });
        match promised.await {
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => Err(not_executed(Reason::NotCaughtUp, "this node has yet to apply the last collection")),
            _ => Err(not_executed(Reason::BlobMissing, "this node cannot tell whether it has the blob")),
        }
    }
}

/// Hands a peer's messages to the engine until the stream ends.
async fn listen(node: &Node, from: NodeId, mut frames: Streaming<wire::PeerFrame>) -> Result<(), Status> {
    let Some(member) = node.member() else { return Ok(()) };
    while let Some(frame) = frames.message().await? {
        let Some(wire::peer_frame::Part::Messages(messages)) = frame.part else {
            return Err(rejected(Reason::Malformed, "a second hello"));
        };
        let parsed: Result<Vec<_>, _> =
            messages.messages.into_iter().map(|message| convert::message_from_wire(from, node.id, message)).collect();
        let parsed = parsed.inspect_err(|error| log::warn!(peer:% = from, error:%; "a peer sent what no peer sends")).map_err(malformed)?;
        node.book.contact(from);
        member.engine.inbox().deliver(parsed);
    }
    Ok(())
}

async fn next_part(parts: &mut Streaming<wire::PushBlobRequest>) -> Result<Option<wire::push_blob_request::Part>, Status> {
    let next = timeout(Duration::from_millis(CHUNK_TIMEOUT_MS), parts.message()).await;
    Ok(next.map_err(|_| not_executed(Reason::TooSlow, "the transfer stood still for too long"))??.and_then(|request| request.part))
}

fn not_stored(error: &SinkError) -> Status {
    log::warn!(error:%; "a blob from a peer could not be stored");
    not_executed(Reason::NoRoom, error.to_string())
}

fn malformed(error: convert::Malformed) -> Status {
    rejected(Reason::Malformed, error.to_string())
}
