//! The command line against peers that misbehave: what is repeated, what is not, and what the exit code says.

mod common;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use common::fake::{Fake, Order, not_executed, redirect, refusal};
use common::{User, expect};
use proto::v1::{Member, Outcome, Reason, Role};

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn big() -> Vec<u8> {
    bytes(1_000_000)
}

/// `a,b`
fn both(a: &Fake, b: &Fake) -> String {
    format!("{},{}", a.addr, b.addr)
}

#[test]
fn a_write_follows_the_leader() {
    let (user, follower, leader) = (User::new("follow"), Fake::start(), Fake::start());
    follower.order([redirect(&leader)]);
    expect(user.run(&["--addr", &follower.addr, "set", "k", "v"]), 0);
    assert_eq!(leader.value(b"k").unwrap(), b"v");
    assert_eq!((follower.calls(), leader.calls()), (vec!["set"], vec!["set"]));
}

#[test]
fn two_nodes_that_take_each_other_for_the_leader_are_asked_until_one_leads() {
    let (user, a, b) = (User::new("circle"), Fake::start(), Fake::start());
    a.order([redirect(&b), redirect(&b), redirect(&b)]);
    b.order([redirect(&a), redirect(&a), redirect(&a)]);
    expect(user.run(&["--addr", &a.addr, "set", "k", "v"]), 0);
    assert_eq!(a.calls().len() + b.calls().len(), 7);
}

#[test]
fn an_election_is_hidden() {
    let (user, node) = (User::new("election"), Fake::start());
    node.order([Reason::NoLeader, Reason::LeaderChanged, Reason::Overloaded, Reason::Stopping].map(not_executed));
    expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 0);
    node.order([not_executed(Reason::NoLeader)]);
    let (stdout, _) = expect(user.run(&["--addr", &node.addr, "get", "k"]), 0);
    assert_eq!(stdout, b"v");
}

#[test]
fn a_write_whose_answer_is_lost_is_sent_to_another_node_under_the_same_number() {
    let user = User::new("lost");
    for verb in [&["set", "k", "v"][..], &["delete", "k"]] {
        let (mut node, other) = (Fake::start(), Fake::start());
        other.insert(b"k", b"old");
        node.order([Order::Hang]);
        let addr = both(&node, &other);
        let args = [&["--addr", &addr], verb].concat();
        let child = user.spawn(&mut user.command(&args));
        node.wait_until_it_hangs();
        node.kill();
        expect(child.wait_with_output().unwrap(), 0);
        assert_eq!((node.calls().len(), other.calls().len()), (1, 1));
        assert_eq!(node.stamps(), other.stamps());
    }
}

#[test]
fn a_write_that_is_lost_with_the_only_node_is_unknown() {
    let (user, mut node) = (User::new("alone"), Fake::start());
    node.order([Order::Hang]);
    let child = user.spawn(&mut user.command(&["--addr", &node.addr, "--timeout", "3s", "set", "k", "v"]));
    node.wait_until_it_hangs();
    node.kill();
    let (_, stderr) = expect(child.wait_with_output().unwrap(), 4);
    assert!(stderr.contains("outcome is unknown") && stderr.contains("read the key"), "{stderr}");
}

#[test]
fn a_write_that_is_never_answered_is_unknown_at_the_deadline() {
    let (user, node) = (User::new("never"), Fake::start());
    node.order([Order::Hang]);
    expect(user.run(&["--addr", &node.addr, "--timeout", "2s", "set", "k", "v"]), 4);
    assert_eq!(node.calls(), ["set"]);
}

#[test]
fn a_read_whose_answer_is_lost_is_put_to_another_node() {
    let (user, mut node) = (User::new("reread"), Fake::start());
    node.insert(b"k", b"v");
    let other = Fake::copy_of(&node);
    node.order([Order::Hang]);
    let child = user.spawn(&mut user.command(&["--addr", &both(&node, &other), "get", "k"]));
    node.wait_until_it_hangs();
    node.kill();
    assert_eq!(expect(child.wait_with_output().unwrap(), 0).0, b"v");
}

