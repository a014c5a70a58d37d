//! The store that people would take instead: three etcd nodes on loopback, default syncs on, from Debian's package unpacked beside the data.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use prost::Message;
use tonic::transport::Channel;

use super::{Caller, Connections, Store, caller::Methods, store::plain_callers};
use crate::{Scratch, eventually, free_ports};

#[derive(Debug)]
pub struct Etcd {
    nodes: Vec<Child>,
    address: String,
    _scratch: Scratch,
}

/// The part of etcd's PutRequest that we use.
#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: bytes::Bytes,
}

/// The part of etcd's RangeRequest that we use.
#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "bytes", tag = "1")]
    key: bytes::Bytes,
}

impl Etcd {
    /// As it tells it itself.
    pub fn version(program: &Path) -> String {
        let output = Command::new(program).arg("--version").env("ETCD_UNSUPPORTED_ARCH", "").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("etcd Version: ")).unwrap_or("of unknown version").trim().into()
    }

    /// Starts three nodes of the program at `program` and waits until they serve.
    pub async fn start(program: &Path) -> Result<Etcd, String> {
        let scratch = Scratch::new("etcd");
        let ports = free_ports::<6>();
        let peers: Vec<String> = (0..3).map(|node| format!("n{node}=http://127.0.0.1:{}", ports[node + 3])).collect();
        let mut nodes = Vec::new();
        for node in 0..3 {
            let url = |port: u16| format!("http://127.0.0.1:{port}");
            let (client, peer) = (url(ports[node]), url(ports[node + 3]));
            let mut command = Command::new(program);
            command.args(["--name", &format!("n{node}"), "--data-dir"]).arg(scratch.path().join(format!("n{node}")));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &peers.join(","), "--initial-cluster-state", "new", "--log-level", "error"]);
            let started = command.env("ETCD_UNSUPPORTED_ARCH", "").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            nodes.push(started.map_err(|error| format!("{}: {error}", program.display()))?);
        }
        let mut etcd = Etcd { nodes, address: format!("127.0.0.1:{}", ports[0]), _scratch: scratch };
        etcd.find_leader(&ports[..3]).await;
        Ok(etcd)
    }

    /// Through the node that answers fastest after a first write; etcd forwards proposals, so the leader itself is the fair choice.
    async fn find_leader(&mut self, ports: &[u16]) {
        for port in ports {
            let address = format!("127.0.0.1:{port}");
            let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy();
            let caller = Caller::Plain { channel: channel.clone(), methods: METHODS };
            eventually(30, "etcd serves", || caller.put("warm".into(), "x".into()), Result::is_ok).await.expect("just checked");
            if is_leader(channel).await {
                self.address = address;
            }
        }
    }
}

impl Store for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Child::id).collect()
    }

    async fn callers(&self, clients: usize, connections: Connections) -> Vec<Caller> {
        plain_callers(&self.address, clients, connections, METHODS).await
    }
}

/// What etcd's own client calls; its reads are linearizable by default.
const METHODS: Methods = Methods {
    put: "/etcdserverpb.KV/Put",
    get: "/etcdserverpb.KV/Range",
    encode_put: |key, value| Put { key, value }.encode_to_vec(),
    encode_get: |key| Range { key }.encode_to_vec(),
};

impl Drop for Etcd {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The part of etcd's StatusResponse that we use.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

async fn is_leader(channel: Channel) -> bool {
    let answer = crate::call_raw(channel, "/etcdserverpb.Maintenance/Status", bytes::Bytes::new()).await;
    let status = answer.ok().and_then(|bytes| Status::decode(bytes).ok()).unwrap_or_default();
    status.header.is_some_and(|header| header.member_id == status.leader)
}
