//! A user's first contact: what a node makes of its files, environment and flags, and what it says when they are wrong.

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use discovery::Scope;
use server::config::{self, Config, Formation, GivenFlag, KEYS, Listen, Request, Surroundings};

/// Without the dashes, and its text.
type Flag = (&'static str, &'static str);

/// One try at a configuration.
#[derive(Default)]
struct Story<'a> {
    /// Path below the story's folder and text. `node.toml` is the one named by `--config`.
    files: &'a [(&'a str, &'a str)],
    env: &'a [(&'a str, &'a str)],
    flags: &'a [Flag],
}

impl Story<'_> {
    /// Loads it in a folder of this name. Errors come as text, with the folder's path left out.
    fn load(&self, name: &str) -> Result<Config, String> {
        let folder = folder(name);
        for (path, text) in self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let has_file = self.files.iter().any(|(path, _)| *path == "node.toml");
        let vars = [("HOME", "/home/u")].iter().chain(self.env);
        let around = Surroundings {
            default_file: folder.join("rusty-kv.toml"),
            vars: vars.map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
            hostname: "pi1.lan\n".to_owned(),
        };
        let request = Request {
            file: has_file.then(|| folder.join("node.toml")),
            flags: self.flags.iter().map(|(long, text)| GivenFlag { long, text: text.into() }).collect(),
        };
        config::load(&request, &around).map_err(|error| error.to_string().replace(&format!("{}/", folder.display()), ""))
    }
}

/// An empty folder below the target directory.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Where it is heard as long as it belongs to no closed cluster.
fn open(config: &Config) -> (Listen, Option<Scope>) {
    (config.network.listen, config.network.mdns.clone())
}

#[test]
fn without_any_word_a_node_is_private_and_pending() {
    let config = Story::default().load("silent").unwrap();
    assert_eq!((config.port, config.node_name.as_str(), config.cluster_name.as_str()), (50051, "pi1", "rusty-kv"));
    assert_eq!(config.data_dir, Path::new("/home/u/.local/state/rusty-kv/50051"));
    assert_eq!(config.formation, Formation::Pending);
    assert_eq!(open(&config), (Listen::Loopback, Some(Scope::Loopback)));
    let millis = |ms| Duration::from_millis(ms);
    assert_eq!((config.timing.heartbeat, config.timing.election_min, config.timing.election_max), (millis(50), millis(150), millis(300)));
    assert_eq!(config.storage.low_mark_bytes, None);
    assert!(config.files.is_empty());
}

#[test]
fn each_layer_covers_the_one_before() {
    let file = ("node.toml", "[node]\nport = 1001\nname = \"file\"\n[storage]\nlow_mark_mib = 3\n");
    let drop_ins = [
        ("conf.d/20-b.toml", "node.port = 1020"),
        ("conf.d/10-a.toml", "node.port = 1010\nnode.name = \"a\""),
        ("conf.d/.30-hidden.toml", "node.port = 1030"),
        ("conf.d/40-editor.toml~", "node.port = 1040"),
    ];
    let all: Vec<_> = [file].into_iter().chain(drop_ins).collect();
    let env = [("RUSTY_KV_NODE_PORT", "2000"), ("RUSTY_KV_ADDR", "for the client"), ("RUSTY_KV_CLUSTER", "too")];
    let flags = [("port", "3000")];

    let of_file = Story { files: &[file], ..Story::default() }.load("file").unwrap();
    assert_eq!((of_file.port, of_file.node_name.as_str(), of_file.storage.low_mark_bytes), (1001, "file", Some(3 << 20)));
    let of_drop_ins = Story { files: &all, ..Story::default() }.load("drop-ins").unwrap();
    assert_eq!((of_drop_ins.port, of_drop_ins.node_name.as_str()), (1020, "a"));
    let read: Vec<&str> = of_drop_ins.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(read, ["node.toml", "10-a.toml", "20-b.toml"]);
    let of_env = Story { files: &all, env: &env, ..Story::default() }.load("env").unwrap();
    assert_eq!((of_env.port, of_env.node_name.as_str()), (2000, "a"));
    let of_flags = Story { files: &all, env: &env, flags: &flags }.load("flags").unwrap();
    assert_eq!(of_flags.port, 3000);
}

