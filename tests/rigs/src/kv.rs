//! The services of one node, without any of the client library's kindness: no second try, no other node.

use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::v1::admin_client::AdminClient;
use proto::v1::kv_client::KvClient;
use proto::v1::raft_client::RaftClient;
use proto::v1::trust_client::TrustClient;
use proto::v1::{self, ErrorDetail, Outcome, Reason, StatusResponse};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::pass::Pass;

const DIAL_TIMEOUT_MS: u64 = 1_000;
const CALL_TIMEOUT_MS: u64 = 20_000;
const STATUS_TIMEOUT_MS: u64 = 2_000;

#[derive(Clone)]
pub struct Kv {
    channel: Channel,
}

/// A call that did not succeed, in the words of the wire.
#[derive(Debug)]
pub struct Failure {
    pub outcome: Outcome,
    pub reason: Reason,
    pub message: String,
}

/// What an error of ours carries; `None` if it came from elsewhere.
pub fn detail(status: &Status) -> Option<ErrorDetail> {
    (!status.details().is_empty()).then(|| ErrorDetail::decode(status.details()).expect("details are an ErrorDetail"))
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        match detail(&status) {
            Some(detail) => detail.into(),
            // From the transport: nobody knows what became of it.
            None => Failure { outcome: Outcome::Unknown, reason: Reason::Unspecified, message: status.to_string() },
        }
    }
}

impl Kv {
    /// Connects when first used, and again whenever the connection is gone.
    pub fn new(address: &str) -> Kv {
        Kv { channel: endpoint(address).connect_lazy() }
    }

    /// The same with TLS, for a node of a closed cluster.
    pub fn with_pass(address: &str, pass: &Pass) -> Kv {
        let pass = pass.clone();
        let connector = tower::service_fn(move |uri: Uri| {
            let (pass, address) = (pass.clone(), uri.authority().map(ToString::to_string).unwrap_or_default());
            async move { pass.greet(TcpStream::connect(address).await?).await.map(TokioIo::new) }
        });
        Kv { channel: endpoint(address).connect_with_connector_lazy(connector) }
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn service(&self) -> KvClient<Channel> {
        KvClient::new(self.channel())
    }

    pub fn raft(&self) -> RaftClient<Channel> {
        RaftClient::new(self.channel())
    }

    pub fn trust(&self) -> TrustClient<Channel> {
        TrustClient::new(self.channel())
    }

    pub async fn status(&self) -> Result<StatusResponse, Status> {
        let request = timed(v1::StatusRequest {}, STATUS_TIMEOUT_MS);
        Ok(AdminClient::new(self.channel()).status(request).await?.into_inner())
    }

    pub async fn set(&self, key: &[u8], value: impl Into<Bytes>) -> Result<(), Failure> {
        let request = v1::SetRequest { key: Bytes::copy_from_slice(key), value: value.into(), ..Default::default() };
        self.service().set(timed(request, CALL_TIMEOUT_MS)).await?;
        Ok(())
    }

    pub async fn delete(&self, key: &[u8]) -> Result<v1::WriteResult, Failure> {
        let request = v1::DeleteRequest { key: Bytes::copy_from_slice(key), ..Default::default() };
        Ok(self.service().delete(timed(request, CALL_TIMEOUT_MS)).await?.into_inner().result())
    }

    /// The value of a small key; `None` for no such key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failure> {
        let request = v1::GetRequest { key: Bytes::copy_from_slice(key) };
        let response = self.service().get(timed(request, CALL_TIMEOUT_MS)).await?.into_inner();
        Ok(response.meta.map(|_| response.value))
    }

    /// Size and BLAKE3 of a value as it comes over the wire, whatever its size; `None` for no such key.
    pub async fn digest(&self, key: &[u8]) -> Result<Option<(u64, [u8; 32])>, Failure> {
        use v1::download_response::Part;
        let request = v1::DownloadRequest { key: Bytes::copy_from_slice(key), ..Default::default() };
        let mut stream = self.service().download(request).await?.into_inner();
        let Some(Part::Head(head)) = stream.message().await?.and_then(|message| message.part) else {
            panic!("a download begins with its head")
        };
        let Some(meta) = head.meta else { return Ok(None) };
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        while let Some(message) = stream.message().await? {
            let Some(Part::Chunk(chunk)) = message.part else { panic!("behind the head come chunks") };
            size += chunk.len() as u64;
            hasher.update(&chunk);
        }
        assert_eq!(size, meta.size, "the stream ended early and said nothing");
        Ok(Some((size, *hasher.finalize().as_bytes())))
    }
}

fn endpoint(address: &str) -> Endpoint {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URL");
    endpoint.connect_timeout(Duration::from_millis(DIAL_TIMEOUT_MS))
}

fn timed<T>(message: T, timeout_ms: u64) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(timeout_ms));
    request
}