#[test]
fn the_node_says_what_became_of_a_write() {
    let (user, node) = (User::new("told"), Fake::start());
    node.order([Order::Answer(refusal(Outcome::Rejected, Reason::Malformed, ""))]);
    expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 5);
    node.order([Order::Nonsense]);
    expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 4);
    assert_eq!(node.calls().len(), 2, "neither would be answered otherwise a second time");
    for (outcome, reason) in [(Outcome::Unknown, Reason::LeaderChanged), (Outcome::Unspecified, Reason::Unspecified)] {
        node.order([Order::Answer(refusal(outcome, reason, ""))]);
        expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 0);
    }
    assert_eq!(node.calls().len(), 6, "what is in doubt is asked for again");
}

#[test]
fn a_full_cluster_says_so_before_the_deadline() {
    let (user, node) = (User::new("full"), Fake::start());
    node.order((0..1_000).map(|_| not_executed(Reason::NoRoom)));
    let (_, stderr) = expect(user.run(&["--addr", &node.addr, "--timeout", "120s", "set", "k", "v"]), 3);
    assert!(stderr.contains("REASON_NO_ROOM") && stderr.contains("free disk space"), "{stderr}");
}

#[test]
fn a_board_without_power_does_not_eat_the_deadline() {
    let (user, node) = (User::new("dead"), Fake::start());
    // Connections are taken by the system and nobody ever answers.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("{},{}", dead.local_addr().unwrap(), node.addr);
    expect(user.run(&["--addr", &addr, "--timeout", "20s", "set", "k", "v"]), 0);
}

#[test]
fn strangers_are_not_used() {
    let user = User::new("strangers");
    let node = Fake::start();
    let (_, stderr) = expect(user.run(&["--addr", &node.addr, "--cluster", "shed", "set", "k", "v"]), 5);
    assert!(stderr.contains("belongs to cluster \"home\" (abababab"), "{stderr}");

    let other = Fake::start();
    other.state.identity.lock().unwrap().cluster_id = vec![0xcd; 16].into();
    node.order([redirect(&other), redirect(&other)]);
    expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 0);
    assert_eq!(other.calls().len(), 0, "a node of another cluster gets no data");

    // A gRPC server without our services.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let routes = tonic::service::Routes::default();
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );
    let (_, stderr) = expect(user.run(&["--addr", &addr, "set", "k", "v"]), 5);
    assert!(stderr.contains("no rusty-kv node"), "{stderr}");
}

#[test]
fn bytes_arrive_as_they_were_given() {
    let (user, node) = (User::new("bytes"), Fake::start());
    for (key, value) in
        [(&b"plain"[..], &b"Hello World"[..]), (b"\xff\xfe\n", b"\xc3("), (b"minus", b"-5"), (b"long", b"--file"), (b"empty", b"")]
    {
        let mut command = user.command(&["--addr", &node.addr, "set", "--"]);
        expect(command.arg(OsStr::from_bytes(key)).arg(OsStr::from_bytes(value)).output().unwrap(), 0);
        assert_eq!(node.value(key).unwrap(), value);
        let mut command = user.command(&["--addr", &node.addr, "get"]);
        assert_eq!(expect(command.arg(OsStr::from_bytes(key)).output().unwrap(), 0).0, value, "exactly, without a newline");
    }
    expect(user.run(&["--addr", &node.addr, "set", "k", "-5"]), 0);
    assert_eq!(node.value(b"k").unwrap(), b"-5");
    expect(user.run_with_input(&["--addr", &node.addr, "set", "k", "-"], b"from stdin\n"), 0);
    assert_eq!(node.value(b"k").unwrap(), b"from stdin\n");
    std::fs::write(user.home.join("f"), b"from a file").unwrap();
    expect(user.run(&["--addr", &node.addr, "set", "k", "--file", "f"]), 0);
    assert_eq!(node.value(b"k").unwrap(), b"from a file");
}

#[test]
fn absent_keys_and_false_conditions_are_no() {
    let (user, node) = (User::new("no"), Fake::start());
    let run = |args: &[&str]| user.run(&[&["--addr", &node.addr], args].concat());
    for args in [&["get", "k"][..], &["download", "k", "f"], &["delete", "k"], &["set", "k", "v", "--if-revision", "9"]] {
        let (stdout, stderr) = expect(run(args), 1);
        assert!(stdout.is_empty() && !stderr.is_empty(), "{args:?}");
    }
    assert!(!user.home.join("f").exists());
    expect(run(&["set", "k", "v", "--if-absent"]), 0);
    expect(run(&["put", "k", "w", "--if-absent"]), 1);
    assert_eq!(node.value(b"k").unwrap(), b"v");
    expect(run(&["delete", "k", "--if-revision", "99"]), 1);
    expect(run(&["rm", "k", "absent"]), 1);
    assert_eq!(node.value(b"k"), None, "the absent one does not keep the other from being deleted");
    std::fs::write(user.home.join("big"), big()).unwrap();
    expect(run(&["upload", "k", "big", "--if-absent"]), 0);
    expect(run(&["upload", "k", "big", "--if-absent"]), 1);
}

