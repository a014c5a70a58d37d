//! A store under measurement: three processes and ways to reach them.

use std::time::Duration;

use bytes::Bytes;
use client::{Client, Options, Targets, parse_peers};
use prost::Message;
use proto::v1;
use tonic::transport::{Channel, Endpoint};

use super::{Caller, caller::Methods};
use crate::Cluster;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Three running nodes.
pub trait Store {
    fn name(&self) -> &'static str;
    fn pids(&self) -> Vec<u32>;
    /// One caller for each of `clients` closed loops, connected to the node that leads.
    fn callers(&self, clients: usize, connections: Connections) -> impl Future<Output = Vec<Caller>>;
}

/// How many connections the clients have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    Shared(usize),
    OneEach,
}

impl Connections {
    pub fn of(self, clients: usize) -> usize {
        match self {
            Connections::Shared(count) => count.min(clients),
            Connections::OneEach => clients,
        }
    }
}

/// How our cluster is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Library,
    Unary,
}

/// Our cluster, and where its leader was found.
pub struct RustyKv<'a> {
    cluster: &'a Cluster,
    leader: usize,
    way: Way,
}

impl RustyKv<'_> {
    pub async fn new(cluster: &Cluster, way: Way) -> RustyKv<'_> {
        RustyKv { cluster, leader: cluster.settled().await, way }
    }
}

impl Store for RustyKv<'_> {
    fn name(&self) -> &'static str {
        if self.cluster.login().is_some() { "with TLS" } else { "rusty-kv" }
    }

    fn pids(&self) -> Vec<u32> {
        self.cluster.nodes.iter().map(|node| node.pid()).collect()
    }

    async fn callers(&self, clients: usize, connections: Connections) -> Vec<Caller> {
        let address = self.cluster.nodes[self.leader].address();
        match self.way {
            Way::Unary => plain_callers(&address, clients, connections, METHODS).await,
            Way::Library => {
                let connections = connections.of(clients);
                // What shares connections shares one library; a client with a connection of its own is a program of its own.
                let (libraries, each) = if connections < clients { (1, connections) } else { (clients, 1) };
                let mut handles = Vec::new();
                for _ in 0..libraries {
                    let options = Options { timeout: CALL_TIMEOUT, connections: each, login: self.cluster.login(), ..Options::default() };
                    let peers = parse_peers(&address).expect("addresses parse");
                    handles.push(Client::connect(Targets::Given(peers), options).await.expect("nothing is sent yet"));
                }
                (0..clients).map(|number| Caller::Library(handles[number % libraries].clone())).collect()
            }
        }
    }
}

const METHODS: Methods = Methods {
    put: "/rustykv.v1.Kv/Set",
    get: "/rustykv.v1.Kv/Get",
    encode_put: |key: Bytes, value: Bytes| v1::SetRequest { key, value, ..Default::default() }.encode_to_vec(),
    encode_get: |key: Bytes| v1::GetRequest { key }.encode_to_vec(),
};

/// Callers that speak unary gRPC.
pub(super) async fn plain_callers(address: &str, clients: usize, connections: Connections, methods: Methods) -> Vec<Caller> {
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..connections.of(clients) {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URL").tcp_nodelay(true);
        channels.push(endpoint.connect().await.expect("the leader listens"));
    }
    (0..clients).map(|number| Caller::Plain { channel: channels[number % channels.len()].clone(), methods }).collect()
}
