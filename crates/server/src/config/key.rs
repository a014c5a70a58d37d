//! Every key the node knows, in one table.
//!
//! Parsing, error texts, flags, `--help` and the packaged sample file are all made from it, so that none of them can
//! tell of a key that another does not have.

use discovery::{ClusterName, NodeName};

use super::value::{Kind, Rule};

/// One configurable value.
#[derive(Debug)]
pub struct Key {
    /// `section.name`, as in `node.port`.
    pub path: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// The TOML literal that the packaged file sets in place of the default.
    pub packaged: Option<&'static str>,
    pub flag: Option<Flag>,
    /// One paragraph for whoever edits the file.
    pub doc: &'static str,
}

/// What holds when nobody sets the key.
#[derive(Debug)]
pub enum Default {
    /// A TOML literal.
    Fixed(&'static str),
    /// Nothing fixed: what is done instead, and an example as a TOML literal.
    Otherwise { says: &'static str, example: &'static str },
}

/// A command line flag. Where two keys name the same one its text is `FIRST-SECOND`, in the table's order.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without the dashes.
    pub long: &'static str,
    pub value_name: &'static str,
}

/// The sections in the order of the sample file, with what each is about.
pub static SECTIONS: [(&str, &str); 8] = [
    ("node", "This node."),
    ("cluster", "The cluster it belongs to. Set peers or expect, not both; with neither a new node waits, pending."),
    ("network", "Where it is heard."),
    ("security", "Who is let in."),
    ("timing", "How long it waits. Give all nodes of a cluster the same values."),
    ("storage", "Disk and memory."),
    ("limits", "What one node carries at most at the same time."),
    ("log", "What it tells its operator."),
];

/// All keys, section by section.
pub static KEYS: [&Key; 27] = [
    &PORT,
    &NODE_NAME,
    &DATA_DIR,
    &BOARD,
    &CLUSTER_NAME,
    &PEERS,
    &EXPECT,
    &REPLACE_AFTER_S,
    &INTERFACES,
    &MDNS,
    &INSECURE,
    &HEARTBEAT_MS,
    &ELECTION_MIN_MS,
    &ELECTION_MAX_MS,
    &DISK_STALL_MS,
    &LOW_MARK_MIB,
    &LOG_KEEP_MIB,
    &LOG_KEEP_ENTRIES,
    &BLOCK_CACHE_MIB,
    &WRITE_BUFFER_MIB,
    &MAX_REQUESTS_QUEUED,
    &MAX_UPLOADS,
    &MAX_STREAMS_PER_CONNECTION,
    &MAX_CONNECTIONS,
    &MAX_CONNECTIONS_PER_ADDRESS,
    &COLLECT_MINUTES,
    &LOG_LEVEL,
];

pub static PORT: Key = Key {
    path: "node.port",
    kind: Kind::Whole { min: 1, max: 65_535, of: "" },
    default: Default::Fixed("50051"),
    packaged: None,
    flag: Some(Flag { long: "port", value_name: "P" }),
    doc: "The TCP port for clients and for the other nodes.",
};

pub static NODE_NAME: Key = Key {
    path: "node.name",
    kind: Kind::Text(Rule { says: "1 to 63 letters, digits, '.', '_' or '-'", holds: |text| text.parse::<NodeName>().is_ok() }),
    default: Default::Otherwise { says: "the host's name", example: "\"pi1\"" },
    packaged: None,
    flag: Some(Flag { long: "name", value_name: "NAME" }),
    doc: "What people call this node. Only for people: two nodes may share a name, their ids differ.",
};

pub static DATA_DIR: Key = Key {
    path: "node.data_dir",
    kind: Kind::Text(Rule { says: "a path; write a home directory out, only a shell expands ~", holds: is_path }),
    default: Default::Otherwise {
        says: "$STATE_DIRECTORY where systemd sets it, else rusty-kv/PORT in $XDG_STATE_HOME or ~/.local/state",
        example: "\"/var/lib/rusty-kv\"",
    },
    packaged: Some("\"/var/lib/rusty-kv\""),
    flag: Some(Flag { long: "data-dir", value_name: "D" }),
    doc: "Where everything durable lies. A directory belongs to one node for ever; never copy one to a second node. \
          A relative path starts at the working directory.",
};

pub static BOARD: Key = Key {
    path: "node.board",
    kind: Kind::Text(Rule {
        says: "1 to 128 printable characters",
        holds: |text| (1..=128).contains(&text.len()) && !text.contains(char::is_control),
    }),
    default: Default::Otherwise { says: "its serial number, else /etc/machine-id", example: "\"shelf-3\"" },
    packaged: None,
    flag: None,
    doc: "What tells this board from others when its card was replaced: the new node takes the old one's place by itself. \
          Only a keyed hash of it leaves the board.",
};

pub static REPLACE_AFTER_S: Key = Key {
    path: "cluster.replace_after_s",
    kind: Kind::Whole { min: 0, max: 31_536_000, of: "seconds" },
    default: Default::Fixed("600"),
    packaged: None,
    flag: None,
    doc: "A voter silent for this long is replaced when the same board comes back as a new node. 0: only by `rusty-kv member replace`.",
};