#[test]
fn an_upload_follows_the_leader_from_a_file_and_from_stdin() {
    let (user, follower, leader) = (User::new("upload"), Fake::start(), Fake::start());
    std::fs::write(user.home.join("photo"), big()).unwrap();
    follower.order([redirect(&leader), redirect(&leader)]);
    expect(user.run(&["--addr", &follower.addr, "upload", "file", "photo"]), 0);
    expect(user.run_with_input(&["--addr", &follower.addr, "upload", "stdin", "-"], &big()), 0);
    assert_eq!(leader.value(b"file").unwrap(), big());
    assert_eq!(leader.value(b"stdin").unwrap(), big());
}

#[test]
fn an_upload_goes_straight_to_a_leader_that_is_known() {
    let (user, follower, leader) = (User::new("straight"), Fake::start(), Fake::start());
    let leader_id = leader.state.identity.lock().unwrap().node_id;
    {
        let mut identity = follower.state.identity.lock().unwrap();
        identity.leader_id = leader_id;
        identity.members = vec![Member { node_id: leader_id, addresses: vec![leader.addr.clone()], voter: true, ..Default::default() }];
    }
    expect(user.run_with_input(&["--addr", &follower.addr, "upload", "k", "-"], &big()), 0);
    assert_eq!((follower.calls().len(), leader.value(b"k").unwrap()), (0, big()));
}

#[test]
fn small_values_go_in_one_message_whatever_the_verb() {
    let (user, node) = (User::new("small"), Fake::start());
    for (len, call) in [(0, "set"), (65_536, "set"), (65_537, "upload")] {
        std::fs::write(user.home.join("f"), bytes(len)).unwrap();
        expect(user.run(&["--addr", &node.addr, "upload", "k", "f"]), 0);
        assert_eq!(node.calls().last(), Some(&call), "{len} bytes");
        expect(user.run_with_input(&["--addr", &node.addr, "set", "k", "-"], &bytes(len)), 0);
        assert_eq!(node.calls().last(), Some(&call), "{len} bytes");
        assert_eq!(node.value(b"k").unwrap(), bytes(len));
        expect(user.run(&["--addr", &node.addr, "download", "k", "g"]), 0);
        assert_eq!(std::fs::read(user.home.join("g")).unwrap(), bytes(len));
    }
}

#[test]
fn an_upload_that_breaks_is_repeated_if_its_input_can_be_read_again() {
    let user = User::new("breaks");
    std::fs::write(user.home.join("photo"), bytes(20_000_000)).unwrap();

    let (mut node, other) = (Fake::start(), Fake::start());
    node.order([Order::Hang]);
    let child = user.spawn(&mut user.command(&["--addr", &both(&node, &other), "upload", "k", "photo"]));
    node.wait_until_it_hangs();
    node.kill();
    expect(child.wait_with_output().unwrap(), 0);
    assert_eq!(other.value(b"k").unwrap(), bytes(20_000_000));

    let (mut node, other) = (Fake::start(), Fake::start());
    node.order([Order::HangAtEnd]);
    let child = user.spawn(&mut user.command(&["--addr", &both(&node, &other), "upload", "k", "photo"]));
    node.wait_until_it_hangs();
    node.kill();
    expect(child.wait_with_output().unwrap(), 0);
    assert_eq!(other.value(b"k").unwrap(), bytes(20_000_000));

    // Its input is gone, so nobody can ask what became of it.
    let (mut node, other) = (Fake::start(), Fake::start());
    node.order([Order::HangAtEnd]);
    let mut command = user.command(&["--addr", &both(&node, &other), "upload", "k", "-"]);
    let photo = std::fs::File::open(user.home.join("photo")).unwrap();
    let mut cat = std::process::Command::new("cat").stdin(photo).stdout(Stdio::piped()).spawn().unwrap();
    let child = user.spawn(command.stdin(cat.stdout.take().unwrap()));
    node.wait_until_it_hangs();
    node.kill();
    expect(child.wait_with_output().unwrap(), 4);
    cat.wait().unwrap();
    assert_eq!(other.value(b"k"), None);
}

