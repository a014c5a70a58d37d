//! What every request passes before any service sees a byte of it.
//!
//! - A caller without a certificate may ask to be admitted, and nothing else; the peers' service, whose messages may be large, is for nodes.
//!   Both are said again where it is decided; here it is said before a message is read into memory.
//! - A stream counts as under way on its connection until it has ended.
//! - What comes in of a client's request is counted and judged, see `inflow`.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use proto::v1::Reason;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    service::AxumBody,
};
use tower::Layer;

use super::{
    Met, UnderWay,
    inflow::{Budget, Inflow, Rate},
};
use crate::{
    caller::{Caller, Proven, WITHOUT_LOGIN},
    services::failure::{forbidden, not_executed, rejected},
};

/// Streams of a connection without a certificate: one asks, and a retry or two.
const STRANGER_STREAMS_MAX: usize = 4;
/// Bytes of clients' requests that are on their way in, of all connections: messages not yet whole.
const INCOMING_MAX_BYTES: usize = 64 << 20;

const ADMISSION: &str = "/rustykv.v1.Trust/Admit";
const PEERS: &str = "/rustykv.v1.Raft/";
/// Whose streams may be silent for as long as the client likes.
const SILENT: [&str; 2] = ["/rustykv.v1.Kv/Calls", "/grpc.reflection."];
const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[derive(Clone, Debug)]
pub struct Gate {
    incoming: Budget,
}

#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    incoming: Budget,
}

impl Gate {
    pub fn new() -> Gate {
        Gate { incoming: Budget::of(INCOMING_MAX_BYTES) }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, incoming: self.incoming.clone() }
    }
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.pass(request) {
            Ok((request, under_way)) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(under_way);
                    answer
                })
            }
            Err(refusal) => Box::pin(async move { Ok(refusal.into_http()) }),
        }
    }
}

impl<S> Gated<S> {
    fn pass(&self, mut request: http::Request<Body>) -> Result<(http::Request<Body>, UnderWay), Status> {
        let Met { caller, activity } = request.extensions_mut().remove::<Met>().expect("every connection of ours says whom it met");
        let path = request.uri().path();
        may_pass(&caller, path)?;
        let streams_max = if matches!(caller.proven, Proven::Stranger { .. }) { STRANGER_STREAMS_MAX } else { usize::MAX };
        let under_way = activity.begin(streams_max);
        let under_way = under_way.ok_or_else(|| not_executed(Reason::Overloaded, "more streams than somebody without a login may have"))?;
        if path == WATCH {
            // Its answer holds no guard of ours. Whoever watches is there for as long as its connection.
            std::mem::forget(activity.begin(usize::MAX));
        }
        let rate = (!SILENT.iter().any(|silent| path.starts_with(silent))).then_some(Rate::LEAST);
        let of_node = matches!(caller.proven, Proven::Node(_)) || path.starts_with(PEERS);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(under_way.clone());
        if of_node {
            // Their transfers have limits of their own, and no client costs them a place.
            return Ok((request, under_way));
        }
        let (incoming, held) = (self.incoming.clone(), under_way.clone());
        let request = request.map(|body| {
            let bytes = AxumBody::new(body).into_data_stream();
            Body::new(AxumBody::from_stream(Inflow::new(bytes, rate, incoming, held)))
        });
        Ok((request, under_way))
    }
}

fn may_pass(caller: &Caller, path: &str) -> Result<(), Status> {
    match caller.proven {
        Proven::Stranger { .. } if path == ADMISSION => Ok(()),
        Proven::Stranger { .. } if path.starts_with(PEERS) => Err(only_nodes()),
        Proven::Stranger { .. } => Err(forbidden(WITHOUT_LOGIN)),
        Proven::Client { .. } | Proven::Local if path.starts_with(PEERS) => Err(only_nodes()),
        _ => Ok(()),
    }
}

fn only_nodes() -> Status {
    rejected(Reason::Permission, "only nodes with a certificate of this cluster speak here")
}

#[cfg(test)]
mod tests {
    use raft::NodeId;
    use tonic::Code;
    use trust::{Grant, Role};

    use super::*;
    use crate::listening::Activity;

    /// Says that it was reached, and keeps what reached it.
    #[derive(Clone, Default)]
    struct Reached(std::sync::Arc<std::sync::Mutex<Vec<http::Request<Body>>>>);

    impl Service<http::Request<Body>> for Reached {
        type Response = Answer;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Answer, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            self.0.lock().unwrap().push(request);
            std::future::ready(Ok(http::Response::new(Body::empty())))
        }
    }

    fn client() -> Proven {
        Proven::Client { id: 1, grant: Grant { role: Role::Admin, prefix: Vec::new() } }
    }

    fn stranger() -> Proven {
        Proven::Stranger { exporter: [0; 32] }
    }

    /// What a caller is told at the gate; `None` if a service was reached.
    async fn asked(met: &Met, path: &str, reached: &Reached) -> Option<Code> {
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(met.clone());
        let answer = Gate::new().layer(reached.clone()).call(request).await.unwrap();
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    #[tokio::test]
    async fn strangers_reach_admission_only_and_clients_all_but_the_peers_service() {
        let reached = Reached::default();
        let services = ["/rustykv.v1.Kv/Set", "/rustykv.v1.Admin/Status", "/rustykv.v1.Trust/Renew", "/grpc.health.v1.Health/Check"];
        let peers = "/rustykv.v1.Raft/Identify";
        let met = |proven| Met { caller: Caller { remote: None, proven }, activity: Activity::new() };
        for path in services {
            assert_eq!(asked(&met(stranger()), path, &reached).await, Some(Code::PermissionDenied), "{path}");
            for known in [client(), Proven::Open, Proven::Local, Proven::Node(NodeId(1))] {
                assert_eq!(asked(&met(known), path, &reached).await, None, "{path}");
            }
        }
        for proven in [stranger(), client(), Proven::Local] {
            assert!(asked(&met(proven), peers, &reached).await.is_some());
        }
        for proven in [Proven::Node(NodeId(1)), Proven::Open] {
            assert_eq!(asked(&met(proven), peers, &reached).await, None);
        }
        assert_eq!(asked(&met(stranger()), ADMISSION, &reached).await, None);
    }

    #[tokio::test]
    async fn a_stranger_has_few_streams_and_a_place_again_when_one_ends() {
        let reached = Reached::default();
        let met = Met { caller: Caller { remote: None, proven: stranger() }, activity: Activity::new() };
        for _ in 0..STRANGER_STREAMS_MAX {
            assert_eq!(asked(&met, ADMISSION, &reached).await, None);
        }
        assert_eq!(asked(&met, ADMISSION, &reached).await, Some(Code::ResourceExhausted));
        reached.0.lock().unwrap().pop();
        assert_eq!(asked(&met, ADMISSION, &reached).await, None);
    }
}