pub static CLUSTER_NAME: Key = Key {
    path: "cluster.name",
    kind: Kind::Text(Rule { says: "1 to 32 characters of a-z, 0-9 and '-'", holds: is_cluster_name }),
    default: Default::Fixed("\"rusty-kv\""),
    packaged: None,
    flag: Some(Flag { long: "cluster", value_name: "NAME" }),
    doc: "Nodes form a cluster only with nodes of the same cluster name. Two clusters on one network need two names.",
};

pub static PEERS: Key = Key {
    path: "cluster.peers",
    kind: Kind::List {
        rule: Rule { says: "addresses: HOST:PORT, HOST or http://HOST:PORT", holds: |_| true },
        example: "[\"10.0.0.12:50051\", \"10.0.0.13:50051\"]",
    },
    default: Default::Fixed("[]"),
    packaged: None,
    flag: Some(Flag { long: "peers", value_name: "LIST" }),
    doc: "All the other nodes, without this one: a cluster is formed of exactly these and this node, over these \
          addresses, without mDNS. At most 6. For networks without multicast and for several nodes on one machine.",
};

pub static EXPECT: Key = Key {
    path: "cluster.expect",
    kind: Kind::Whole { min: 1, max: 7, of: "nodes" },
    default: Default::Otherwise { says: "not set", example: "3" },
    packaged: None,
    flag: Some(Flag { long: "expect", value_name: "N" }),
    doc: "Form a cluster of exactly this many nodes, this one included, that find each other by mDNS. Give it to each \
          of them. Read only by a node that belongs to no cluster yet.",
};

pub static INTERFACES: Key = Key {
    path: "network.interfaces",
    kind: Kind::List {
        rule: Rule { says: "interface names of 1 to 15 characters", holds: is_interface },
        example: "[\"eth0\", \"wlan0\"]",
    },
    default: Default::Fixed("[]"),
    packaged: None,
    flag: Some(Flag { long: "interface", value_name: "NAME" }),
    doc: "Where mDNS announces this node and looks for others. Empty: every interface that looks like a LAN, so neither \
          loopback nor those of containers. \"lo\" alone keeps the node on this machine: it also listens there only.",
};

pub static MDNS: Key = Key {
    path: "network.mdns",
    kind: Kind::Switch,
    default: Default::Fixed("true"),
    packaged: None,
    flag: None,
    doc: "Announce this node by mDNS, and find others. expect needs it; with peers it is off in any case.",
};

pub static INSECURE: Key = Key {
    path: "security.insecure",
    kind: Kind::Switch,
    default: Default::Fixed("false"),
    packaged: None,
    flag: Some(Flag { long: "insecure", value_name: "" }),
    doc: "Listen beyond this machine as a member of an open cluster, without encryption and without asking who connects: whoever reaches \
          the port can then read, change and delete everything. A closed cluster, made by `rusty-kv cluster create`, does not need it.",
};

pub static HEARTBEAT_MS: Key = Key {
    path: "timing.heartbeat_ms",
    kind: Kind::Whole { min: 5, max: 60_000, of: "milliseconds" },
    default: Default::Fixed("50"),
    packaged: Some("200"),
    flag: Some(Flag { long: "heartbeat-ms", value_name: "MS" }),
    doc: "How often a leader shows that it lives.",
};

pub static ELECTION_MIN_MS: Key = Key {
    path: "timing.election_min_ms",
    kind: Kind::Whole { min: 10, max: 600_000, of: "milliseconds" },
    default: Default::Fixed("150"),
    packaged: Some("1000"),
    flag: Some(Flag { long: "election-ms", value_name: "MIN-MAX" }),
    doc: "A node that hears no leader asks for votes after a random time between election_min_ms and election_max_ms. \
          The lower end is at least twice the heartbeat. Cards that stall and Wi-Fi need the longer values of the packaged file.",
};

pub static ELECTION_MAX_MS: Key = Key {
    path: "timing.election_max_ms",
    kind: Kind::Whole { min: 10, max: 600_000, of: "milliseconds" },
    default: Default::Fixed("300"),
    packaged: Some("2000"),
    flag: Some(Flag { long: "election-ms", value_name: "MIN-MAX" }),
    doc: "The upper end, at least 1.2 times the lower: the spread keeps two nodes from asking at the same moment.",
};

pub static DISK_STALL_MS: Key = Key {
    path: "timing.disk_stall_ms",
    kind: Kind::Whole { min: 100, max: 600_000, of: "milliseconds" },
    default: Default::Fixed("2000"),
    packaged: None,
    flag: None,
    doc: "A leader whose disk has not finished a write for this long, while another node's disk has, steps down.",
};

pub static LOW_MARK_MIB: Key = Key {
    path: "storage.low_mark_mib",
    kind: Kind::Whole { min: 0, max: 1_048_576, of: "MiB" },
    default: Default::Fixed("0"),
    packaged: None,
    flag: None,
    doc: "Below this much free space on the data disk, writes and uploads are refused as \"no room\"; deletes go on. \
          0: the larger of 512 MiB and 5 % of the disk, less on small disks.",
};

