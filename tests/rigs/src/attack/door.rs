//! Every way into a node, tried one by one.

use bytes::Bytes;
use proto::v1::{self, Reason};
use tokio_stream::once;
use tonic::Status;
use trust::KeyPair;

use crate::kv::{Failure, Kv};
use crate::raw::call_raw;

/// A call, and what became of it.
#[derive(Debug)]
pub struct Door {
    pub name: &'static str,
    pub answer: Result<(), Failure>,
}

impl Door {
    /// Whether it was kept shut for want of a proof. Any other answer, a refusal for another reason too, was given to somebody who was let in.
    pub fn is_shut(&self) -> bool {
        match &self.answer {
            Ok(()) => false,
            Err(failure) => {
                // Without a reason: there was no connection.
                matches!(failure.reason, Reason::Unspecified | Reason::Permission | Reason::Removed | Reason::LocalOnly)
            }
        }
    }
}

/// All that nodes say to each other, in the name of node `me`, to the node that says this of itself; far ahead in terms and with entries, so that it
/// would show.
pub async fn knock_as_node(kv: &Kv, me: u64, to: &v1::StatusResponse) -> Vec<Door> {
    let mut raft = kv.raft();
    let cluster_id = to.cluster_id.clone();
    let identity = v1::Identity {
        protocol_version: u32::from(discovery::PROTOCOL_VERSION),
        node_id: me,
        cluster_name: to.cluster_name.clone(),
        cluster_id: cluster_id.clone(),
        name: "board".into(),
        port: 50_051,
        ..Default::default()
    };
    let term = to.term + 1_000;
    let frames = {
        use v1::peer_frame::{Hello, Part};
        use v1::peer_message::{Append, Campaign, Kind, PreVote, Vote};
        let last = Some(v1::LogId { term, index: to.last_index + 1_000 });
        let noop = v1::LogEntry { term, index: to.last_index + 1, payload: Some(v1::log_entry::Payload::Noop(true)), crc: 0 };
        let prev = Some(v1::LogId { term: to.term, index: to.last_index });
        let append = Append { prev, entries: vec![noop], commit: to.last_index + 1, ..Default::default() };
        let kinds = [Kind::Append(append), Kind::PreVote(PreVote { last }), Kind::Vote(Vote { last }), Kind::Campaign(Campaign {})];
        let messages = kinds.map(|kind| v1::PeerMessage { term, kind: Some(kind) }).into();
        let hello = Hello {
            protocol_version: u32::from(discovery::PROTOCOL_VERSION),
            cluster_id: cluster_id.clone(),
            from: me,
            to: to.node_id,
            port: 50_051,
            name: "board".into(),
            cluster_name: to.cluster_name.clone(),
            ..Default::default()
        };
        [Part::Hello(hello), Part::Messages(v1::PeerMessages { messages })].map(|part| v1::PeerFrame { part: Some(part) })
    };
    let header = v1::push_blob_request::Header { cluster_id: cluster_id.clone(), from: me, to: to.node_id };
    let push = v1::PushBlobRequest { part: Some(v1::push_blob_request::Part::Header(header)) };
    let mark = Some(v1::LogId { term: to.term, index: to.snapshot_index });
    let snapshot = v1::PullSnapshotRequest { cluster_id: cluster_id.clone(), from: me, mark, after: Default::default() };
    let blob = v1::PullBlobRequest { cluster_id, from: me, hash: vec![7; 32].into(), offset: 0, length: 0 };
    vec![
        door("Raft.Identify", raft.identify(v1::IdentifyRequest { me: Some(identity) }).await),
        // The answer to the hello; what follows it is sent in any case.
        door("Raft.Converse", raft.converse(tokio_stream::iter(frames)).await),
        door("Raft.PushBlob", raft.push_blob(once(push)).await),
        door("Raft.PullBlob", raft.pull_blob(blob).await),
        door("Raft.PullSnapshot", raft.pull_snapshot(snapshot).await),
    ]
}

/// What users and administrators ask for.
pub async fn knock_as_user(kv: &Kv) -> Vec<Door> {
    let csr = KeyPair::make().and_then(|key| key.csr()).expect("there is randomness");
    let mut admin = v1::admin_client::AdminClient::new(kv.channel());
    let failure = |answer: Result<(), Failure>, name| Door { name, answer };
    vec![
        door("Health.Check", call_raw(kv.channel(), "/grpc.health.v1.Health/Check", Bytes::new()).await),
        door("Admin.Status", kv.status().await),
        failure(kv.get(b"load/0").await.map(drop), "Kv.Get"),
        failure(kv.set(b"mine", "now").await, "Kv.Set"),
        failure(kv.delete(b"load/0").await.map(drop), "Kv.Delete"),
        door("Kv.List", kv.service().list(v1::ListRequest::default()).await),
        door("Admin.ChangeMember", admin.change_member(v1::ChangeMemberRequest::default()).await),
        door("Admin.TransferLeader", admin.transfer_leader(v1::TransferLeaderRequest::default()).await),
        door("Admin.Compact", admin.compact(v1::CompactRequest {}).await),
        door("Trust.NewToken", kv.trust().new_token(v1::NewTokenRequest::default()).await),
        door("Trust.ListTokens", kv.trust().list_tokens(v1::ListTokensRequest {}).await),
        door("Trust.Renew", kv.trust().renew(v1::RenewRequest { csr: csr.clone().into() }).await),
        door("Trust.CreateCluster", kv.trust().create_cluster(v1::CreateClusterRequest { voters: 1 }).await),
        door("Trust.JoinCluster", kv.trust().join_cluster(v1::JoinClusterRequest::default()).await),
        door("Trust.LocalLogin", kv.trust().local_login(v1::RenewRequest { csr: csr.into() }).await),
    ]
}

fn door<T>(name: &'static str, answer: Result<T, Status>) -> Door {
    Door { name, answer: answer.map(drop).map_err(Failure::from) }
}