#[test]
fn the_default_file_is_read_if_it_is_there() {
    let with = Story { files: &[("rusty-kv.toml", "node.port = 7")], ..Story::default() }.load("default-file").unwrap();
    assert_eq!(with.port, 7);
    let drop_in_only = Story { files: &[("conf.d/a.toml", "node.port = 8")], ..Story::default() }.load("default-drop-in").unwrap();
    assert_eq!(drop_in_only.port, 8);
}

#[test]
fn every_key_is_set_by_its_variable() {
    let env = [
        ("RUSTY_KV_NODE_PORT", "50060"),
        ("RUSTY_KV_NODE_NAME", "garden"),
        ("RUSTY_KV_NODE_DATA_DIR", "data"),
        ("RUSTY_KV_NODE_BOARD", "shelf 3"),
        ("RUSTY_KV_CLUSTER_NAME", "green"),
        ("RUSTY_KV_CLUSTER_EXPECT", "5"),
        ("RUSTY_KV_CLUSTER_REPLACE_AFTER_S", "90"),
        ("RUSTY_KV_NETWORK_INTERFACES", "eth0, wlan0"),
        ("RUSTY_KV_NETWORK_MDNS", "true"),
        ("RUSTY_KV_SECURITY_INSECURE", "true"),
        ("RUSTY_KV_TIMING_HEARTBEAT_MS", "100"),
        ("RUSTY_KV_TIMING_ELECTION_MIN_MS", "400"),
        ("RUSTY_KV_TIMING_ELECTION_MAX_MS", "900"),
        ("RUSTY_KV_TIMING_DISK_STALL_MS", "5000"),
        ("RUSTY_KV_STORAGE_LOW_MARK_MIB", "64"),
        ("RUSTY_KV_STORAGE_LOG_KEEP_MIB", "3"),
        ("RUSTY_KV_STORAGE_LOG_KEEP_ENTRIES", "1000"),
        ("RUSTY_KV_STORAGE_BLOCK_CACHE_MIB", "4"),
        ("RUSTY_KV_STORAGE_WRITE_BUFFER_MIB", "2"),
        ("RUSTY_KV_LIMITS_MAX_REQUESTS_QUEUED", "11"),
        ("RUSTY_KV_LIMITS_MAX_UPLOADS", "12"),
        ("RUSTY_KV_LIMITS_MAX_STREAMS_PER_CONNECTION", "13"),
        ("RUSTY_KV_LIMITS_MAX_CONNECTIONS", "17"),
        ("RUSTY_KV_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "18"),
        ("RUSTY_KV_LIMITS_COLLECT_MINUTES", "7"),
        ("RUSTY_KV_LOG_LEVEL", "debug"),
    ];
    let config = Story { env: &env, ..Story::default() }.load("variables").unwrap();
    assert_eq!((config.port, config.node_name.as_str(), config.cluster_name.as_str()), (50060, "garden", "green"));
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!((config.board.as_deref(), config.replace_after), (Some("shelf 3"), Some(Duration::from_secs(90))));
    assert_eq!(config.formation, Formation::Expect(NonZeroU8::new(5).unwrap()));
    assert_eq!(open(&config), (Listen::Any, Some(Scope::Named(vec!["eth0".into(), "wlan0".into()]))));
    assert_eq!(config.timing.heartbeat, Duration::from_millis(100));
    assert_eq!(config.timing.election_min, Duration::from_millis(400));
    assert_eq!(config.timing.election_max, Duration::from_millis(900));
    assert_eq!(config.timing.disk_stall, Duration::from_secs(5));
    assert_eq!(config.storage.low_mark_bytes, Some(64 << 20));
    assert_eq!((config.storage.log_keep_bytes, config.storage.log_keep_entries), (3 << 20, 1_000));
    assert_eq!((config.storage.block_cache_bytes, config.storage.write_buffer_bytes), (4 << 20, 2 << 20));
    assert_eq!((config.limits.requests_queued, config.limits.uploads), (11, 12));
    assert_eq!((config.limits.streams_per_connection, config.limits.connections), (13, 17));
    assert_eq!(config.limits.connections_per_address, 18);
    assert_eq!(config.limits.collect, Duration::from_secs(420));
    assert_eq!(config.log_level, log::LevelFilter::Debug);
    let unset: Vec<String> = KEYS.iter().map(|key| key.env()).filter(|name| env.iter().all(|(set, _)| set != name)).collect();
    assert_eq!(unset, ["RUSTY_KV_CLUSTER_PEERS"], "which excludes expect");
}

#[test]
fn who_forms_with_whom_and_who_hears_it() {
    let lo = Some(Scope::Loopback);
    let peers_here = ("peers", "http://127.0.0.1:50052,http://localhost:50053,[::1]:50054");
    let cases: [(&str, &[Flag], Listen, Option<Scope>); 10] = [
        ("nothing", &[], Listen::Loopback, lo.clone()),
        ("peers-here", &[peers_here], Listen::Loopback, None),
        ("peers-here-insecure", &[peers_here, ("insecure", "true")], Listen::Loopback, None),
        ("peers-here-eth0", &[peers_here, ("insecure", "true"), ("interface", "eth0")], Listen::Any, None),
        ("peers-there", &[("peers", "pi2,pi3"), ("insecure", "true")], Listen::Any, None),
        ("expect-lo", &[("expect", "3"), ("interface", "lo")], Listen::Loopback, lo.clone()),
        ("expect-lo-insecure", &[("expect", "3"), ("interface", "lo"), ("insecure", "true")], Listen::Loopback, lo.clone()),
        ("expect-lan", &[("expect", "3"), ("insecure", "true")], Listen::Any, Some(Scope::Lan)),
        ("until-it-is-closed", &[("interface", "eth0")], Listen::Loopback, lo.clone()),
        ("expect-one", &[("expect", "1")], Listen::Loopback, lo),
    ];
    for (name, flags, listen, mdns) in cases {
        let config = Story { flags, ..Story::default() }.load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(open(&config), (listen, mdns), "{name}");
    }
    let config = Story { flags: &[peers_here], ..Story::default() }.load("peers").unwrap();
    let Formation::Peers(peers) = config.formation else { panic!("{:?}", config.formation) };
    assert_eq!(peers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:50052", "localhost:50053", "[::1]:50054"]);
    let silent = Story { flags: &[("insecure", "true")], env: &[("RUSTY_KV_NETWORK_MDNS", "false")], ..Story::default() };
    assert_eq!(open(&silent.load("mdns-off").unwrap()), (Listen::Any, None));
}

#[test]
fn a_member_of_a_closed_cluster_is_heard_on_every_address_unless_it_is_kept_here() {
    for (name, flags, listen, mdns) in [
        ("closed", &[][..], Listen::Any, Some(Scope::Lan)),
        ("closed-eth0", &[("interface", "eth0")], Listen::Any, Some(Scope::Named(vec!["eth0".into()]))),
        ("closed-lo", &[("interface", "lo")], Listen::Loopback, Some(Scope::Loopback)),
    ] {
        let network = Story { flags, ..Story::default() }.load(name).unwrap().network;
        assert_eq!((network.listen_when_closed, network.mdns_when_closed), (listen, mdns), "{name}");
    }
}

#[test]
fn a_wrong_file_names_place_key_value_and_way_out() {
    for (text, expected) in [
        ("[node]\nprot = 1", "node.toml:2: unknown key node.prot\n      did you mean port?"),
        ("[node]\nexpect = 3", "node.toml:2: unknown key node.expect\n      did you mean expect under [cluster]?"),
        ("[log]\ncolour = 3", "node.toml:2: unknown key log.colour\n      keys of [log]: level"),
        ("\n[nod]\nport = 1", "node.toml:2: unknown section [nod]\n      did you mean [node]?"),
        ("[[node]]\nport = 1", "node.toml:1: node is a section and has no value itself"),
        ("node = 1", "node.toml:1: node is a section and has no value itself\n      write [node] on a line of its own"),
        ("[zzz]\n", "node.toml:1: unknown section [zzz]\n      sections: node, cluster,"),
        ("port = 1", "node.toml:1: unknown key port outside of every section\n      did you mean port under [node]?"),
        ("node.port = 70_000", "node.toml:1: node.port = 70_000 is not allowed\n      allowed: a whole number from 1 to 65535"),
        ("node.port = -1", "node.port = -1 is not allowed"),
        ("node.port = 1.5", "node.port = 1.5 is not allowed"),
        ("node.port = \"50051\"", "node.port = \"50051\" is not allowed\n      allowed: a whole number from 1 to 65535, without quotes"),
        ("security.insecure = 1", "security.insecure = 1 is not allowed\n      allowed: true or false"),
        (
            "node.data_dir = \"~/kv\"",
            "node.data_dir = \"~/kv\" is not allowed\n      allowed: in quotes, a path; write a home directory out",
        ),
        ("node.data_dir = \"\"", "node.data_dir = \"\" is not allowed"),
        ("node.name = \"a b\"", "node.name = \"a b\" is not allowed\n      allowed: in quotes, 1 to 63"),
        ("cluster.name = \"Rusty\"", "cluster.name = \"Rusty\" is not allowed\n      allowed: in quotes, 1 to 32 characters of a-z"),
        ("cluster.expect = 0", "cluster.expect = 0 is not allowed\n      allowed: a whole number of nodes from 1 to 7"),
        ("cluster.expect = 8", "cluster.expect = 8 is not allowed"),
        ("cluster.peers = \"pi2\"", "cluster.peers = \"pi2\" is not allowed\n      allowed: a list of addresses"),
        ("cluster.peers = [1]", "cluster.peers = [1] is not allowed"),
        (
            "cluster.peers = [\"pi2:x\"]",
            "node.toml:1: cluster.peers = \"pi2:x\" is not allowed\n      allowed: `pi2:x` is not a node's address",
        ),
        ("log.level = \"loud\"", "log.level = \"loud\" is not allowed\n      allowed: one of \"error\", \"warn\""),
        ("[node]\nport = 1\nport = 2", "node.toml:3: is not TOML: duplicate key"),
        ("[node]\nport =", "node.toml:2: is not TOML:"),
        ("log.level = \"a\\u001b[31m\"", "log.level = \"a\\u001b[31m\" is not allowed"),
    ] {
        let error = Story { files: &[("node.toml", text)], ..Story::default() }.load("wrong-file").expect_err(text);
        assert!(error.contains(expected), "{text}\n{error}");
        assert!(error.starts_with("1 error in"), "{text}\n{error}");
    }
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    let env = |name, value, expected: &str| {
        let error = Story { env: &[(name, value)], ..Story::default() }.load("wrong-env").expect_err(name);
        assert!(error.contains(expected), "{error}");
    };
    env(
        "RUSTY_KV_NODE_PORT",
        "",
        "environment RUSTY_KV_NODE_PORT: node.port = \"\" is not allowed\n      allowed: a whole number from 1 to 65535",
    );
    env("RUSTY_KV_NODE_PROT", "1", "environment RUSTY_KV_NODE_PROT: unknown key\n      did you mean RUSTY_KV_NODE_PORT?");
    env("RUSTY_KV_NOD_PORT", "1", "did you mean RUSTY_KV_NODE_PORT?");
    env("RUSTY_KV_NODE_COLOUR", "1", "environment RUSTY_KV_NODE_COLOUR: unknown key");
    env("RUSTY_KV_SECURITY_INSECURE", "yes", "allowed: true or false");

    let flag = |flags: &[Flag], expected: &str| {
        let error = Story { flags, ..Story::default() }.load("wrong-flag").expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    flag(&[("port", "x")], "--port: node.port = \"x\" is not allowed");
    flag(
        &[("election-ms", "300")],
        "--election-ms: timing.election_min_ms = \"300\" is not allowed\n      allowed: MIN-MAX, such as 150-300",
    );
    flag(&[("election-ms", "150-x")], "--election-ms: timing.election_max_ms = \"x\" is not allowed");
    flag(&[("interface", "lo,an interface")], "--interface: network.interfaces");
}

#[test]
fn values_that_do_not_go_together_name_each_other() {
    for (flags, expected) in [
        (
            &[("peers", "pi2"), ("expect", "3"), ("insecure", "true")][..],
            "--expect: cluster.expect = 3 together with cluster.peers (--peers)",
        ),
        (
            &[("expect", "3")],
            "--expect: cluster.expect = 3 looks for nodes on other machines\n      nodes that find each other without a token",
        ),
        (
            &[("peers", "127.0.0.1:50052,pi2")],
            "--peers: cluster.peers names pi2:50051, another machine\n      nodes that find each other without a token",
        ),
        (&[("peers", "pi2"), ("interface", "lo"), ("insecure", "true")], "network.interfaces = lo (--interface) keeps this node to itself"),
        (&[("peers", "127.0.0.1:50052,127.0.0.1")], "cluster.peers = \"127.0.0.1\" is not allowed\n      allowed: only the other nodes"),
        (
            &[("peers", "pi2,pi3,pi2:50051"), ("insecure", "true")],
            "cluster.peers = \"pi2:50051\" is not allowed\n      allowed: each of the other nodes once",
        ),
        (&[("peers", "a,b,c,d,e,f,g"), ("insecure", "true")], "cluster.peers names 7 nodes\n      allowed: at most 6"),
        (
            &[("heartbeat-ms", "76")],
            "--heartbeat-ms: timing.election_min_ms = 150 (default) is less than twice timing.heartbeat_ms = 76 (--heartbeat-ms)",
        ),
        (&[("election-ms", "200-239")], "timing.election_max_ms = 239 (--election-ms) is less than 1.2 times"),
        (&[("election-ms", "300-200")], "allowed is election_max_ms >= 360"),
    ] {
        let error = Story { flags, ..Story::default() }.load("together").expect_err(expected);
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("1 error in"), "{error}");
    }
    let at_the_edge = [("heartbeat-ms", "100"), ("election-ms", "200-240")];
    Story { flags: &at_the_edge, ..Story::default() }.load("edge").unwrap();
    let blind = Story { files: &[("node.toml", "[network]\nmdns = false\n[cluster]\nexpect = 1\n")], ..Story::default() };
    assert!(
        blind.load("blind").unwrap_err().contains("node.toml:4: cluster.expect = 1 needs mDNS, but network.mdns = false (node.toml:2)")
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_they_stand() {
    let story = Story {
        files: &[
            ("node.toml", "[timing]\nheartbeat_ms = 0\n[node]\nport = 0\nname = 1\n"),
            ("conf.d/1.toml", "node.port = 5 5"),
            ("conf.d/2.toml", "node.port = false"),
        ],
        env: &[("RUSTY_KV_NODE_PORT", "b"), ("RUSTY_KV_LOG_LEVEL", "a")],
        flags: &[("port", "c"), ("election-ms", "300-300"), ("peers", "::x"), ("expect", "3")],
    };
    let error = story.load("all").unwrap_err();
    let places: Vec<&str> = error
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split(": ").next().unwrap().trim())
        .collect();
    assert_eq!(
        places,
        [
            "node.toml:2",
            "node.toml:4",
            "node.toml:5",
            "conf.d/1.toml:1",
            "conf.d/2.toml:1",
            "environment RUSTY_KV_LOG_LEVEL",
            "environment RUSTY_KV_NODE_PORT",
            "--port",
            "--peers",
            "--election-ms"
        ],
        "{error}"
    );
    assert!(error.starts_with("10 errors in"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_no_empty_one() {
    let folder = folder("unreadable");
    let around = Surroundings { default_file: folder.clone(), vars: vec![("HOME".into(), "/home/u".into())], hostname: String::new() };
    let load = |file: Option<PathBuf>| config::load(&Request { file, flags: Vec::new() }, &around).map_err(|error| error.to_string());
    assert!(load(Some(folder.join("absent.toml"))).unwrap_err().contains("absent.toml: cannot be read: "));
    assert!(load(None).unwrap_err().contains("unreadable: cannot be read: "), "a folder in the default file's place");
    std::os::unix::fs::symlink("nowhere", folder.join("rusty-kv.toml")).unwrap();
    let dangling = Surroundings { default_file: folder.join("rusty-kv.toml"), ..around.clone() };
    assert!(config::load(&Request::default(), &dangling).unwrap_err().to_string().contains("rusty-kv.toml: cannot be read: "));
    fs::write(folder.join("latin1.toml"), b"node.name = \"\xe9\"").unwrap();
    assert!(load(Some(folder.join("latin1.toml"))).unwrap_err().contains("latin1.toml: cannot be read: "));
    fs::write(folder.join("huge.toml"), "#".repeat(2 << 20)).unwrap();
    assert!(load(Some(folder.join("huge.toml"))).unwrap_err().contains("larger than 1048576 bytes"));
    fs::write(folder.join("good.toml"), "").unwrap();
    fs::write(folder.join("conf.d"), "a file").unwrap();
    assert!(load(Some(folder.join("good.toml"))).unwrap_err().contains("conf.d: cannot be listed: "));
}

/// Runs the real binary without the tester's environment.
fn rusty_kvd(env: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.env_clear().env("HOME", env!("CARGO_TARGET_TMPDIR")).envs(env.iter().copied()).args(args).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_config_exits_78_with_what_a_start_would_say() {
    let folder = folder("binary");
    let (good, bad) = (folder.join("good.toml"), folder.join("bad.toml"));
    fs::write(&good, "node.port = 50071\n").unwrap();
    fs::write(&bad, "node.port = 0\nnode.prot = 1\n").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());

    assert_eq!(told(&rusty_kvd(&[], &["--check-config", good])), (Some(0), format!("ok: {good}\n"), String::new()));
    assert_eq!(told(&rusty_kvd(&[], &["--check-config", "--config", good])).0, Some(2), "one file is named once");
    let (code, stdout, checked) = told(&rusty_kvd(&[], &["--check-config", bad]));
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{checked}");
    assert!(
        checked.starts_with(&format!("rusty-kvd: 2 errors in the configuration\n  {bad}:1: node.port = 0 is not allowed\n")),
        "{checked}"
    );
    let (code, stdout, started) = told(&rusty_kvd(&[], &["--config", bad]));
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{started}");
    assert!(started.starts_with(&checked), "{started}");
    let (code, _, stderr) = told(&rusty_kvd(&[("RUSTY_KV_NODE_PORT", "x")], &["--check-config", good, "--log-level", "y"]));
    assert_eq!(code, Some(78));
    assert!(stderr.contains("RUSTY_KV_NODE_PORT") && stderr.contains("--log-level"), "{stderr}");
}

#[test]
fn flags_reach_their_keys() {
    let folder = folder("flags-alone");
    let empty = folder.join("empty.toml");
    fs::write(&empty, "").unwrap();
    let check = |args: &[&str]| told(&rusty_kvd(&[], &[&["--check-config", empty.to_str().unwrap()], args].concat()));
    let all = [
        "--port=50071",
        "--expect=3",
        "--interface=lo",
        "--interface",
        "eth0,wlan0",
        "--data-dir=d",
        "--name=n",
        "--cluster=c",
        "--insecure",
        "--heartbeat-ms=100",
        "--election-ms=300-600",
        "--log-level=warn",
    ];
    assert_eq!(check(&all).0, Some(0), "{:?}", check(&all));
    assert_eq!(check(&["--peers", "http://127.0.0.1:50052,http://127.0.0.1:50053"]).0, Some(0));
    for (args, key) in [
        (&["--port", "0"][..], "node.port"),
        (&["--peers", "127.0.0.1:1", "--peers", "127.0.0.1:1"], "cluster.peers"),
        (&["--expect", "9"], "cluster.expect"),
        (&["--interface", "lo", "--interface", "a b"], "network.interfaces"),
        (&["--data-dir", ""], "node.data_dir"),
        (&["--name", ""], "node.name"),
        (&["--cluster", "C"], "cluster.name"),
        (&["--heartbeat-ms", "-5"], "timing.heartbeat_ms"),
        (&["--election-ms", "9-9"], "timing.election_min_ms"),
        (&["--log-level", "loud"], "log.level"),
        (&["--expect", "3"], "--insecure"),
    ] {
        let (code, _, stderr) = check(args);
        assert!(code == Some(78) && stderr.contains(key), "{args:?}: {code:?} {stderr}");
    }
}

#[test]
fn usage_speaks_of_rusty_kvd() {
    let (code, stdout, stderr) = told(&rusty_kvd(&[], &["--help"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("Usage: rusty-kvd"), "{stdout}");
    for key in KEYS {
        if let Some(flag) = key.flag {
            assert!(stdout.contains(&format!("--{} ", flag.long)) && stdout.contains(key.path), "{}", key.path);
        }
    }
    let (code, stdout, stderr) = told(&rusty_kvd(&[], &["--prot", "1"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("'--port'") && stderr.contains("Usage: rusty-kvd") && !stderr.contains("server"), "{stderr}");
    assert_eq!(told(&rusty_kvd(&[], &["--version"])).1, format!("rusty-kvd {}\n", env!("CARGO_PKG_VERSION")));
}
