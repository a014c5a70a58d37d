//! A peer that speaks the protocol and does, call by call, what a real node does only by bad luck: it loses the connection after it got a write,
//! cuts streams, sends wrong bytes. Without an order it keeps keys in memory.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use proto::v1::admin_server::{Admin, AdminServer};
use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::kv_server::{Kv, KvServer};
use proto::v1::upload_request::Part as UploadPart;
use proto::v1::{
    self, ChangeStage, ErrorDetail, LearnerIntent, MemberKind, Outcome, Reason, Role, WriteResult, download_response, list_response,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};

const INLINE_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 100_000;
const PAGE_KEYS: usize = 100;

/// What happens to one data call.
pub enum Order {
    /// As if there were no order.
    Obey,
    /// Answered at once with this.
    Answer(Status),
    /// The test is told that the request is here, then there is silence.
    Hang,
    /// The same, once an upload's end has arrived.
    HangAtEnd,
    /// A stream ends after so many messages with bytes or keys.
    CutAfter(usize),
    /// A download's last byte is another.
    WrongByte,
    /// A write is done, and its answer makes no sense.
    Nonsense,
    /// Over a stream: done, and answered behind the next answer.
    HoldBack,
    /// Over a stream: answered with a tag that no call has.
    WrongTag,
    /// Over a stream: the stream ends, whatever is under way; the test is told.
    EndStream,
    /// Over a stream: done, and nothing more is read from the stream. The test is told.
    StopReading,
    /// A change of the membership is done, and its answer is lost.
    LoseAnswer,
}

pub struct Fake {
    pub addr: String,
    pub state: Arc<State>,
    arrived: Receiver<()>,
    runtime: Option<Runtime>,
}

pub struct State {
    pub identity: Mutex<v1::StatusResponse>,
    pub data: Mutex<Data>,
    orders: Mutex<VecDeque<Order>>,
    /// Names of the data calls, in the order they came.
    pub calls: Mutex<Vec<&'static str>>,
    arrived: Sender<()>,
    /// The changes of the membership that it was asked for and did not refuse.
    pub changes: Mutex<Vec<v1::change_member_request::Change>>,
    /// Looks at its state after which a learner has caught up.
    pub looks_to_catch_up: AtomicUsize,
    /// Who takes over when it hands over.
    pub successor: Mutex<Option<Arc<State>>>,
    /// Whether it knows the stream of calls.
    pub streams: AtomicBool,
    /// Streams of calls so far, and those open now.
    pub streams_opened: AtomicUsize,
    pub streams_open: AtomicUsize,
    revision: Mutex<u64>,
}

type Data = BTreeMap<Vec<u8>, (v1::Meta, Vec<u8>)>;

/// An error as a node sends it.
pub fn refusal(outcome: Outcome, reason: Reason, leader: &str) -> Status {
    let message = format!("the fake says {}", reason.as_str_name());
    let detail =
        ErrorDetail { outcome: outcome.into(), reason: reason.into(), message, leader_address: leader.into(), ..Default::default() };
    Status::with_details(Code::Unavailable, "", detail.encode_to_vec().into())
}

pub fn not_executed(reason: Reason) -> Order {
    Order::Answer(refusal(Outcome::NotExecuted, reason, ""))
}

pub fn redirect(leader: &Fake) -> Order {
    Order::Answer(refusal(Outcome::NotExecuted, Reason::NotLeader, &leader.addr))
}

impl Fake {
    pub fn start() -> Fake {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let addr: SocketAddr = listener.local_addr().unwrap();
        let (sender, arrived) = channel();
        let identity = v1::StatusResponse {
            node_id: u64::from(addr.port()) << 32,
            name: format!("pi{}", addr.port()),
            cluster_name: "home".into(),
            cluster_id: vec![0xab; 16].into(),
            ..Default::default()
        };
        let state = Arc::new(State {
            identity: Mutex::new(identity),
            data: Mutex::default(),
            orders: Mutex::default(),
            calls: Mutex::default(),
            changes: Mutex::default(),
            looks_to_catch_up: AtomicUsize::new(1),
            successor: Mutex::default(),
            arrived: sender,
            streams: AtomicBool::new(true),
            streams_opened: AtomicUsize::new(0),
            streams_open: AtomicUsize::new(0),
            revision: Mutex::new(0),
        });
        let server = tonic::transport::Server::builder()
            .add_service(KvServer::new(Service(state.clone())))
            .add_service(AdminServer::new(Service(state.clone())))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        drop(entered);
        Fake { addr: addr.to_string(), state, arrived, runtime: Some(runtime) }
    }