#[test]
fn a_download_that_breaks_goes_on_where_it_was_at_another_node() {
    let (user, node) = (User::new("resume"), Fake::start());
    node.insert(b"k", &big());
    let other = Fake::copy_of(&node);
    node.order([Order::Obey, Order::CutAfter(3), Order::CutAfter(4)]);
    other.order([Order::CutAfter(0)]);
    expect(user.run(&["--addr", &both(&node, &other), "download", "k", "photo"]), 0);
    assert_eq!(std::fs::read(user.home.join("photo")).unwrap(), big());
    assert_eq!((node.calls().len(), other.calls().len()), (3, 2), "each went on for the other");

    node.order([not_executed(Reason::NoLeader), Order::Obey, Order::CutAfter(5)]);
    let (stdout, _) = expect(user.run(&["--addr", &node.addr, "download", "k", "-"]), 0);
    assert_eq!(stdout, big());
}

#[test]
fn a_download_that_never_gets_on_is_not_executed() {
    let (user, node) = (User::new("stuck"), Fake::start());
    node.insert(b"k", &big());
    node.order([Order::Obey]);
    node.order((0..10_000).map(|_| Order::CutAfter(0)));
    expect(user.run(&["--addr", &node.addr, "--timeout", "1s", "download", "k", "photo"]), 3);
    assert_eq!(std::fs::read_dir(&user.home).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(), 0);
}

#[test]
fn wrong_bytes_never_get_the_name() {
    let (user, node) = (User::new("wrong"), Fake::start());
    node.insert(b"k", &big());
    let photo = user.home.join("photo");
    std::fs::write(&photo, "the old one").unwrap();
    // A file is fetched a second time; what a stream has taken cannot be taken back.
    let twice_wrong = vec![Order::Obey, Order::WrongByte, Order::Obey, Order::WrongByte];
    for (file, orders) in [("photo", twice_wrong), ("-", vec![Order::Obey, Order::WrongByte])] {
        node.order(orders);
        let (_, stderr) = expect(user.run(&["--addr", &node.addr, "download", "k", file]), 6);
        assert!(stderr.contains("hash"), "{stderr}");
    }
    assert_eq!(std::fs::read(&photo).unwrap(), b"the old one");
    let files = std::fs::read_dir(&user.home).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 1, "no temporary file is left");
}

#[test]
fn bytes_that_were_wrong_once_are_fetched_again() {
    let (user, node) = (User::new("healed"), Fake::start());
    node.insert(b"k", &big());
    node.order([Order::Obey, Order::WrongByte]);
    expect(user.run(&["--addr", &node.addr, "download", "k", "photo"]), 0);
    assert_eq!(std::fs::read(user.home.join("photo")).unwrap(), big());
    assert_eq!(node.calls(), ["get", "download", "get", "download"]);
}

#[test]
fn a_key_written_during_its_download_is_downloaded_anew() {
    let (user, node) = (User::new("changed"), Fake::start());
    node.insert(b"k", &big());
    let changed = || Order::Answer(refusal(Outcome::NotExecuted, Reason::Changed, ""));
    node.order([Order::Obey, Order::CutAfter(2), changed()]);
    expect(user.run(&["--addr", &node.addr, "download", "k", "photo"]), 0);
    assert_eq!(std::fs::read(user.home.join("photo")).unwrap(), big());
    assert_eq!(node.calls(), ["get", "download", "download", "get", "download"]);

    // What a stream has taken cannot be taken back.
    node.order([Order::Obey, Order::CutAfter(2), changed()]);
    expect(user.run(&["--addr", &node.addr, "download", "k", "-"]), 3);
}

