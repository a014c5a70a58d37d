//! Makes papers that look like the cluster's, with an authority that is the cluster's own or only says so.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use trust::{Authority, Credentials, KeyPair, Subject, UnixSecs, Who};

use crate::cluster::Cluster;
use crate::deadline::eventually;
use crate::kv::Kv;

use super::Outpost;

const UP_LIMIT_S: u64 = 30;
const LIFE_S: u64 = 365 * 86_400;
/// Of the papers that a node writes.
const FORMAT: u32 = 1;

pub struct Forger {
    authority: Authority,
    /// Whom those with its papers believe beside itself.
    others: Vec<Vec<u8>>,
}

impl Forger {
    /// Makes the cluster's authority itself, so that the test has its key: the first board finds papers as if it had been cut off while it
    /// made the cluster, and goes on from there. To be called before the cluster is closed.
    pub async fn of_cluster(cluster: &mut Cluster) -> Forger {
        let node = &mut cluster.nodes[0];
        let outpost = Outpost { network: node.network.clone().expect("it is on a LAN"), address: [127, 0, 0, 1].into() };
        node.start();
        // A node that belongs to nothing answers on its own board alone.
        let here = format!("127.0.0.1:{}", node.port);
        let ask = || {
            let here = here.clone();
            outpost.run(move || async move { Kv::new(&here).status().await })
        };
        let node_id = eventually(UP_LIMIT_S, "the first board is up", ask, Result::is_ok).await.expect("just checked").node_id;
        assert!(node.stop(rustix::process::Signal::TERM).status.success());

        let cluster_id: [u8; 16] =
            blake3::hash(cluster.path().as_os_str().as_encoded_bytes()).as_bytes()[..16].try_into().expect("16 of 32");
        let authority = Authority::make(cluster_id, cluster.name(), now()).expect("there is randomness");
        let forger = Forger { authority, others: Vec::new() };
        let papers = forger.papers(Who::Node(node_id), now(), LIFE_S);
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let body = format!(
            "format = {FORMAT}\nformed_id = \"{}\"\ntime_s = {}\nkey = \"{}\"\nleaf = \"{}\"\nauthorities = [\"{}\"]\n[founding]\nauthority_key = \"{}\"\nvoters = 3\n",
            text(&cluster_id),
            now().0,
            text(&papers.key),
            text(&papers.leaf),
            text(forger.authority.cert_der()),
            text(forger.authority.key_der()),
        );
        fs::write(cluster.nodes[0].data_dir().join("papers.toml"), body).expect("the data directory is writable");
        forger
    }

    /// Somebody with an authority of the same name for the same cluster, who has seen the real one's certificate: any node shows it to anybody.
    pub fn without_the_key(&self) -> Forger {
        let authority = Authority::make(self.authority.cluster_id(), "lan", now()).expect("there is randomness");
        Forger { authority, others: vec![self.authority.cert_der().to_vec()] }
    }

    pub fn cluster_id(&self) -> [u8; 16] {
        self.authority.cluster_id()
    }

    /// Good for a year.
    pub fn papers_of(&self, who: Who) -> Credentials {
        self.papers(who, now(), LIFE_S)
    }

    /// They ended an hour ago.
    pub fn expired_papers_of(&self, who: Who) -> Credentials {
        self.papers(who, UnixSecs(now().0 - 7_200), 3_600)
    }

    fn papers(&self, who: Who, now: UnixSecs, life_s: u64) -> Credentials {
        let key = KeyPair::make().expect("there is randomness");
        let subject = Subject { cluster_id: self.authority.cluster_id(), who };
        let csr = key.csr().expect("there is randomness");
        let leaf = self.authority.sign(&csr, &subject, now, life_s).expect("it is for its own cluster");
        let authorities = [&[self.authority.cert_der().to_vec()][..], &self.others].concat();
        Credentials { leaf, key: key.key_der().to_vec(), authorities }
    }

    /// What a node keeps on its disk, as a thief of its card reads it.
    pub fn stolen(data_dir: &std::path::Path) -> Credentials {
        let text = fs::read_to_string(data_dir.join("papers.toml")).expect("a node of a closed cluster has papers");
        let papers: toml::Table = text.parse().expect("papers are TOML");
        let bytes = |value: &toml::Value| BASE64.decode(value.as_str().expect("papers hold texts")).expect("papers are base64");
        let authorities = papers["authorities"].as_array().expect("authorities are several").iter().map(bytes).collect();
        Credentials { leaf: bytes(&papers["leaf"]), key: bytes(&papers["key"]), authorities }
    }
}

fn now() -> UnixSecs {
    UnixSecs(std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
