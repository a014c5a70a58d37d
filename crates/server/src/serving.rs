//! The gRPC server: our services, health and reflection, with limits on everything.

use std::{io, sync::Arc, time::Duration};

use proto::v1::{DESCRIPTORS, admin_server::AdminServer, kv_server::KvServer, raft_server::RaftServer, trust_server::TrustServer};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, service::interceptor::InterceptedService, transport::Server};
use tonic_health::server::HealthReporter;
use trust::Role;

use crate::{
    caller::Caller,
    listening::{Connection, Gate},
    node::Node,
    peers::PEER_MESSAGE_MAX_BYTES,
    services::{AdminService, KvService, RaftService, TrustService},
};

/// One message of a client: a chunk of 256 KiB, or a value of 64 KiB with its key, with room to spare.
const CLIENT_MESSAGE_MAX_BYTES: usize = 512 << 10;
/// Names and ids.
const ADMIN_MESSAGE_MAX_BYTES: usize = 64 << 10;
/// Whoever has proven nothing yet sends little.
const TRUST_MESSAGE_MAX_BYTES: usize = 16 << 10;
/// Names and values of a request's headers.
const HEADER_LIST_MAX_BYTES: u32 = 16 << 10;
/// HTTP/2 frames, ours and theirs.
const FRAME_MAX_BYTES: u32 = 16 << 10;
/// Streams that were begun and reset before we came to them; one more, and the connection is told to calm down and ends.
const RESETS_PENDING_MAX: usize = 20;
/// Streams of one connection that we reset ourselves because of its errors; one more ends it, too.
const ERROR_RESETS_MAX: usize = 128;
/// Bytes on their way to us, per stream and per connection: what flow control may cost in memory.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// A caller whose cable is pulled sends no reset.
const KEEPALIVE_INTERVAL_MS: u64 = 10_000;
const KEEPALIVE_TIMEOUT_MS: u64 = 10_000;
/// A connection this old takes no new streams: its caller connects again and is judged by what holds then. Those under way go on.
const CONNECTION_AGE_MS: u64 = 3_600_000;

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
    let admin = AdminServer::new(AdminService::new(node.clone())).max_decoding_message_size(ADMIN_MESSAGE_MAX_BYTES);
    let trust = TrustServer::new(TrustService::new(node.clone())).max_decoding_message_size(TRUST_MESSAGE_MAX_BYTES);
    // What others have made asks nobody who calls. Nodes have no use for it.
    let known = |request: Request<()>| Caller::of(&request).may_somewhere(Role::Read).map(|()| request);
    let health_service = InterceptedService::new(health_service, known);
    let reflection_v1 = InterceptedService::new(reflection_v1, known);
    let reflection_v1alpha = InterceptedService::new(reflection_v1alpha, known);
    let served = limited(node.config.limits.streams_per_connection, Duration::from_millis(CONNECTION_AGE_MS))
        .layer(Gate::new())
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

fn limited(streams_max: u32, age: Duration) -> Server {
    Server::builder()
        .max_concurrent_streams(Some(streams_max))
        .max_frame_size(Some(FRAME_MAX_BYTES))
        .http2_max_header_list_size(Some(HEADER_LIST_MAX_BYTES))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
        .http2_max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_millis(KEEPALIVE_INTERVAL_MS)))
        .http2_keepalive_timeout(Some(Duration::from_millis(KEEPALIVE_TIMEOUT_MS)))
        .max_connection_age(age)
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

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use tokio::{
        net::TcpListener,
        sync::Semaphore,
        time::{Instant, sleep},
    };
    use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
    use tonic::{
        Code,
        transport::{Channel, Endpoint},
    };
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    /// A server whose connections grow old fast; counts those that were made.
    async fn aging(age: Duration) -> (SocketAddr, Arc<Semaphore>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let made = Arc::new(Semaphore::new(0));
        let count = made.clone();
        let callers = TcpListenerStream::new(listener).map(move |socket| {
            count.add_permits(1);
            socket
        });
        let (_, health) = tonic_health::server::health_reporter();
        tokio::spawn(limited(4, age).add_service(health).serve_with_incoming(callers));
        (address, made)
    }

    /// Asks, and once more if the question met the end of the connection: it was not sent then, and says so.
    async fn is_served(client: &mut HealthClient<Channel>) {
        if let Err(crossed) = client.check(HealthCheckRequest::default()).await {
            assert!(matches!(crossed.code(), Code::Cancelled | Code::Unavailable), "{crossed:?}");
            client.check(HealthCheckRequest::default()).await.expect("a new connection takes the old one's place");
        }
    }

    #[tokio::test]
    async fn an_old_connection_is_replaced_and_what_is_under_way_on_it_goes_on() {
        let age = Duration::from_millis(200);
        let (address, made) = aging(age).await;
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut client = HealthClient::new(channel);
        let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().is_some());
        let begun = Instant::now();
        while begun.elapsed() < age * 6 {
            is_served(&mut client).await;
            sleep(Duration::from_millis(5)).await;
        }
        assert!(made.available_permits() >= 3, "{} connections", made.available_permits());
        let quiet = tokio::time::timeout(age, watch.message()).await;
        assert!(quiet.is_err(), "the stream under way was cut: {quiet:?}");
    }
}
