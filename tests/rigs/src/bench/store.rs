//! A store under measurement: three processes and a way to put and get.

use bytes::Bytes;
use prost::Message;
use proto::v1;
use tonic::{Status, transport::Channel};

use crate::{Cluster, call_raw};

/// Three running nodes.
pub trait Store {
    fn name(&self) -> &'static str;
    /// Of the node that leads.
    fn leader_address(&self) -> String;
    fn pids(&self) -> Vec<u32>;
    fn client(&self, channel: Channel) -> StoreClient;
}

/// One way to speak to a store over a shared connection.
#[derive(Clone)]
pub struct StoreClient {
    pub channel: Channel,
    pub put_path: &'static str,
    pub get_path: &'static str,
    pub encode_put: fn(Bytes, Bytes) -> Vec<u8>,
    pub encode_get: fn(Bytes) -> Vec<u8>,
}

impl StoreClient {
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<(), Status> {
        call_raw(self.channel.clone(), self.put_path, (self.encode_put)(key, value).into()).await.map(drop)
    }

    pub async fn get(&self, key: Bytes) -> Result<(), Status> {
        call_raw(self.channel.clone(), self.get_path, (self.encode_get)(key).into()).await.map(drop)
    }
}

/// Ours, and where its leader was found.
pub struct RustyKv<'a> {
    cluster: &'a Cluster,
    leader: usize,
}

/// A settled cluster as a store.
pub async fn rusty_kv(cluster: &Cluster) -> RustyKv<'_> {
    RustyKv { cluster, leader: cluster.settled().await }
}

impl Store for RustyKv<'_> {
    fn name(&self) -> &'static str {
        "rusty-kv"
    }

    fn leader_address(&self) -> String {
        self.cluster.nodes[self.leader].address()
    }

    fn pids(&self) -> Vec<u32> {
        self.cluster.nodes.iter().map(|node| node.pid()).collect()
    }

    fn client(&self, channel: Channel) -> StoreClient {
        StoreClient {
            channel,
            put_path: "/rustykv.v1.Kv/Set",
            get_path: "/rustykv.v1.Kv/Get",
            encode_put: |key, value| v1::SetRequest { key, value, ..Default::default() }.encode_to_vec(),
            encode_get: |key| v1::GetRequest { key }.encode_to_vec(),
        }
    }
}
