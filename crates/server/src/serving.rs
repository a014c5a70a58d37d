//! The gRPC server: our services, health and reflection, with limits on everything.

use std::{io, sync::Arc, time::Duration};

use proto::v1::{DESCRIPTORS, admin_server::AdminServer, kv_server::KvServer, raft_server::RaftServer, trust_server::TrustServer};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, service::interceptor::InterceptedService, transport::Server};
use tonic_health::server::HealthReporter;
use trust::Role;

use crate::{
    caller::Caller,
    listening::Connection,
    node::Node,
    peers::PEER_MESSAGE_MAX_BYTES,
    services::{AdminService, KvService, RaftService, TrustService},
};

/// One message of a client: a chunk of 256 KiB, or a value of 64 KiB with its key, with room to spare.
const CLIENT_MESSAGE_MAX_BYTES: usize = 512 << 10;
/// Whoever has proven nothing yet sends little.
const TRUST_MESSAGE_MAX_BYTES: usize = 16 << 10;
/// Names and values of a request's headers.
const HEADER_LIST_MAX_BYTES: u32 = 16 << 10;
/// Bytes on their way to us, per stream and per connection: what flow control may cost in memory.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// A caller whose cable is pulled sends no reset.
const KEEPALIVE_INTERVAL_MS: u64 = 10_000;
const KEEPALIVE_TIMEOUT_MS: u64 = 10_000;

/// Serves until the node stops.
pub async fn serve(node: Arc<Node>, callers: ReceiverStream<io::Result<Connection>>) {
    let (health, health_service) = tonic_health::server::health_reporter();
    let health_watch = tokio::spawn(report_health(node.clone(), health));
    // Tools in the field still ask in either of two versions.
    let reflection = || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let reflection_v1 = reflection().build_v1().expect("our own descriptors are sound");
    let reflection_v1alpha = reflection().build_v1alpha().expect("our own descriptors are sound");
    let kv = KvServer::new(KvService::new(node.clone())).max_decoding_message_size(CLIENT_MESSAGE_MAX_BYTES);
    let raft = RaftServer::new(RaftService::new(node.clone()))
        .max_decoding_message_size(PEER_MESSAGE_MAX_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_MAX_BYTES);
    let admin = AdminServer::new(AdminService::new(node.clone()));
    let trust = TrustServer::new(TrustService::new(node.clone())).max_decoding_message_size(TRUST_MESSAGE_MAX_BYTES);
    // What others have made asks nobody who calls. Nodes have no use for it.
    let known = |request: Request<()>| Caller::of(&request).may_somewhere(Role::Read).map(|()| request);
    let health_service = InterceptedService::new(health_service, known);
    let reflection_v1 = InterceptedService::new(reflection_v1, known);
    let reflection_v1alpha = InterceptedService::new(reflection_v1alpha, known);
    let served = Server::builder()
        .max_concurrent_streams(Some(node.config.limits.streams_per_connection))
        .http2_max_header_list_size(Some(HEADER_LIST_MAX_BYTES))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_millis(KEEPALIVE_INTERVAL_MS)))
        .http2_keepalive_timeout(Some(Duration::from_millis(KEEPALIVE_TIMEOUT_MS)))
        .add_service(kv)
        .add_service(raft)
        .add_service(admin)
        .add_service(trust)
        .add_service(health_service)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .serve_with_incoming_shutdown(callers, node.stopped())
        .await;
    health_watch.abort();
    if let Err(error) = served {
        log::error!(error:%; "the server ended");
    }
}

/// The process serves as soon as it listens; data is served while a leader is known.
async fn report_health(node: Arc<Node>, health: HealthReporter) {
    health.set_not_serving::<KvServer<KvService>>().await;
    let mut formed = node.formed();
    if formed.wait_for(|formed| *formed).await.is_err() {
        return;
    }
    let Some(member) = node.member() else { return };
    let mut statuses = member.engine.watch();
    let mut serving = false;
    loop {
        let now = statuses.borrow_and_update().leader.is_some();
        if now != serving {
            serving = now;
            match serving {
                true => health.set_serving::<KvServer<KvService>>().await,
                false => health.set_not_serving::<KvServer<KvService>>().await,
            }
        }
        if statuses.changed().await.is_err() {
            return;
        }
    }
}
