//! What the README tells a new user to type, typed: three nodes with a list of peers in one working directory, a key, a picture, and a restart.

use rigs::{Node, Scratch, client, client_ok};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

const PORTS: [u16; 3] = [50051, 50052, 50053];
const STOP_LIMIT: Duration = Duration::from_secs(5);
const FORM_LIMIT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "runs the cluster"]
fn a_picture_survives_ctrl_c_on_every_node() {
    story("ctrl-c", |node| {
        let stop = node.stop(Signal::INT);
        assert!(stop.status.success(), "{}: {}", node.name, stop.status);
        assert!(stop.took < STOP_LIMIT, "{} took {:?} to stop", node.name, stop.took);
    });
}

#[test]
#[ignore = "runs the cluster"]
fn a_picture_survives_sigkill_on_every_node() {
    story("sigkill", Node::kill);
}

#[test]
#[ignore = "runs the cluster"]
fn sigterm_stops_a_node_like_ctrl_c() {
    let scratch = Scratch::new("verbatim-sigterm");
    let mut nodes = start(&scratch);
    wait_until_it_serves(&scratch);
    for node in &mut nodes {
        let stop = node.stop(Signal::TERM);
        assert!(stop.status.success() && stop.took < STOP_LIMIT, "{}: {stop:?}", node.name);
        node.assert_no_panic();
    }
}

fn story(test: &str, end: impl Fn(&mut Node)) {
    let scratch = Scratch::new(&format!("verbatim-{test}"));
    let home = scratch.path();
    let picture: Vec<u8> = (0..700_001_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(home.join("avatar.png"), &picture).unwrap();

    let mut nodes = start(&scratch);
    wait_until_it_serves(&scratch);
    let addr = ["--addr", "http://127.0.0.1:50051"];
    let at_first_node = |args: &[&str]| client_ok(home, &[&addr[..], args].concat());
    at_first_node(&["set", "my_key", "Hello World"]);
    assert_eq!(at_first_node(&["get", "my_key"]), b"Hello World");
    at_first_node(&["upload", "profile_pic", "./avatar.png"]);
    at_first_node(&["download", "profile_pic", "./restored_avatar.png"]);
    assert_eq!(fs::read(home.join("restored_avatar.png")).unwrap(), picture);

    nodes.iter_mut().for_each(&end);
    nodes = Vec::from_iter(nodes.into_iter().map(started));
    wait_until_it_serves(&scratch);
    for address in follower_addresses(&scratch) {
        let restored = format!("./restored_from_{}", address.replace([':', '.'], "_"));
        client_ok(home, &["--addr", &address, "download", "profile_pic", &restored]);
        assert_eq!(fs::read(home.join(restored)).unwrap(), picture);
        assert_eq!(client_ok(home, &["--addr", &address, "get", "my_key"]), b"Hello World");
    }
    nodes.iter().for_each(Node::assert_no_panic);
}

/// With exactly the arguments of the README; the default data directory differs by port.
fn start(scratch: &Scratch) -> Vec<Node> {
    PORTS.map(|port| started(Node::new(scratch.path(), &format!("port{port}"), port))).into()
}

fn started(mut node: Node) -> Node {
    let others = PORTS.iter().filter(|port| **port != node.port).map(|port| format!("http://127.0.0.1:{port}"));
    let others: Vec<String> = others.collect();
    node.start_with(&["--peers".into(), others.join(",")]);
    node
}

fn wait_until_it_serves(scratch: &Scratch) {
    let end = Instant::now() + FORM_LIMIT;
    loop {
        let output = client(scratch.path(), &["--addr", "http://127.0.0.1:50051", "--timeout", "30s", "wait", "--healthy"]);
        if output.status.success() {
            return;
        }
        assert!(Instant::now() < end, "the cluster does not serve: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Of both nodes that do not lead, as `status` tells them.
fn follower_addresses(scratch: &Scratch) -> Vec<String> {
    let stdout = client_ok(scratch.path(), &["--addr", "http://127.0.0.1:50051", "-o", "json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&stdout).expect("status prints JSON");
    let members = status["members"].as_array().expect("members").iter();
    let followers = members.filter(|member| member["role"] == "follower");
    let addresses: Vec<String> = followers.map(|member| member["addresses"][0].as_str().expect("an address").to_owned()).collect();
    assert_eq!(addresses.len(), 2, "{status:#}");
    addresses
}