    /// The next data calls do as ordered, one each.
    pub fn order(&self, orders: impl IntoIterator<Item = Order>) {
        self.state.orders.lock().unwrap().extend(orders);
    }

    /// Waits until a call hangs.
    pub fn wait_until_it_hangs(&self) {
        self.arrived.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// Ends as a killed process does: all connections break, nobody listens.
    pub fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    pub fn calls(&self) -> Vec<&'static str> {
        self.state.calls.lock().unwrap().clone()
    }

    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.state.data.lock().unwrap().get(key).map(|(_, value)| value.clone())
    }

    pub fn insert(&self, key: &[u8], value: &[u8]) {
        self.state.write(key, value);
    }

    /// Another fake of the same cluster with the same data.
    pub fn copy_of(other: &Fake) -> Fake {
        let fake = Fake::start();
        *fake.state.data.lock().unwrap() = other.state.data.lock().unwrap().clone();
        *fake.state.revision.lock().unwrap() = *other.state.revision.lock().unwrap();
        fake
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn write(&self, key: &[u8], value: &[u8]) -> v1::Meta {
        let mut revision = self.revision.lock().unwrap();
        *revision += 1;
        let mut data = self.data.lock().unwrap();
        let create_revision = data.get(key).map_or(*revision, |(meta, _)| meta.create_revision);
        let hash = if value.len() > INLINE_BYTES { blake3::hash(value).as_bytes().to_vec() } else { Vec::new() };
        let meta = v1::Meta { create_revision, modify_revision: *revision, size: value.len() as u64, hash: hash.into() };
        data.insert(key.to_vec(), (meta.clone(), value.to_vec()));
        meta
    }

    fn meta(&self, key: &[u8]) -> Option<v1::Meta> {
        self.data.lock().unwrap().get(key).map(|(meta, _)| meta.clone())
    }

    fn holds(&self, key: &[u8], condition: &Option<v1::Condition>) -> bool {
        use v1::condition::When;
        match condition.as_ref().and_then(|condition| condition.when) {
            None => true,
            Some(When::Absent(_)) => self.meta(key).is_none(),
            Some(When::Revision(revision)) => self.meta(key).is_some_and(|meta| meta.modify_revision == revision),
        }
    }

    /// Notes the call and obeys the orders that need no more than that.
    async fn enter(&self, call: &'static str) -> Result<Option<Order>, Status> {
        let order = self.note(call);
        self.obey(order).await
    }

    fn note(&self, call: &'static str) -> Option<Order> {
        self.calls.lock().unwrap().push(call);
        self.orders.lock().unwrap().pop_front()
    }

    async fn obey(&self, order: Option<Order>) -> Result<Option<Order>, Status> {
        match order {
            Some(Order::Answer(status)) => Err(status),
            Some(Order::Hang) => self.hang().await,
            other => Ok(other),
        }
    }

    fn must_lead(&self) -> Result<(), Status> {
        let identity = self.identity.lock().unwrap();
        let leader = identity.members.iter().find(|member| member.node_id == identity.leader_id);
        let address = leader.and_then(|leader| leader.addresses.first()).cloned().unwrap_or_default();
        let leads = identity.role() == Role::Leader;
        if leads { Ok(()) } else { Err(refusal(Outcome::NotExecuted, Reason::NotLeader, &address)) }
    }

    async fn hang<T>(&self) -> T {
        self.arrived.send(()).unwrap();
        std::future::pending().await
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Service {
    async fn set_as(&self, order: Option<Order>, request: v1::SetRequest) -> Result<v1::SetResponse, Status> {
        let order = self.0.obey(order).await?;
        if !self.0.holds(&request.key, &request.condition) {
            let meta = self.0.meta(&request.key);
            return Ok(v1::SetResponse { result: WriteResult::ConditionFalse.into(), meta });
        }
        let meta = Some(self.0.write(&request.key, &request.value));
        let result = if matches!(order, Some(Order::Nonsense)) { 77 } else { WriteResult::Done.into() };
        Ok(v1::SetResponse { result, meta })
    }

    async fn get_as(&self, order: Option<Order>, request: v1::GetRequest) -> Result<v1::GetResponse, Status> {
        self.0.obey(order).await?;
        let found = self.0.data.lock().unwrap().get(request.key.as_ref()).cloned();
        Ok(found.map_or_else(v1::GetResponse::default, |(meta, value)| {
            let value = if meta.hash.is_empty() { value } else { Vec::new() };
            v1::GetResponse { meta: Some(meta), value: value.into() }
        }))
    }

    async fn delete_as(&self, order: Option<Order>, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, Status> {
        self.0.obey(order).await?;
        let (meta, result) = if !self.0.holds(&request.key, &request.condition) {
            (self.0.meta(&request.key), WriteResult::ConditionFalse)
        } else if self.0.data.lock().unwrap().remove(request.key.as_ref()).is_some() {
            (None, WriteResult::Done)
        } else {
            (None, WriteResult::Absent)
        };
        Ok(v1::DeleteResponse { result: result.into(), meta })
    }

    async fn call_as(&self, order: Option<Order>, call: Call) -> Answer {
        let answer = match call {
            Call::Set(request) => self.set_as(order, request).await.map(Answer::Set),
            Call::Get(request) => self.get_as(order, request).await.map(Answer::Get),
            Call::Delete(request) => self.delete_as(order, request).await.map(Answer::Delete),
        };
        answer.unwrap_or_else(|status| Answer::Error(ErrorDetail::decode(status.details()).unwrap()))
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let mut identity = self.0.identity.lock().unwrap();
        let shown = identity.clone();
        let left = self.0.looks_to_catch_up.load(Ordering::Relaxed);
        let learners = identity.members.iter().any(|member| member.intent() > LearnerIntent::Stay);
        if learners && left == 0 {
            caught_up(&mut identity.members);
        } else if learners {
            self.0.looks_to_catch_up.store(left - 1, Ordering::Relaxed);
        }
        Ok(Response::new(shown))
    }

    async fn change_member(&self, request: Request<v1::ChangeMemberRequest>) -> Result<Response<v1::ChangeMemberResponse>, Status> {
        let order = self.0.enter("change_member").await?;
        self.0.must_lead()?;
        let change = request.into_inner().change.unwrap();
        self.0.changes.lock().unwrap().push(change.clone());
        let stage = change_members(&mut self.0.identity.lock().unwrap().members, change);
        if matches!(order, Some(Order::LoseAnswer)) {
            return Err(Status::unavailable("the connection broke"));
        }
        Ok(Response::new(v1::ChangeMemberResponse { stage: stage.into(), index: 7, next: String::new() }))
    }

    async fn transfer_leader(&self, request: Request<v1::TransferLeaderRequest>) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let order = self.0.enter("transfer_leader").await?;
        self.0.must_lead()?;
        let mut identity = self.0.identity.lock().unwrap();
        let me = identity.node_id;
        let asked = request.into_inner().node_id;
        let other = identity.members.iter().map(|member| member.node_id).find(|id| *id != me).unwrap();
        let to = if asked == 0 { other } else { asked };
        identity.leader_id = to;
        identity.set_role(Role::Follower);
        if let Some(successor) = &*self.0.successor.lock().unwrap() {
            let mut successor = successor.identity.lock().unwrap();
            successor.leader_id = to;
            successor.term += 1;
            successor.set_role(Role::Leader);
        }
        if matches!(order, Some(Order::LoseAnswer)) {
            return Err(Status::unavailable("the connection broke"));
        }
        Ok(Response::new(v1::TransferLeaderResponse { node_id: to }))
    }

    async fn compact(&self, _: Request<v1::CompactRequest>) -> Result<Response<v1::CompactResponse>, Status> {
        self.0.enter("compact").await?;
        Ok(Response::new(v1::CompactResponse { mark_index: 1_000, freed_entries: 900 }))
    }

    async fn can_stop(&self, _: Request<v1::CanStopRequest>) -> Result<Response<v1::CanStopResponse>, Status> {
        panic!("the client judges by itself")
    }
}

/// A member as a leader of this version shows it.
pub fn member(node_id: u64, name: &str, kind: MemberKind, address: &str) -> v1::Member {
    v1::Member {
        node_id,
        name: name.into(),
        addresses: Vec::from_iter((!address.is_empty()).then(|| address.to_string())),
        voter: kind == MemberKind::Voter,
        kind: kind.into(),
        last_contact_ms: Some(10),
        lag: Some(0),
        ..Default::default()
    }
}

/// What a real leader does in many steps.
fn change_members(members: &mut Vec<v1::Member>, change: v1::change_member_request::Change) -> ChangeStage {
    use v1::change_member_request::Change;
    let (node_id, address, intent, replaces) = match change {
        Change::Remove(remove) => {
            members.retain(|member| member.node_id != remove.node_id);
            return ChangeStage::Done;
        }
        Change::Add(add) => (add.node_id, add.address, if add.as_voter { LearnerIntent::Promote } else { LearnerIntent::Stay }, 0),
        Change::Promote(promote) => (promote.node_id, String::new(), LearnerIntent::Promote, 0),
        Change::Replace(replace) => (replace.new_id, replace.address, LearnerIntent::Replace, replace.old_id),
    };
    members.retain(|member| member.node_id != node_id);
    let learner = member(node_id, "pi4", MemberKind::Learner, &address);
    members.push(v1::Member { intent: intent.into(), replaces, lag: Some(120), ..learner });
    if intent == LearnerIntent::Stay { ChangeStage::Done } else { ChangeStage::CatchingUp }
}

fn caught_up(members: &mut Vec<v1::Member>) {
    let gone: Vec<u64> = members.iter().map(|member| member.replaces).collect();
    members.retain(|member| !gone.contains(&member.node_id));
    for member in members.iter_mut().filter(|member| member.intent() > LearnerIntent::Stay) {
        member.set_kind(MemberKind::Voter);
        member.set_intent(LearnerIntent::Unspecified);
        (member.voter, member.replaces, member.lag) = (true, 0, Some(0));
    }
}

#[tonic::async_trait]
impl Kv for Service {
    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetResponse>, Status> {
        self.set_as(self.0.note("set"), request.into_inner()).await.map(Response::new)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        self.get_as(self.0.note("get"), request.into_inner()).await.map(Response::new)
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        self.delete_as(self.0.note("delete"), request.into_inner()).await.map(Response::new)
    }

    type CallsStream = ReceiverStream<Result<v1::CallResponse, Status>>;

    async fn calls(&self, request: Request<Streaming<v1::CallRequest>>) -> Result<Response<Self::CallsStream>, Status> {
        if !self.0.streams.load(Ordering::Relaxed) {
            return Err(Status::unimplemented("no such method"));
        }
        let (answers, stream) = tokio::sync::mpsc::channel(1);
        self.0.streams_opened.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(converse(self.clone(), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type ListStream = ReceiverStream<Result<v1::ListResponse, Status>>;

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let order = self.0.enter("list").await?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let items: Vec<list_response::Item> = {
            let data = self.0.data.lock().unwrap();
            let wanted = data.iter().filter(|(key, _)| key.starts_with(&request.prefix) && key[..] > request.after[..]);
            let item = |(key, (meta, _)): (&Vec<u8>, &(v1::Meta, Vec<u8>))| list_response::Item {
                key: key.clone().into(),
                meta: Some(meta.clone()),
            };
            wanted.take(limit).map(item).collect()
        };
        let pages = items.chunks(PAGE_KEYS).map(|page| Ok(v1::ListResponse { items: page.to_vec() })).collect();
        Ok(Response::new(stream(pages, order, 0)))
    }

    async fn upload(&self, request: Request<Streaming<v1::UploadRequest>>) -> Result<Response<v1::UploadResponse>, Status> {
        let order = self.0.enter("upload").await?;
        let mut parts = request.into_inner();
        let (mut header, mut bytes) = (None, Vec::new());
        while let Some(part) = parts.message().await? {
            match part.part.unwrap() {
                UploadPart::Header(first) => header = Some(first),
                UploadPart::Chunk(chunk) => bytes.extend_from_slice(&chunk),
                UploadPart::End(end) => {
                    assert_eq!(end.hash, blake3::hash(&bytes).as_bytes()[..], "the client's hash is that of its bytes");
                    if matches!(order, Some(Order::HangAtEnd)) {
                        self.0.hang::<()>().await;
                    }
                    let header = header.expect("the header comes first");
                    assert!(header.size.is_none_or(|size| size == bytes.len() as u64));
                    let done = self.0.holds(&header.key, &header.condition);
                    let meta = if done { Some(self.0.write(&header.key, &bytes)) } else { self.0.meta(&header.key) };
                    let result = if done { WriteResult::Done } else { WriteResult::ConditionFalse };
                    return Ok(Response::new(v1::UploadResponse { result: result.into(), meta }));
                }
            }
        }
        Err(refusal(Outcome::NotExecuted, Reason::Truncated, ""))
    }

    type DownloadStream = ReceiverStream<Result<v1::DownloadResponse, Status>>;

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let order = self.0.enter("download").await?;
        let request = request.into_inner();
        let (meta, mut value) = self.0.data.lock().unwrap().get(request.key.as_ref()).cloned().expect("a test downloads what is there");
        if request.revision != meta.modify_revision {
            return Err(refusal(Outcome::NotExecuted, Reason::Changed, ""));
        }
        if matches!(order, Some(Order::WrongByte)) {
            *value.last_mut().unwrap() ^= 1;
        }
        let part = |part| Ok(v1::DownloadResponse { part: Some(part) });
        let head = part(download_response::Part::Head(download_response::Head { meta: Some(meta) }));
        let chunks = value[request.offset as usize..].chunks(CHUNK_BYTES);
        let chunks = chunks.map(|chunk| part(download_response::Part::Chunk(chunk.to_vec().into())));
        Ok(Response::new(stream(std::iter::once(head).chain(chunks).collect(), order, 1)))
    }
}

/// Obeys a stream of calls until the client ends it.
async fn converse(service: Service, mut requests: Streaming<v1::CallRequest>, answers: Answers) {
    let state = service.0.clone();
    state.streams_open.fetch_add(1, Ordering::Relaxed);
    let held: Arc<Mutex<Vec<v1::CallResponse>>> = Arc::default();
    let mut under_way = JoinSet::new();
    while let Ok(Some(v1::CallRequest { tag, call })) = requests.message().await {
        let call = call.unwrap();
        // Orders go to calls as they come, whenever they are carried out.
        let order = state.note(match call {
            Call::Set(_) => "set",
            Call::Get(_) => "get",
            Call::Delete(_) => "delete",
        });
        match order {
            Some(Order::EndStream) => {
                state.arrived.send(()).unwrap();
                break;
            }
            Some(Order::StopReading) => {
                state.arrived.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        let (service, answers, held) = (service.clone(), answers.clone(), held.clone());
        under_way.spawn(async move {
            let hold = matches!(order, Some(Order::HoldBack));
            let tag = if matches!(order, Some(Order::WrongTag)) { tag + 1_000 } else { tag };
            let answer = v1::CallResponse { tag, answer: Some(service.call_as(order, call).await) };
            if hold {
                held.lock().unwrap().push(answer);
                return;
            }
            let _gone = answers.send(Ok(answer)).await;
            let later = std::mem::take(&mut *held.lock().unwrap());
            for answer in later {
                let _gone = answers.send(Ok(answer)).await;
            }
        });
    }
    state.streams_open.fetch_sub(1, Ordering::Relaxed);
}

type Answers = tokio::sync::mpsc::Sender<Result<v1::CallResponse, Status>>;

/// Sends the messages; with [`Order::CutAfter`] only so many besides `heads`, and then nothing more, without a word.
fn stream<T: Send + 'static>(messages: Vec<Result<T, Status>>, order: Option<Order>, heads: usize) -> ReceiverStream<Result<T, Status>> {
    let count = if let Some(Order::CutAfter(count)) = order { count + heads } else { usize::MAX };
    let cut = count < messages.len();
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        for message in messages.into_iter().take(count) {
            if sender.send(message).await.is_err() {
                return;
            }
        }
        if cut {
            let _gone = sender.send(Err(Status::unavailable("the connection broke"))).await;
        }
    });
    ReceiverStream::new(receiver)
}
