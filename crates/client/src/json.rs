//! What `-o json` prints: the schema that scripts may rely on. Fields are only ever added.
//!
//! Bytes are text where they are UTF-8, else base64 (standard alphabet, padded) under the same name with `_b64` behind it; of `key` and
//! `key_b64` exactly one is there. Revisions, sizes (bytes) and times (milliseconds) are numbers; ids and hashes are hex strings,
//! a node id 16 digits, a cluster id 32, a hash 64. A field that is not known is absent.
//!
//! | command | stdout |
//! |---|---|
//! | `set`, `upload` | one [`Write`] |
//! | `get` | one object: [`Entry`] and `value` or `value_b64`; a value above 64 KiB always as `value_b64` |
//! | `download` | one object: [`Entry`] and `file` (to stdout, `-`, only the bytes are written, in either format) |
//! | `delete` | one [`Write`] a key; with `--prefix` one `{"prefix" or "prefix_b64", "deleted", "kept"}` |
//! | `list` | one [`Entry`] a line |
//! | `status` | one [`Status`] |
//! | `discover` | one [`Node`] a line |
//! | `wait` | one `{"result": "ready" or "healthy"}` |
//! | `member list` | one [`Members`] |
//! | `member add`, `promote`, `replace`, `remove` | one [`Change`] |
//! | `leader transfer` | one `{"result": "done" or "unchanged", "node_id", "name"}`: who leads now |
//! | `compact` | one [`Compacted`] a node that answers |
//! | `can-stop` | one `{"can_stop", "why", "node_id", "name"}`; `why` is a list of sentences, empty if it can; no `node_id` if there is none of this name |
//! | `cluster recover` | one [`Recovery`], before anything is done; then what `rusty-kvd` prints |
//!
//! `result` of a [`Write`] is `done`, `condition_false` (revisions tell of the key as it is; absent: no such key) or `absent` (deleting what was
//! not there).
//!
//! An error is one line on stderr: `{"error": {"kind", "reason", "message", "next"}}`. `kind` is `absent` (no such key, exit code 1),
//! `condition_false` (1), `usage` (2), `not_executed` (3), `unknown` (4), `rejected` (5), `verification` (6) or `file` (7). `reason` is the name the
//! protocol gives it (`proto/rustykv/v1/error.proto`), absent where no node said so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proto::v1::{Reason, Role};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::find::Seen;
use crate::meta::Meta;
use crate::view::{ClusterView, Intent, LostView, MemberView, PendingView, Standing, Verdict};

/// A key and what is known of it.
#[derive(Serialize)]
pub struct Entry {
    #[serde(flatten)]
    pub key: Map<String, Value>,
    #[serde(flatten)]
    pub meta: MetaFields,
}