pub static LOG_KEEP_MIB: Key = Key {
    path: "storage.log_keep_mib",
    kind: Kind::Whole { min: 1, max: 1_048_576, of: "MiB" },
    default: Default::Fixed("256"),
    packaged: None,
    flag: None,
    doc: "Log kept although the state no longer needs it. A node that was off catches up from it; one that missed more is sent the whole state.",
};

pub static LOG_KEEP_ENTRIES: Key = Key {
    path: "storage.log_keep_entries",
    kind: Kind::Whole { min: 100, max: 1_000_000_000, of: "entries" },
    default: Default::Fixed("1000000"),
    packaged: None,
    flag: None,
    doc: "Like log_keep_mib, for many small entries: whichever bound is reached first.",
};

pub static BLOCK_CACHE_MIB: Key = Key {
    path: "storage.block_cache_mib",
    kind: Kind::Whole { min: 1, max: 65_536, of: "MiB" },
    default: Default::Fixed("16"),
    packaged: None,
    flag: None,
    doc: "Memory for recently read blocks of the database.",
};

pub static WRITE_BUFFER_MIB: Key = Key {
    path: "storage.write_buffer_mib",
    kind: Kind::Whole { min: 1, max: 4_096, of: "MiB" },
    default: Default::Fixed("16"),
    packaged: None,
    flag: None,
    doc: "Memory that the database fills before it writes a table file. There are up to two such buffers.",
};

pub static MAX_REQUESTS_QUEUED: Key = Key {
    path: "limits.max_requests_queued",
    kind: Kind::Whole { min: 1, max: 1_048_576, of: "requests" },
    default: Default::Fixed("1024"),
    packaged: None,
    flag: None,
    doc: "Requests that wait for their turn. One more is answered \"overloaded\".",
};

pub static MAX_UPLOADS: Key = Key {
    path: "limits.max_uploads",
    kind: Kind::Whole { min: 1, max: 1_024, of: "uploads" },
    default: Default::Fixed("8"),
    packaged: None,
    flag: None,
    doc: "Large values on their way in. One more is answered \"overloaded\".",
};

pub static MAX_STREAMS_PER_CONNECTION: Key = Key {
    path: "limits.max_streams_per_connection",
    kind: Kind::Whole { min: 1, max: 65_536, of: "streams" },
    default: Default::Fixed("256"),
    packaged: None,
    flag: None,
    doc: "Calls that one connection has open. Further ones wait in the client.",
};

pub static MAX_CONNECTIONS: Key = Key {
    path: "limits.max_connections",
    kind: Kind::Whole { min: 16, max: 65_536, of: "connections" },
    default: Default::Fixed("1024"),
    packaged: None,
    flag: None,
    doc: "Open connections of clients; other nodes have places of their own. One more is closed at once.",
};

pub static MAX_CONNECTIONS_PER_ADDRESS: Key = Key {
    path: "limits.max_connections_per_address",
    kind: Kind::Whole { min: 1, max: 65_536, of: "connections" },
    default: Default::Fixed("64"),
    packaged: None,
    flag: None,
    doc: "Open connections of clients from one address, in a closed cluster. One more is closed at once. Other nodes, and this machine itself, \
          are not counted.",
};

pub static COLLECT_MINUTES: Key = Key {
    path: "limits.collect_minutes",
    kind: Kind::Whole { min: 0, max: 1_440, of: "minutes" },
    default: Default::Fixed("10"),
    packaged: None,
    flag: None,
    doc: "Between two collections of large values that no key names any more. Whoever uploads just then has to send again. \
          0: one second.",
};

pub static LOG_LEVEL: Key = Key {
    path: "log.level",
    kind: Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
    default: Default::Fixed("\"info\""),
    packaged: None,
    flag: Some(Flag { long: "log-level", value_name: "LEVEL" }),
    doc: "How much is logged. The environment variable RUST_LOG, where set, has the last word, also for single modules.",
};

impl Key {
    pub fn section(&self) -> &'static str {
        self.split().0
    }

    /// The part behind the section.
    pub fn name(&self) -> &'static str {
        self.split().1
    }

    /// The environment variable that sets this key: `RUSTY_KV_NODE_PORT` for `node.port`.
    pub fn env(&self) -> String {
        format!("RUSTY_KV_{}", self.path.to_uppercase().replace('.', "_"))
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').expect("every key stands in a section")
    }
}

/// The key of this path, `section.name`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.path == path)
}

/// The keys that a flag sets: one, or two with one text.
pub fn keys_of_flag(long: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().filter(move |key| key.flag.is_some_and(|flag| flag.long == long))
}

/// The keys of a section in the table's order.
pub fn in_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().filter(move |key| key.section() == section)
}

/// Narrower than what is understood from others: no two names that differ in case only.
fn is_cluster_name(text: &str) -> bool {
    text.parse::<ClusterName>().is_ok() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0') && text != "~" && !text.starts_with("~/")
}

/// What Linux allows (IFNAMSIZ less the closing zero).
fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ',')
}
