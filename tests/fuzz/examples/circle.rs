//! Makes the certificates that the targets judge by: `cargo run --release --package fuzz --example circle`.
//!
//! They are kept. What the corpora hold are edits of these very bytes, so with others the corpora of certificates begin anew.

use std::{fs, path::Path};

use trust::{Authority, Grant, KeyPair, Role, Subject, UnixSecs, Who};

const CLUSTER: [u8; 16] = [7; 16];
const NOW: UnixSecs = UnixSecs(1_800_000_000);
const LIFE_S: u64 = 90 * 86_400;

fn main() {
    let (authority, rogue) = (authority(), authority());
    let (node, client) = (KeyPair::make().unwrap(), KeyPair::make().unwrap());
    let grant = Grant { role: Role::Read, prefix: b"garden/".to_vec() };
    let sign = |by: &Authority, key: &KeyPair, who| {
        let subject = Subject { cluster_id: CLUSTER, who };
        by.sign(&key.csr().unwrap(), &subject, NOW, LIFE_S).unwrap()
    };
    put("authority", authority.cert_der());
    put("authority_key", authority.key_der());
    put("node", &sign(&authority, &node, Who::Node(1)));
    put("node_key", node.key_der());
    put("client", &sign(&authority, &client, Who::Client { id: 2, grant }));
    put("client_key", client.key_der());
    put("request", &node.csr().unwrap());
    put("rogue", rogue.cert_der());
    put("rogue_key", rogue.key_der());
    put("rogue_node", &sign(&rogue, &node, Who::Node(1)));
}

fn authority() -> Authority {
    Authority::make(CLUSTER, "home", NOW).unwrap()
}

fn put(name: &str, der: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("circle");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name).with_extension("der"), der).unwrap();
}
