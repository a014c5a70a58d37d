//! Writes the corpora's first files: what honest nodes write and say, so that a search begins inside the parsers.
//!
//! `cargo run --release --package fuzz --example seeds`. Files that are there already stay, but for those of the same name.

use std::{fs, path::Path, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use prost::Message as _;
use proto::v1 as wire;
use raft::{Entry, HardState, LogId, Membership, NodeId, Payload, Term};
use replica::{Command, Condition, Key, Operation, Stamp, Value, state};
use rustls::{ClientConnection, ServerConnection};
use storage::{Anchor, AnchorRecord, Formation, LogStore as _, MemState, Scan, SegmentLog, Started, StateStore, entry_crc};
use trust::{Clock, Credentials, UnixSecs};

const HEADER_BYTES: usize = 24;

fn main() {
    let scratch = std::env::temp_dir().join(format!("fuzz-seeds-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    commands();
    anchors(&scratch);
    logs_and_formations(&scratch);
    states();
    messages();
    requests();
    records();
    configurations();
    put("blob_name", "hash", "5a".repeat(32).as_bytes());
    put("blob_name", "capitals", "5A".repeat(32).as_bytes());
    stories();
    tokens();
    certificates();
    handshakes();
    admissions();
    papers();
    trusts();
    fs::remove_dir_all(&scratch).unwrap();
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

/// As [`fuzz`]'s scripts take a piece.
fn piece(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn some_commands() -> Vec<(&'static str, Command)> {
    let key = || Key::new("garden/door").unwrap();
    let stamp = Stamp { session: 77, opened: 3, serial: 1 };
    let put = |value, condition, session| Command { session, operation: Operation::Put { key: key(), value, condition, expires: None } };
    vec![
        ("set", put(Value::Inline(b"open".to_vec()), Condition::Always, Some(stamp))),
        ("set_if_absent", put(Value::Inline(Vec::new()), Condition::Absent, None)),
        ("image", put(Value::Blob { hash: [9; 32], size: 1 << 20 }, Condition::Revision(4), Some(Stamp { serial: 2, ..stamp }))),
        ("delete", Command { session: None, operation: Operation::Delete { key: key(), condition: Condition::Always } }),
        ("collect", Command { session: None, operation: Operation::Collect }),
    ]
}

fn some_entries() -> Vec<Entry> {
    let members = Membership {
        voters: [1, 2, 3].map(NodeId).into(),
        outgoing: [1, 2].map(NodeId).into(),
        learners: [(NodeId(4), raft::Intent::Replace(NodeId(2))), (NodeId(5), raft::Intent::Promote)].into(),
    };
    let mut payloads = vec![Payload::Noop, Payload::Membership(members)];
    payloads.extend(some_commands().into_iter().map(|(_, command)| Payload::Command(command.encode().into())));
    payloads.into_iter().zip(1..).map(|(payload, index)| Entry { id: LogId::new(Term(2), index), payload }).collect()
}

fn commands() {
    for (name, command) in some_commands() {
        put("command", name, &command.encode());
    }
}

fn anchors(scratch: &Path) {
    let path = scratch.join("anchor");
    let hard = HardState { term: Term(3), vote: Some(NodeId(1)) };
    let mut anchor = Anchor::create(&path, AnchorRecord::blank(NodeId(1))).unwrap();
    let record = AnchorRecord { cluster_id: Some([7; 16]), node: NodeId(1), hard, reached: LogId::new(Term(2), 9) };
    anchor.write(&record).unwrap();
    let file = fs::read(&path).unwrap();
    let slot = |number: usize| {
        let bytes = &file[number * 4096..];
        let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        bytes[2..2 + length - 4].to_vec()
    };
    put("anchor_slots", "both", &[&[0], &piece(&slot(0))[..], &[0], &piece(&slot(1))].concat());
    put("anchor_slots", "first", &[&[0], &piece(&slot(0))[..], &[3, 0]].concat());
    put("anchor_slots", "torn", &[&[0], &piece(&slot(0))[..], &[2], &piece(&slot(1))].concat());
}

fn logs_and_formations(scratch: &Path) {
    let blank = Formation { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None };
    let promised = Formation { promised: Some([1, 2, 3].map(NodeId).into()), ..blank.clone() };
    let membership = Membership::of_voters([1, 2, 3].map(NodeId));
    let started = Formation { started: Some(Started { cluster_id: [7; 16], membership }), ..promised.clone() };
    let log = SegmentLog::create(&scratch.join("log"), &blank).unwrap();
    for (name, record) in [("blank", blank), ("promised", promised), ("started", started)] {
        log.save_formation(&record).unwrap();
        let sealed = fs::read(scratch.join("log/formation")).unwrap();
        let record = &sealed[..sealed.len() - 4];
        put("formation_record", name, &[&[1], &piece(record)[..], &[2, 3, 2, 1, 2, 1, 0, 2, 1]].concat());
    }
    let hard = HardState { term: Term(2), vote: Some(NodeId(1)) };
    log.persist(&[raft::Batch { hard: Some(hard), entries: some_entries(), ..raft::Batch::default() }]).unwrap();
    put("log_files", "one_group", &log_script(&scratch.join("log")));
    let instead = Entry { id: LogId::new(Term(3), 6), payload: Payload::Noop };
    log.persist(&[raft::Batch { truncate: Some(6), entries: vec![instead], ..raft::Batch::default() }]).unwrap();
    put("log_files", "truncated", &log_script(&scratch.join("log")));
    log.persist(&[raft::Batch { cut: Some(LogId::new(Term(2), 3)), ..raft::Batch::default() }]).unwrap();
    put("log_files", "cut", &log_script(&scratch.join("log")));
    let install = raft::Install { mark: LogId::new(Term(3), 20), generation: 1 };
    log.persist(&[raft::Batch { install: Some(install), ..raft::Batch::default() }]).unwrap();
    put("log_files", "installed", &log_script(&scratch.join("log")));
}

/// The log in `dir` as a script that writes it.
fn log_script(dir: &Path) -> Vec<u8> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log."));
    files.sort();
    let first: u8 = files[0].extension().unwrap().to_str().unwrap().parse().unwrap();
    let mut script = vec![0, first];
    for (number, path) in files.iter().enumerate() {
        let file = fs::read(path).unwrap();
        let mut at = 0;
        while at + HEADER_BYTES <= file.len() {
            let length = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            if length == 0 {
                break;
            }
            script.push(u8::from(at == 0 && number > 0));
            script.extend(u16::try_from(length).unwrap().to_le_bytes());
            script.extend(&file[at + HEADER_BYTES..at + HEADER_BYTES + length]);
            at = (at + HEADER_BYTES + length).next_multiple_of(8);
        }
    }
    script
}

fn states() {
    let state = MemState::new();
    state::apply(&state, &some_entries()).unwrap();
    let whole = Scan { start: Vec::new(), end: None, max_items: usize::MAX, max_bytes: usize::MAX };
    let pairs = state.scan(&whole).unwrap();
    // `near` 3 and 8, then the pairs under no prefix of the script's own, then a few commands.
    let mut script = vec![0, 0, u8::try_from(pairs.len()).unwrap()];
    for (key, value) in &pairs {
        script.extend([9, 1]);
        script.extend(piece(key));
        script.extend(piece(value));
    }
    put("state_records", "after_commands", &[&script[..], &[11, 3, 1, 2, 0, 5, 7, 1, 2, 0, 1], &[3; 40]].concat());
    put(
        "state_records",
        "empty",
        &[0, 0, 0, 11, 3, 0, 2, 6, 1, 1, 0, 0, 3, 0, 2, 6, 1, 2, 0, 0, 3, 0, 2, 6, 1, 3, 0, 0, 3, 0, 2, 6, 1, 4, 0, 0],
    );
    let pair =
        |(key, value): &(Vec<u8>, Vec<u8>)| wire::pull_snapshot_response::Pair { key: key.clone().into(), value: value.clone().into() };
    let page = wire::PullSnapshotResponse { pairs: pairs.iter().map(pair).collect(), ..Default::default() };
    put("snapshot_page", "whole", &page.encode_to_vec());
    put("snapshot_page", "empty", &[]);
}

fn messages() {
    use wire::peer_message::{self as kind, Kind};
    let id = |term, index| Some(wire::LogId { term, index });
    let report = Some(wire::Report {
        boot: 5,
        end: 9,
        room: wire::Room::Enough.into(),
        whole: 9,
        hash: Some(wire::StateHash { index: 8, digest: 1 }),
        garbage: true,
    });
    let read = Some(wire::ReadId { node: 2, boot: 5, counter: 1 });
    let append = kind::Append {
        prev: id(2, 0),
        entries: some_entries().iter().map(entry).collect(),
        commit: 3,
        round: 1,
        refusing: false,
        offer: id(2, 7),
        agreed: Some(wire::StateHash { index: 8, digest: 1 }),
    };
    let kinds = [
        ("pre_vote", Kind::PreVote(kind::PreVote { last: id(2, 9) })),
        ("pre_vote_reply", Kind::PreVoteReply(kind::PreVoteReply { granted: true, asked_term: 2 })),
        ("vote", Kind::Vote(kind::Vote { last: id(2, 9) })),
        ("vote_reply", Kind::VoteReply(kind::VoteReply { granted: true })),
        ("offer_of_the_future", Kind::Append(kind::Append { offer: id(9, 7), ..append.clone() })),
        ("append", Kind::Append(append)),
        ("accepted", Kind::AppendAccepted(kind::AppendAccepted { matched: 9, durable: 8, round: 1, report })),
        ("rejected", Kind::AppendRejected(kind::AppendRejected { prev: 9, hint: id(2, 8), round: 1, report })),
        ("campaign", Kind::Campaign(kind::Campaign {})),
        ("forgot", Kind::Forgot(kind::Forgot { durable: 9 })),
        ("read", Kind::ReadIndex(kind::ReadIndex { id: read })),
        ("read_reply", Kind::ReadIndexReply(kind::ReadIndexReply { id: read, index: 9, refused: false })),
    ];
    for (name, kind) in kinds {
        let frame = wire::PeerMessages { messages: vec![wire::PeerMessage { term: 3, kind: Some(kind) }] };
        put("peer_message", name, &[&[4], &frame.encode_to_vec()[..]].concat());
    }
    let identity = wire::Identity {
        protocol_version: 1,
        node_id: 1,
        boot_nonce: 5,
        cluster_name: "home".into(),
        cluster_id: vec![7; 16].into(),
        promised: vec![1, 2, 3],
        name: "pi1".into(),
        version: "0.1.0".into(),
        port: 50051,
        board_hint: 9,
    };
    put("peer_message", "identity", &[&[0], &identity.encode_to_vec()[..]].concat());
}

fn entry(entry: &Entry) -> wire::LogEntry {
    use wire::log_entry::Payload as Wire;
    let payload = match &entry.payload {
        Payload::Noop => Wire::Noop(true),
        Payload::Command(bytes) => Wire::Command(bytes.to_vec().into()),
        Payload::Membership(members) => Wire::Membership(wire::Membership {
            voters: members.voters.iter().map(|id| id.0).collect(),
            outgoing: members.outgoing.iter().map(|id| id.0).collect(),
            learners: vec![wire::membership::Learner { id: 4, promote: false, replaces: 2 }],
        }),
    };
    wire::LogEntry { term: entry.id.term.0, index: entry.id.index, payload: Some(payload), crc: entry_crc(entry) }
}

fn requests() {
    let session = Some(wire::Session { id: 77, opened: 3, serial: 1 });
    let condition = |when| Some(wire::Condition { when: Some(when) });
    let set = wire::SetRequest {
        key: b"garden/door".to_vec().into(),
        value: b"open".to_vec().into(),
        condition: condition(wire::condition::When::Revision(4)),
        session,
    };
    let delete = wire::DeleteRequest { key: b"k".to_vec().into(), condition: condition(wire::condition::When::Absent(true)), session };
    let call = wire::CallRequest { tag: 5, call: Some(wire::call_request::Call::Set(set.clone())) };
    let header = wire::upload_request::Header { key: b"k".to_vec().into(), condition: None, session, size: Some(1 << 20) };
    let upload = wire::UploadRequest { part: Some(wire::upload_request::Part::Header(header)) };
    put("client_request", "set", &[&[0], &set.encode_to_vec()[..]].concat());
    put("client_request", "delete", &[&[1], &delete.encode_to_vec()[..]].concat());
    put("client_request", "call", &[&[2], &call.encode_to_vec()[..]].concat());
    put("client_request", "upload", &[&[3], &upload.encode_to_vec()[..]].concat());
    put("client_request", "hash", &[4; 33]);
    put("client_request", "cluster_id", &[4; 17]);
}

fn records() {
    let record = discovery::Record {
        protocol_version: 1,
        cluster_name: "home".parse().unwrap(),
        cluster_id: Some([7; 16]),
        node_id: 1,
        node_name: "pi1".parse().unwrap(),
        state: discovery::State::Formed,
        board_hint: Some(9),
    };
    let strings = |record: &discovery::Record| -> Vec<u8> {
        record.to_txt().iter().flat_map(|(key, value)| [key.as_bytes(), &piece(value.as_bytes())].concat()).collect()
    };
    put("discovery_record", "formed", &strings(&record));
    put(
        "discovery_record",
        "blank",
        &strings(&discovery::Record { cluster_id: None, state: discovery::State::Blank, board_hint: None, ..record }),
    );
    put("discovery_record", "addresses", b"http://pi1.local:50051,[fe80::1]:7,10.0.0.1");
}

fn stories() {
    put("any_message", "silence", &[0; 64]);
    put("any_message", "every_input", &(0..=255).collect::<Vec<u8>>());
    // Two voters, an empty log; time passes, the other one encourages, the own vote is durable, the other one votes.
    let elected = [&[1, 0, 0, 0][..], &[10, 63, 1], &[0, 0, 0, 1, 1, 0, 1], &[15, 0, 0], &[0, 0, 0, 3, 1]].concat();
    let then = |rest: &[u8]| [&elected[..], rest].concat();
    put("any_message", "elected", &elected);
    // A refusal of the last entry that a number can name.
    put("any_message", "refusal_of_the_last_number", &then(&[0, 0, 0, 12, 232, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    // A proposal, durable here and there, then a cut and a restart.
    put(
        "any_message",
        "written",
        &then(&[17, 1, 65, 1, 15, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 15, 0, 0, 6, 4, 1, 1, 21, 255, 1, 24, 10, 30, 1]),
    );
    // Two followers' worth of appends with configurations in them.
    put("any_message", "followed", &[2, 0, 0, 0, 0, 0, 5, 5, 0, 3, 1, 0, 0, 14, 0, 0, 1, 0, 2, 2, 65, 66, 3, 0, 1, 1, 0, 15, 0, 1]);
}

fn configurations() {
    let files = [
        ("node", "[node]\nname = \"pi1\"\nport = 50052\ndata_dir = \"/data\"\n\n[cluster]\nname = \"garden\"\nexpect = 3\n"),
        ("timing", "[timing]\nheartbeat_ms = 200\nelection_min_ms = 1000\nelection_max_ms = 2000\n[limits]\nmax_uploads = 4\n"),
        ("mistakes", "port = 1\n[nod]\nname = 3\n[cluster]\nnmae = \"x\"\nexpect = \"3\"\n[storage]\nlog_keep_mib = -1\n"),
        ("no_toml", "[node\nname = \"\\u{0}\n"),
    ];
    for (name, text) in files {
        put("config_file", name, text.as_bytes());
    }
}

/// One of the fixed certificates and keys.
fn of_circle(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("circle").join(name).with_extension("der")).unwrap()
}

const CLUSTER: [u8; 16] = [7; 16];

fn a_token() -> String {
    format!("rkv1.{}.{}", URL_SAFE_NO_PAD.encode([0xfe; 32]), URL_SAFE_NO_PAD.encode([0xfb; 24]))
}

fn tokens() {
    let token = a_token();
    put("token_text", "whole", token.as_bytes());
    put("token_text", "cut", &token.as_bytes()[..70]);
    put("token_text", "without_its_mark", &token.as_bytes()[5..]);
    put("token_text", "of_the_future", token.replace("rkv1", "rkv2").as_bytes());
    put("token_text", "with_a_line_end", format!("{token}\n").as_bytes());
    // The last digit of 32 bytes has two bits that mean nothing.
    put("token_text", "another_spelling", token.replacen("4.", "5.", 1).as_bytes());
    put("token_text", "of_the_right_length_in_bytes_only", format!("rkv1.{}a.{}", "\u{e9}".repeat(21), "A".repeat(32)).as_bytes());
}

fn certificates() {
    let with = |choices: [u8; 3], rest: &[u8]| [&choices, rest].concat();
    put("certificate", "node_serves", &[1, 0, 4]);
    put("certificate", "node_serves_a_joiner", &[2, 0, 4]);
    put("certificate", "node_calls", &[0, 0, 4]);
    put("certificate", "client_calls", &[0, 1, 4]);
    put("certificate", "client_serves", &[1, 1, 4]);
    put("certificate", "rogue_serves", &[1, 4, 2]);
    put("certificate", "rogue_serves_a_joiner", &[2, 4, 1]);
    put("certificate", "authority_serves", &with([2, 6, 4], &of_circle("authority")));
    put("certificate", "rogue_calls", &with([0, 6, 4], &of_circle("rogue_node")));
    put("certificate", "byte_flipped", &[1, 0, 4, 1, 1, 1, 0, 0, 1, 0xff]);
    put("certificate", "element_gone_and_signed", &[0, 2, 4, 0, 1, 30, 0]);
    put("certificate", "element_twice_and_signed", &[0, 3, 4, 0, 1, 40, 1]);
    put("certificate", "cut", &with([0, 6, 4], &of_circle("client")[..300]));
    put("certificate", "longer_than_it_says", &with([0, 6, 4], &[0x30, 0x82, 0xff, 0xff, 0x30, 0x80]));
    let cluster = "07".repeat(16);
    put("certificate", "name_of_a_node", &with([0, 5, 4], format!("rusty-kv://{cluster}/node/0000000000000001").as_bytes()));
    let client = format!("rusty-kv://{cluster}/client/0000000000000002?role=write&prefix=67617264656e2f");
    put("certificate", "name_of_a_client", &with([0, 5, 4], client.as_bytes()));
    put("certificate", "name_in_capitals", &with([0, 5, 4], client.replace("2f", "2F").as_bytes()));
    put("certificate_request", "of_a_node", &[0; 6]);
    put("certificate_request", "of_a_client", &[&[0, 0, 0, 3, 2][..], &piece(b"garden/")].concat());
    put("certificate_request", "of_a_client_with_a_long_prefix", &[&[0, 0, 0, 4, 2][..], &piece(&[b'a'; 129])].concat());
    put("certificate_request", "of_another_cluster", &[0, 255]);
    put("certificate_request", "signed_with_another_key", &[1, 0, 0, 0, 0, 0]);
    put("certificate_request", "for_ever_from_the_end_of_time", &[0, 0, 0, 0, 232, 232]);
    put("certificate_request", "from_1970_for_nothing", &[0, 0, 0, 0, 224, 224]);
    put("certificate_request", "plain", &[&[3, 0, 0, 0, 0, 0], &of_circle("request")[..]].concat());
    put("certificate_request", "element_gone_and_signed", &[0, 0, 0, 0, 0, 0, 0, 1, 4, 0]);
    put("certificate_request", "followed_by_something", &[&[3, 0, 0, 0, 0, 0], &of_circle("request")[..], &[0]].concat());
}

fn credentials(leaf: &str, key: &str) -> Credentials {
    Credentials { leaf: of_circle(leaf), key: of_circle(key), authorities: vec![of_circle("authority")] }
}

fn handshakes() {
    let clock: Clock = Arc::new(|| UnixSecs(1_800_000_000));
    let server = trust::server_config(&credentials("node", "node_key"), clock.clone()).unwrap();
    let caller = trust::client_config(&credentials("client", "client_key"), clock).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut caller = ClientConnection::new(caller, trust::server_name(&CLUSTER)).unwrap();
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    caller.write_tls(&mut hello).unwrap();
    server.read_tls(&mut &hello[..]).unwrap();
    server.process_new_packets().unwrap();
    while server.wants_write() {
        server.write_tls(&mut answer).unwrap();
    }
    put("tls_bytes", "hello", &[&[0, 0, 1], &hello[..]].concat());
    put("tls_bytes", "hello_twice", &[&[0, 0, 1], &hello[..], &hello].concat());
    put("tls_bytes", "hello_cut", &[&[0, 0, 1], &hello[..100]].concat());
    put("tls_bytes", "answer_to_another", &[&[1, 0, 1], &answer[..]].concat());
    put("tls_bytes", "answer_to_another_joiner", &[&[1, 1, 1], &answer[..]].concat());
    put("tls_bytes", "http", b"\0\0\x01PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put("tls_bytes", "alert", &[0, 0, 0, 21, 2, 0, 2, 40]);
    put("tls_bytes", "bytes_of_an_application", &[0, 0, 0, 23, 4, 0, 1, 2, 3, 4]);
    put("tls_bytes", "empty_records", &[0, 0, 0, 22, 0, 0, 22, 0, 0, 22, 0, 0, 20, 1, 0, 1]);
    put("tls_bytes", "left_alone", &[2, 0]);
    put("tls_bytes", "joiner_left_alone", &[2, 1]);
    put("tls_bytes", "hello_meddled_with", &[2, 0, 0, 1, 0, 60, 0, 1, 0xff]);
    put("tls_bytes", "version_of_a_record_meddled_with", &[2, 0, 0, 1, 0, 2, 0, 1, 3]);
    put("tls_bytes", "answer_meddled_with", &[2, 1, 1, 1, 1, 60, 0, 1, 0xff]);
    put("tls_bytes", "certificate_meddled_with", &[2, 0, 2, 1, 1, 60, 0, 1, 0xff]);
}

fn admissions() {
    let identity = wire::Identity { protocol_version: 1, node_id: 1, cluster_name: "home".into(), port: 50051, ..Default::default() };
    let request = of_circle("request");
    let proof = trust::prove(&[5; 32], &[6; 32], &request).to_vec();
    let by_node = wire::admit_request::Who::Node(wire::NodeApplicant { me: Some(identity) });
    let by_client = wire::admit_request::Who::Client(wire::ClientApplicant { name: "me@laptop".into() });
    let asked = wire::AdmitRequest { token_id: vec![4; 8].into(), csr: request.into(), proof: proof.into(), who: Some(by_node) };
    let message = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    put("admission", "node_asks", &message(0, asked.encode_to_vec()));
    put("admission", "client_asks", &message(0, wire::AdmitRequest { who: Some(by_client), ..asked.clone() }.encode_to_vec()));
    put("admission", "half_a_proof", &message(0, wire::AdmitRequest { proof: asked.proof.slice(..16), ..asked }.encode_to_vec()));
    let certificate =
        |leaf, time_s| wire::Certificate { leaf: of_circle(leaf).into(), authorities: vec![of_circle("authority").into()], time_s };
    let answer = |leaf, time_s| wire::AdmitResponse {
        certificate: Some(certificate(leaf, time_s)),
        cluster_id: CLUSTER.to_vec().into(),
        cluster_name: "home".into(),
        addresses: vec!["pi1.local:50051".into(), "10.0.0.1:7".into()],
        formed_id: CLUSTER.to_vec().into(),
    };
    put("admission", "node_answered", &message(1, answer("node", 1_800_000_000).encode_to_vec()));
    put("admission", "client_answered", &message(1, answer("client", 1_800_000_000).encode_to_vec()));
    put("admission", "node_answered_with_a_rogue", &message(1, answer("rogue_node", 1_800_000_000).encode_to_vec()));
    put("admission", "node_told_the_last_number", &message(1, answer("node", u64::MAX).encode_to_vec()));
    put("admission", "client_told_the_last_number", &message(1, answer("client", u64::MAX).encode_to_vec()));
    put("admission", "renewed", &message(2, certificate("node", 1_800_000_000).encode_to_vec()));
    put("admission", "renewed_with_nothing", &message(2, Vec::new()));
    let wanted = |role| wire::NewTokenRequest { role, prefix: b"garden/".to_vec().into(), ttl_s: 60, uses: 1 };
    put("admission", "token_wanted", &message(3, wanted(2).encode_to_vec()));
    put("admission", "token_wanted_for_a_role_of_the_future", &message(3, wanted(9).encode_to_vec()));
    let join = wire::JoinClusterRequest { token: a_token(), addresses: vec!["pi1.local".into()] };
    put("admission", "to_join", &message(4, join.encode_to_vec()));
    // A leaf, a choice of edits, authorities.
    put("admission", "made_for_a_node", &[5, 0, 0, 0, 1, 2]);
    put("admission", "made_for_a_client", &[5, 1, 0, 0, 1, 2]);
    put("admission", "made_of_too_many_authorities", &[5, 0, 0, 0, 5, 2, 2, 2, 2, 2]);
}

fn papers() {
    let text = |name: &str| BASE64.encode(of_circle(name));
    let of = |leaf: &str, key: &str| {
        format!("time_s = 1800000000\nkey = \"{}\"\nleaf = \"{}\"\nauthorities = [\"{}\"]\n", text(key), text(leaf), text("authority"))
    };
    let node = format!("format = 1\nformed_id = \"{}\"\n{}", BASE64.encode(CLUSTER), of("node", "node_key"));
    put("papers_file", "joined", node.as_bytes());
    let founding = format!("{node}\n[founding]\nauthority_key = \"{}\"\nvoters = 3\n", text("authority_key"));
    put("papers_file", "founding", founding.as_bytes());
    put("papers_file", "of_a_later_version", node.replace("format = 1", "format = 2").as_bytes());
    put("papers_file", "with_somebody_elses_key", node.replace(&text("node_key"), &text("client_key")).as_bytes());
    put("papers_file", "of_a_rogue", node.replace(&text("node"), &text("rogue_node")).as_bytes());
    put("papers_file", "cut", &node.as_bytes()[..400]);
    put("papers_file", "no_toml", b"[format\n\xff");
    put("papers_file", "time_before_1970", node.replace("1800000000", "-1").as_bytes());
    put("papers_file", "made", &[0, 0]);
    put("papers_file", "made_for_a_client", &[0, 1]);
    put("papers_file", "made_by_a_rogue", &[0, 2]);
    put("papers_file", "made_with_an_edited_key", &[0, 0, 2, 1, 1, 0, 30, 0, 1, 0xff]);
    let client = format!("format = 1\ncluster_name = \"home\"\naddresses = [\"pi1.local:50051\", \"?\"]\n{}", of("client", "client_key"));
    put("login_file", "client", client.as_bytes());
    put("login_file", "with_a_nodes_papers", client.replace(&text("client"), &text("node")).as_bytes());
    put("login_file", "without_authorities", client.replace(&text("authority"), "").as_bytes());
    put("login_file", "of_a_later_version", client.replace("format = 1", "format = 2").as_bytes());
    put("login_file", "no_toml", b"format = \"");
}

fn trusts() {
    // Each change: a token's id, which change, what belongs to it.
    let (found, take_over, drop_old) = ([0, 0, 0, 0, 3, 5], [0, 2, 0, 1], [0, 4, 0]);
    let (add_for_one_use, spend, revoke, later) = ([1, 6, 96], [1, 9, 0], [1, 8], [0, 11, 15]);
    let story = |changes: &[&[u8]], is_full: u8| [&[0, is_full, changes.len() as u8], &changes.concat()[..]].concat();
    put("trust_records", "used_up", &story(&[&found, &add_for_one_use, &spend, &spend, &revoke, &later], 0));
    put("trust_records", "rotated", &story(&[&found, &take_over, &drop_old, &drop_old, &[0, 4, 1]], 0));
    put("trust_records", "full", &story(&[&found, &add_for_one_use, &spend], 255));
    put("trust_records", "full_of_spent_ones", &story(&[&found, &add_for_one_use, &spend, &later, &[2, 6, 32]], 255));
    put("trust_records", "not_founded", &story(&[&add_for_one_use, &take_over, &later], 0));
    put("trust_records", "told_an_earlier_time", &story(&[&found, &[0, 11, 0]], 0));
    put("trust_records", "nothing", &[]);
}