#[test]
fn a_listing_that_breaks_goes_on_behind_its_last_key() {
    let (user, node) = (User::new("list"), Fake::start());
    let keys: Vec<String> = (0..1_000).map(|n| format!("key{n:04}")).collect();
    keys.iter().for_each(|key| node.insert(key.as_bytes(), b"v"));
    node.insert(b"other", b"v");
    let other = Fake::copy_of(&node);
    node.order([Order::CutAfter(3), Order::CutAfter(1)]);
    other.order([Order::CutAfter(2)]);
    let (stdout, _) = expect(user.run(&["--addr", &both(&node, &other), "list", "key"]), 0);
    assert_eq!(String::from_utf8(stdout).unwrap().lines().collect::<Vec<_>>(), keys);

    node.order([Order::CutAfter(1)]);
    let (stdout, _) = expect(user.run(&["--addr", &node.addr, "ls", "key", "--after", "key0099", "--limit", "250"]), 0);
    assert_eq!(String::from_utf8(stdout).unwrap().lines().collect::<Vec<_>>(), keys[100..350]);
}

#[test]
fn keys_are_shown_harmlessly_or_raw() {
    let (user, node) = (User::new("keys"), Fake::start());
    node.insert(b"a\nb", b"12");
    node.insert(b"\xff\\", b"");
    let run = |args: &[&str]| expect(user.run(&[&["--addr", &node.addr, "list"], args].concat()), 0).0;
    assert_eq!(run(&[]), b"a\\x0ab\n\\xff\\\\\n");
    assert_eq!(run(&["-0"]), b"a\nb\0\xff\\\0");
    let long = String::from_utf8(run(&["--long"])).unwrap();
    assert_eq!(long.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["2", "1", "1", "a\\x0ab"]);
    let json = String::from_utf8(run(&["-o", "json"])).unwrap();
    let items: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items[0]["key"], "a\nb");
    assert_eq!((&items[1]["key_b64"], &items[1]["size"]), (&"/1w=".into(), &0.into()));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (user, node) = (User::new("head"), Fake::start());
    (0..50_000).for_each(|n| node.insert(format!("key{n:05}").as_bytes(), b""));
    node.insert(b"big", &bytes(20_000_000));
    for args in [&["list"][..], &["get", "big"], &["download", "big", "-"]] {
        let args = [&["--addr", &node.addr], args].concat();
        let mut child = user.spawn(&mut user.command(&args));
        let mut start = [0; 1000];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        let (_, stderr) = expect(child.wait_with_output().unwrap(), 0);
        assert_eq!(stderr, "", "{args:?}");
    }
}

#[test]
fn keys_are_deleted_by_prefix() {
    let (user, node) = (User::new("prefix"), Fake::start());
    (0..500).for_each(|n| node.insert(format!("old/{n}").as_bytes(), b""));
    node.insert(b"new", b"");
    let (stdout, stderr) = expect(user.run(&["--addr", &node.addr, "delete", "--prefix", "old/", "--yes"]), 0);
    assert!(stdout.is_empty() && stderr.contains("deleted 500 keys"), "{stderr}");
    assert_eq!(node.state.data.lock().unwrap().len(), 1);
    expect(user.run(&["--addr", &node.addr, "delete", "--prefix", "old/", "--yes"]), 1);
    let (stdout, _) = expect(user.run(&["--addr", &node.addr, "delete", "--prefix", "", "--all", "--yes", "-o", "json"]), 0);
    assert_eq!(String::from_utf8(stdout).unwrap(), "{\"deleted\":1,\"kept\":0,\"prefix\":\"\"}\n");
}

#[test]
fn json_tells_revisions_and_carries_any_value() {
    let (user, node) = (User::new("jsondata"), Fake::start());
    let run = |args: &[&str]| {
        let (stdout, stderr) = expect(user.run(&[&["--addr", &node.addr, "-o", "json"], args].concat()), 0);
        assert_eq!(stderr, "");
        serde_json::from_slice::<serde_json::Value>(&stdout).unwrap()
    };
    assert_eq!(
        run(&["set", "k", "v"]),
        serde_json::json!({"key": "k", "result": "done", "create_revision": 1, "modify_revision": 1, "size": 1})
    );
    assert_eq!(run(&["get", "k"]), serde_json::json!({"key": "k", "value": "v", "create_revision": 1, "modify_revision": 1, "size": 1}));
    node.insert(b"k", b"\xff");
    assert_eq!(run(&["get", "k"])["value_b64"], "/w==");
    node.insert(b"k", &big());
    let large = run(&["get", "k"]);
    use base64::Engine;
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(large["value_b64"].as_str().unwrap()).unwrap(), big());
    assert_eq!((&large["modify_revision"], &large["create_revision"]), (&3.into(), &1.into()));
    assert_eq!(run(&["download", "k", "f"])["file"], "f");
    assert_eq!(run(&["delete", "k"]), serde_json::json!({"key": "k", "result": "done"}));
}