#[derive(Serialize)]
pub struct MetaFields {
    pub create_revision: u64,
    pub modify_revision: u64,
    pub size: u64,
    /// BLAKE3; of values above 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// What a write came to.
#[derive(Serialize)]
pub struct Write {
    #[serde(flatten)]
    pub key: Map<String, Value>,
    pub result: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub meta: Option<MetaFields>,
}

/// The state of the cluster.
#[derive(Serialize)]
pub struct Status {
    pub cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// `healthy`, `degraded` or `unavailable`.
    pub verdict: &'static str,
    /// Sentences for people.
    pub why: Vec<String>,
    /// How many more voters may fail; absent when unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_lose: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_id: Option<String>,
    pub members: Vec<Member>,
    pub pending: Vec<Pending>,
    pub warnings: Vec<String>,
    pub waits: Vec<String>,
    /// The change of the membership under way, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Large values that no voter holds.
    pub blobs_lost: Vec<Lost>,
}

#[derive(Serialize)]
pub struct Lost {
    pub hash: String,
    /// Some of the keys that name it, each `{"key"}` or `{"key_b64"}`.
    pub keys: Vec<Map<String, Value>>,
}

/// Who belongs to the cluster.
#[derive(Serialize)]
pub struct Members {
    pub cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_id: Option<String>,
    pub members: Vec<Member>,
    pub pending: Vec<Pending>,
    /// The change of the membership under way, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// What a change of the membership came to.
#[derive(Serialize)]
pub struct Change {
    /// `done`, `unchanged` (it was so before) or `under_way` (only with `--no-wait`: the rest follows by itself).
    pub result: &'static str,
    /// `add`, `promote`, `replace` or `remove`.
    pub change: &'static str,
    /// Of the node that was added, promoted or removed, or that takes the other's place; absent if there is none of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    pub name: String,
    /// What will still happen, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a node cut from its log, or why it did not.
#[derive(Serialize)]
pub struct Compacted {
    pub node_id: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is left of a cluster.
#[derive(Serialize)]
pub struct Recovery {
    pub cluster_name: String,
    pub nodes: Vec<Survivor>,
}

#[derive(Serialize)]
pub struct Survivor {
    pub node_id: String,
    pub name: String,
    pub reachable: bool,
    /// The node of this machine, which is stopped.
    pub here: bool,
    /// The end of its log or the last entry it applied, whichever is further; absent where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches: Option<u64>,
}

/// A member; the fields from `role` on only while it answers.
#[derive(Serialize)]
pub struct Member {
    pub node_id: String,
    pub name: String,
    pub addresses: Vec<String>,
    pub voter: bool,
    /// `voter`, `learner` or `outgoing` (a voter until the change under way is done).
    pub kind: &'static str,
    /// Of a learner: `stay`, `promote` or `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<&'static str>,
    /// Of a learner that is to take a voter's place: whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    pub reachable: bool,
    /// Why not, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_unreachable: Option<String>,
    /// Since the leader heard from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_contact_ms: Option<u64>,
    /// Entries behind the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Applied index up to which it misses no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_index: Option<u64>,
    pub snapshot_under_way: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnWords>,
}

/// What a member says of itself.
#[derive(Serialize)]
pub struct OwnWords {
    /// `follower`, `candidate` or `leader`.
    pub role: &'static str,
    pub term: u64,
    pub version: String,
    pub free_bytes: u64,
    pub low_mark_bytes: u64,
    pub room_low: bool,
    pub last_index: u64,
    pub durable_index: u64,
    pub commit_index: u64,
    pub applied_index: u64,
    /// Of the state at `applied_index`.
    pub state_hash: String,
    pub blobs_missing: u64,
    pub insecure: bool,
    /// Whoever speaks to it has to prove who it is.
    pub closed: bool,
    /// Of cluster time, until its certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_left_s: Option<u64>,
    /// Callers and peers since its start that could not prove it.
    pub refused: u64,
    pub entries_sent: u64,
    pub leader_changes: u64,
    /// The log begins behind it.
    pub mark_index: u64,
    pub log_bytes: u64,
    /// Of the newest snapshot; 0: none.
    pub snapshot_index: u64,
    /// Why it must not be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
}

/// A node in no cluster.
#[derive(Serialize)]
pub struct Pending {
    pub node_id: String,
    pub name: String,
    pub address: String,
    pub why: String,
    /// It was a member once: its id never comes back, only its board under a new one.
    pub removed: bool,
    /// The silent voter whose place it most likely should take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_id: Option<String>,
}

/// A node seen by mDNS.
#[derive(Serialize)]
pub struct Node {
    pub node_id: String,
    pub name: String,
    pub cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// `blank`, `promised` or `formed`.
    pub state: String,
    pub addresses: Vec<String>,
}

/// `{name: text}` or `{name_b64: base64}`.
pub fn bytes(name: &str, bytes: &[u8]) -> Map<String, Value> {
    let (name, text) = match str::from_utf8(bytes) {
        Ok(text) => (name.to_string(), text.to_string()),
        Err(_) => (format!("{name}_b64"), STANDARD.encode(bytes)),
    };
    Map::from_iter([(name, Value::String(text))])
}

pub fn entry(key: &[u8], meta: &Meta) -> Entry {
    Entry { key: bytes("key", key), meta: meta.into() }
}

pub fn write(key: &[u8], result: &'static str, meta: Option<&Meta>) -> Write {
    Write { key: bytes("key", key), result, meta: meta.map(MetaFields::from) }
}

pub fn error(kind: &str, error: &Error) -> Value {
    let mut fields = json!({"kind": kind, "message": error.message, "next": error.next});
    if error.reason != Reason::Unspecified {
        fields["reason"] = error.reason.as_str_name().into();
    }
    json!({"error": fields})
}

impl From<&Meta> for MetaFields {
    fn from(meta: &Meta) -> MetaFields {
        MetaFields {
            create_revision: meta.create_revision,
            modify_revision: meta.modify_revision,
            size: meta.size,
            hash: meta.hash.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string()),
        }
    }
}

impl From<&ClusterView> for Status {
    fn from(view: &ClusterView) -> Status {
        let (verdict, why, can_lose) = match &view.verdict {
            Verdict::Healthy { can_lose } => ("healthy", Vec::new(), Some(*can_lose)),
            Verdict::Degraded { can_lose, why } => ("degraded", why.clone(), Some(*can_lose)),
            Verdict::Unavailable { why } => ("unavailable", why.clone(), None),
        };
        Status {
            cluster_name: view.name.clone(),
            cluster_id: view.id.map(|id| id.to_string()),
            verdict,
            why,
            can_lose,
            leader_id: view.leader_id.map(node_id),
            members: view.members.iter().map(Member::from).collect(),
            pending: view.pending.iter().map(Pending::from).collect(),
            warnings: view.warnings.clone(),
            waits: view.waits.iter().map(|wait| wait.text.clone()).collect(),
            change: view.change.clone(),
            blobs_lost: view.lost.iter().map(Lost::from).collect(),
        }
    }
}

impl From<&LostView> for Lost {
    fn from(lost: &LostView) -> Lost {
        Lost { hash: hex(&lost.hash), keys: lost.keys.iter().map(|key| bytes("key", key)).collect() }
    }
}

impl From<&ClusterView> for Members {
    fn from(view: &ClusterView) -> Members {
        Members {
            cluster_name: view.name.clone(),
            leader_id: view.leader_id.map(node_id),
            members: view.members.iter().map(Member::from).collect(),
            pending: view.pending.iter().map(Pending::from).collect(),
            change: view.change.clone(),
        }
    }
}

impl From<&MemberView> for Member {
    fn from(member: &MemberView) -> Member {
        let (kind, intent, replaces) = match member.standing {
            Standing::Voter => ("voter", None, None),
            Standing::Outgoing => ("outgoing", None, None),
            Standing::Learner(Intent::Stay) => ("learner", Some("stay"), None),
            Standing::Learner(Intent::Promote) => ("learner", Some("promote"), None),
            Standing::Learner(Intent::Replace(old)) => ("learner", Some("replace"), Some(node_id(old))),
        };
        Member {
            node_id: node_id(member.node_id),
            name: member.name.clone(),
            addresses: member.addresses.clone(),
            voter: member.voter,
            kind,
            intent,
            replaces,
            reachable: member.status.is_some(),
            why_unreachable: member.why_silent.clone(),
            last_contact_ms: member.last_contact_ms,
            lag: member.lag,
            whole_index: member.whole_index,
            snapshot_under_way: member.snapshot_under_way,
            own: member.status.as_ref().map(OwnWords::from),
        }
    }
}

impl From<&proto::v1::StatusResponse> for OwnWords {
    fn from(status: &proto::v1::StatusResponse) -> OwnWords {
        OwnWords {
            role: role(status.role()),
            term: status.term,
            version: status.version.clone(),
            free_bytes: status.free_bytes,
            low_mark_bytes: status.low_mark_bytes,
            room_low: status.room_low,
            last_index: status.last_index,
            durable_index: status.durable_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            state_hash: hex(&status.state_hash),
            blobs_missing: status.blobs_missing,
            insecure: status.insecure,
            closed: status.closed,
            certificate_left_s: status.certificate_left_s,
            refused: status.refused,
            entries_sent: status.entries_sent,
            leader_changes: status.leader_changes,
            mark_index: status.mark_index,
            log_bytes: status.log_bytes,
            snapshot_index: status.snapshot_index,
            suspect: Some(status.suspect.clone()).filter(|why| !why.is_empty()),
            alarm: Some(status.alarm.clone()).filter(|alarm| !alarm.is_empty()),
        }
    }
}

impl From<&PendingView> for Pending {
    fn from(pending: &PendingView) -> Pending {
        Pending {
            node_id: node_id(pending.node_id),
            name: pending.name.clone(),
            address: pending.address.clone(),
            why: pending.why.clone(),
            removed: pending.removed,
            earlier_id: pending.earlier.map(node_id),
        }
    }
}

impl From<&Seen> for Node {
    fn from(seen: &Seen) -> Node {
        Node {
            node_id: node_id(seen.node_id),
            name: seen.name.clone(),
            cluster_name: seen.cluster_name.clone(),
            cluster_id: seen.cluster_id.map(|id| id.to_string()),
            state: seen.state.clone(),
            addresses: seen.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

pub fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Follower => "follower",
        Role::Unspecified => "unknown",
    }
}

pub fn node_id(id: u64) -> String {
    format!("{id:016x}")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { create_revision: 3, modify_revision: 5, size: 2, hash: None };

    fn text(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn keys_are_text_or_base64() {
        assert_eq!(text(entry(b"a\"b", &META)), r#"{"key":"a\"b","create_revision":3,"modify_revision":5,"size":2}"#);
        let hashed = Meta { hash: Some([0xab; 32]), ..META };
        let hash = "ab".repeat(32);
        let expected = format!(r#"{{"key_b64":"/w==","create_revision":3,"modify_revision":5,"size":2,"hash":"{hash}"}}"#);
        assert_eq!(text(entry(b"\xff", &hashed)), expected);
    }

    #[test]
    fn a_write_tells_of_the_key_where_there_is_one() {
        assert_eq!(text(write(b"k", "absent", None)), r#"{"key":"k","result":"absent"}"#);
        assert_eq!(
            text(write(b"k", "done", Some(&META))),
            r#"{"key":"k","result":"done","create_revision":3,"modify_revision":5,"size":2}"#
        );
    }

    #[test]
    fn an_error_names_its_reason_where_a_node_gave_one() {
        let plain = Error::new(crate::Kind::File, "m", "n");
        assert_eq!(error("file", &plain), json!({"error": {"kind": "file", "message": "m", "next": "n"}}));
        let reasoned = plain.because(Reason::NoRoom);
        assert_eq!(error("file", &reasoned)["error"]["reason"], "REASON_NO_ROOM");
    }
}