#[test]
fn status_asks_every_member_and_shows_those_that_are_gone() {
    let (user, leader, follower) = (User::new("status"), Fake::start(), Fake::start());
    let nodes: [(u64, String); 3] = [&leader, &follower]
        .map(|node| (node.state.identity.lock().unwrap().node_id, node.addr.clone()))
        .into_iter()
        .chain([(7 << 32, TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string())])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let members = |last: Option<u64>| {
        let contact = |n: usize| if n < 2 { Some(0) } else { last };
        let member = |(n, (node_id, addr)): (usize, &(u64, String))| Member {
            node_id: *node_id,
            name: format!("pi{n}"),
            addresses: vec![addr.clone()],
            voter: true,
            last_contact_ms: contact(n),
            ..Default::default()
        };
        nodes.iter().enumerate().map(member).collect::<Vec<_>>()
    };
    for (node, role) in [(&leader, Role::Leader), (&follower, Role::Follower)] {
        let mut identity = node.state.identity.lock().unwrap();
        identity.members = members(Some(90_000));
        identity.leader_id = nodes[0].0;
        identity.set_role(role);
    }
    // One address is enough: the others are asked too.
    let (stdout, _) = expect(user.run(&["--addr", &follower.addr, "status"]), 0);
    let text = String::from_utf8(stdout).unwrap();
    assert!(text.starts_with("cluster home (abababab): degraded (serving; can lose 0 more)\n  pi2 does not answer\n"), "{text}");
    assert!(text.contains("leader") && text.contains("unreachable") && text.contains("90 s"), "{text}");
    expect(user.run(&["--addr", &follower.addr, "status", "--check"]), 10);

    let (stdout, _) = expect(user.run(&["--addr", &follower.addr, "status", "-o", "json"]), 0);
    let status: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    let reachable: Vec<bool> = status["members"].as_array().unwrap().iter().map(|member| member["reachable"].as_bool().unwrap()).collect();
    assert_eq!((status["verdict"].as_str(), reachable.iter().filter(|up| **up).count()), (Some("degraded"), 2));

    let all = [&leader, &follower].map(|node| node.state.identity.lock().unwrap().members.drain(2..).count());
    assert_eq!(all, [1, 1]);
    expect(user.run(&["--addr", &follower.addr, "status", "--check"]), 0);
    expect(user.run(&["--addr", &follower.addr, "wait", "--healthy"]), 0);
    expect(user.run(&["--addr", &follower.addr, "wait", "--ready"]), 0);
    leader.state.identity.lock().unwrap().set_role(Role::Candidate);
    expect(user.run(&["--addr", &follower.addr, "status", "--check"]), 11);
    expect(user.run(&["--addr", &follower.addr, "wait", "--healthy", "--timeout", "1s"]), 3);
}

#[test]
fn addresses_are_remembered_and_used_only_if_the_cluster_is_the_same() {
    let (user, node) = (User::new("remember"), Fake::start());
    expect(user.run(&["--addr", &node.addr, "set", "k", "v"]), 0);
    let file = user.home.join(format!(".local/state/rusty-kv/client/{}.json", "ab".repeat(16)));
    assert!(std::fs::read_to_string(&file).unwrap().contains(&node.addr));
    // A named cluster that was used before needs no browse.
    let (stdout, _) = expect(user.run(&["--cluster", "home", "get", "k"]), 0);
    assert_eq!(stdout, b"v");
}

#[test]
fn a_listing_comes_as_a_stream() {
    let (user, node) = (User::new("stream"), Fake::start());
    (0..300).for_each(|n| node.insert(format!("key{n:04}").as_bytes(), b""));
    // The second page never comes; the first is shown all the same.
    node.order([Order::CutAfter(1), Order::Hang]);
    let mut child = user.command(&["--addr", &node.addr, "list"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().take(100).map(Result::unwrap).collect();
    assert_eq!(lines.last().unwrap(), "key0099");
    child.kill().unwrap();
    child.wait().unwrap();
}
