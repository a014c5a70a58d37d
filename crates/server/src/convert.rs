//! Between wire types and ours: the only place that says "malformed".

use proto::v1 as wire;
use raft::{Append, Entry, Envelope, Intent, LogId, Membership, Message, NodeId, Payload, ReadId, Report, Room, StateHash, Term};
use replica::{Condition, Key, KeySize, Stamp, state::Meta};
use storage::entry_crc;

use crate::peers::Identity;

/// Longest name and id list taken from a peer.
const NAME_MAX_BYTES: usize = 256;
const IDS_MAX: usize = 64;

/// Terms rise by one an election; no cluster lives to see this one, and one more must still fit.
const TERM_MAX: u64 = 1 << 62;
/// The same for a position that a log is to go on from.
const INDEX_MAX: u64 = 1 << 62;

/// A message that no honest peer of this protocol version sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

pub fn identity_to_wire(identity: &Identity) -> wire::Identity {
    wire::Identity {
        protocol_version: identity.protocol_version,
        node_id: identity.id.0,
        boot_nonce: identity.boot,
        cluster_name: identity.cluster_name.clone(),
        cluster_id: identity.cluster_id.map_or_else(Default::default, |id| id.to_vec().into()),
        promised: identity.promised.iter().flatten().map(|id| id.0).collect(),
        name: identity.name.clone(),
        version: identity.version.clone(),
        port: identity.port.into(),
        board_hint: identity.board.unwrap_or(0),
    }
}

pub fn identity_from_wire(identity: wire::Identity) -> Result<Identity, Malformed> {
    let bounded = |text: String, what| if text.len() > NAME_MAX_BYTES { Err(Malformed(what)) } else { Ok(text) };
    if identity.promised.len() > IDS_MAX {
        return Err(Malformed("promise"));
    }
    let promised: Vec<NodeId> = identity.promised.into_iter().map(NodeId).collect();
    Ok(Identity {
        protocol_version: identity.protocol_version,
        id: NodeId(identity.node_id),
        boot: identity.boot_nonce,
        cluster_name: bounded(identity.cluster_name, "cluster name")?,
        cluster_id: if identity.cluster_id.is_empty() { None } else { Some(cluster_id(&identity.cluster_id)?) },
        promised: (!promised.is_empty()).then_some(promised),
        name: bounded(identity.name, "node name")?,
        version: bounded(identity.version, "version")?,
        port: identity.port.try_into().map_err(|_| Malformed("port"))?,
        board: (identity.board_hint != 0).then_some(identity.board_hint),
    })
}

pub fn cluster_id(bytes: &[u8]) -> Result<[u8; 16], Malformed> {
    bytes.try_into().map_err(|_| Malformed("cluster id"))
}

pub fn hash(bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed("hash"))
}

/// The role of the client that a token is asked for; none: for a board. A role of the future is refused: taken for the default it would let in a
/// board where a client was meant, which is more than any role.
pub fn token_role(role: i32) -> Result<Option<u8>, Malformed> {
    match wire::ClientRole::try_from(role) {
        Ok(wire::ClientRole::Unspecified) => Ok(None),
        Ok(wire::ClientRole::Read) => Ok(Some(0)),
        Ok(wire::ClientRole::Write) => Ok(Some(1)),
        Ok(wire::ClientRole::Admin) => Ok(Some(2)),
        Err(_) => Err(Malformed("role")),
    }
}

/// Roughly what a message weighs on the wire.
pub fn message_bytes(message: &Message) -> usize {
    const PLAIN_BYTES: usize = 64;
    match message {
        Message::Append(append) => PLAIN_BYTES + append.entries.iter().map(Entry::size_bytes).sum::<usize>(),
        _ => PLAIN_BYTES,
    }
}

pub fn message_to_wire(envelope: Envelope) -> wire::PeerMessage {
    use wire::peer_message as kind;
    let kind = match envelope.message {
        Message::PreVote { last } => kind::Kind::PreVote(kind::PreVote { last: Some(log_id_to_wire(last)) }),
        Message::PreVoteReply { granted, asked } => kind::Kind::PreVoteReply(kind::PreVoteReply { granted, asked_term: asked.0 }),
        Message::Vote { last } => kind::Kind::Vote(kind::Vote { last: Some(log_id_to_wire(last)) }),
        Message::VoteReply { granted } => kind::Kind::VoteReply(kind::VoteReply { granted }),
        Message::Append(append) => kind::Kind::Append(kind::Append {
            prev: Some(log_id_to_wire(append.prev)),
            entries: append.entries.iter().map(entry_to_wire).collect(),
            commit: append.commit,
            round: append.round,
            refusing: append.refusing,
            offer: append.offer.map(log_id_to_wire),
            agreed: append.agreed.map(state_hash_to_wire),
        }),
        Message::Accepted { matched, durable, round, report } => {
            kind::Kind::AppendAccepted(kind::AppendAccepted { matched, durable, round, report: Some(report_to_wire(report)) })
        }
        Message::Rejected { prev, hint, round, report } => {
            let (hint, report) = (Some(log_id_to_wire(hint)), Some(report_to_wire(report)));
            kind::Kind::AppendRejected(kind::AppendRejected { prev, hint, round, report })
        }
        Message::Campaign => kind::Kind::Campaign(kind::Campaign {}),
        Message::Forgot { durable } => kind::Kind::Forgot(kind::Forgot { durable }),
        Message::ReadIndex { id } => kind::Kind::ReadIndex(kind::ReadIndex { id: Some(read_id_to_wire(id)) }),
        Message::ReadIndexReply { id, index } => kind::Kind::ReadIndexReply(kind::ReadIndexReply {
            id: Some(read_id_to_wire(id)),
            index: index.unwrap_or(0),
            refused: index.is_none(),
        }),
    };
    wire::PeerMessage { term: envelope.term.0, kind: Some(kind) }
}

/// A message on the stream of `from`, which is its sender whatever it says.
pub fn message_from_wire(from: NodeId, to: NodeId, message: wire::PeerMessage) -> Result<Envelope, Malformed> {
    use wire::peer_message::Kind;
    if message.term > TERM_MAX {
        return Err(Malformed("term"));
    }
    let log_id = |id: Option<wire::LogId>| id.map(log_id_from_wire).ok_or(Malformed("log id"));
    let read_id = |id: Option<wire::ReadId>| id.map(read_id_from_wire).ok_or(Malformed("read id"));
    let body = match message.kind.ok_or(Malformed("message"))? {
        Kind::PreVote(ask) => Message::PreVote { last: log_id(ask.last)? },
        Kind::PreVoteReply(reply) => Message::PreVoteReply { granted: reply.granted, asked: Term(reply.asked_term) },
        Kind::Vote(ask) => Message::Vote { last: log_id(ask.last)? },
        Kind::VoteReply(reply) => Message::VoteReply { granted: reply.granted },
        Kind::Append(append) => Message::Append(append_from_wire(append, Term(message.term))?),
        Kind::AppendAccepted(reply) => {
            let report = report_from_wire(reply.report)?;
            Message::Accepted { matched: reply.matched, durable: reply.durable, round: reply.round, report }
        }
        Kind::AppendRejected(reply) => {
            let report = report_from_wire(reply.report)?;
            Message::Rejected { prev: reply.prev, hint: log_id(reply.hint)?, round: reply.round, report }
        }
        Kind::Campaign(_) => Message::Campaign,
        Kind::Forgot(forgot) => Message::Forgot { durable: forgot.durable },
        Kind::ReadIndex(ask) => Message::ReadIndex { id: read_id(ask.id)? },
        Kind::ReadIndexReply(reply) => Message::ReadIndexReply { id: read_id(reply.id)?, index: (!reply.refused).then_some(reply.index) },
    };
    Ok(Envelope { from, to, term: Term(message.term), message: body })
}

pub fn key(bytes: impl Into<Vec<u8>>) -> Result<Key, KeySize> {
    Key::new(bytes)
}

pub fn condition(condition: Option<wire::Condition>) -> Result<Condition, Malformed> {
    match condition {
        None => Ok(Condition::Always),
        Some(wire::Condition { when: Some(wire::condition::When::Absent(true)) }) => Ok(Condition::Absent),
        Some(wire::Condition { when: Some(wire::condition::When::Revision(revision)) }) => Ok(Condition::Revision(revision)),
        Some(_) => Err(Malformed("condition")),
    }
}

pub fn stamp(session: Option<wire::Session>) -> Option<Stamp> {
    session.map(|session| Stamp { session: session.id, opened: session.opened, serial: session.serial })
}

pub fn meta_to_wire(meta: &Meta) -> wire::Meta {
    wire::Meta {
        create_revision: meta.created,
        modify_revision: meta.modified,
        size: meta.size,
        hash: meta.blob.map_or_else(Default::default, |hash| hash.to_vec().into()),
    }
}

fn append_from_wire(append: wire::peer_message::Append, term: Term) -> Result<Append, Malformed> {
    let prev = log_id_from_wire(append.prev.ok_or(Malformed("append"))?);
    let mut before = prev;
    let mut entries = Vec::with_capacity(append.entries.len());
    for entry in append.entries {
        let entry = entry_from_wire(entry)?;
        // The core takes it for granted that entries continue each other and are not of the future.
        if Some(entry.id.index) != before.index.checked_add(1) || entry.id.term < before.term || entry.id.term > term {
            return Err(Malformed("run of entries"));
        }
        before = entry.id;
        entries.push(entry);
    }
    let offer = append.offer.map(log_id_from_wire);
    // Once it is fetched the log begins there, and no entry is of a term that its node has not adopted.
    if offer.is_some_and(|offer| offer.term > term || offer.index > INDEX_MAX) {
        return Err(Malformed("offer"));
    }
    Ok(Append {
        prev,
        entries,
        commit: append.commit,
        round: append.round,
        refusing: append.refusing,
        offer,
        agreed: append.agreed.map(state_hash_from_wire),
    })
}

fn entry_to_wire(entry: &Entry) -> wire::LogEntry {
    use wire::log_entry::Payload as Wire;
    let ids = |set: &std::collections::BTreeSet<NodeId>| set.iter().map(|id| id.0).collect();
    let payload = match &entry.payload {
        Payload::Noop => Wire::Noop(true),
        Payload::Command(command) => Wire::Command(bytes::Bytes::from_owner(command.clone())),
        Payload::Membership(members) => Wire::Membership(wire::Membership {
            voters: ids(&members.voters),
            outgoing: ids(&members.outgoing),
            learners: members.learners.iter().map(|(id, intent)| learner_to_wire(*id, *intent)).collect(),
        }),
    };
    wire::LogEntry { term: entry.id.term.0, index: entry.id.index, payload: Some(payload), crc: entry_crc(entry) }
}

fn entry_from_wire(entry: wire::LogEntry) -> Result<Entry, Malformed> {
    use wire::log_entry::Payload as Wire;
    let ids = |list: Vec<u64>| list.into_iter().map(NodeId).collect();
    let payload = match entry.payload.ok_or(Malformed("entry"))? {
        Wire::Noop(_) => Payload::Noop,
        Wire::Command(bytes) => Payload::Command(bytes[..].into()),
        Wire::Membership(members) => Payload::Membership(Membership {
            voters: ids(members.voters),
            outgoing: ids(members.outgoing),
            learners: members.learners.into_iter().map(learner_from_wire).collect(),
        }),
    };
    let parsed = Entry { id: LogId::new(Term(entry.term), entry.index), payload };
    if entry_crc(&parsed) != entry.crc {
        return Err(Malformed("entry: its checksum does not match"));
    }
    Ok(parsed)
}

fn learner_to_wire(id: NodeId, intent: Intent) -> wire::membership::Learner {
    let (promote, replaces) = match intent {
        Intent::Stay => (false, 0),
        Intent::Promote => (true, 0),
        Intent::Replace(old) => (false, old.0),
    };
    wire::membership::Learner { id: id.0, promote, replaces }
}

fn learner_from_wire(learner: wire::membership::Learner) -> (NodeId, Intent) {
    let intent = match (learner.replaces, learner.promote) {
        (0, false) => Intent::Stay,
        (0, true) => Intent::Promote,
        (old, _) => Intent::Replace(NodeId(old)),
    };
    (NodeId(learner.id), intent)
}

fn report_to_wire(report: Report) -> wire::Report {
    wire::Report {
        boot: report.boot,
        end: report.end,
        room: room_to_wire(report.room),
        whole: report.whole,
        hash: report.hash.map(state_hash_to_wire),
        garbage: report.garbage,
    }
}

fn report_from_wire(report: Option<wire::Report>) -> Result<Report, Malformed> {
    let report = report.ok_or(Malformed("report"))?;
    Ok(Report {
        boot: report.boot,
        end: report.end,
        room: room_from_wire(report.room),
        whole: report.whole,
        hash: report.hash.map(state_hash_from_wire),
        garbage: report.garbage,
    })
}

fn state_hash_to_wire(hash: StateHash) -> wire::StateHash {
    wire::StateHash { index: hash.index, digest: hash.digest }
}

fn state_hash_from_wire(hash: wire::StateHash) -> StateHash {
    StateHash { index: hash.index, digest: hash.digest }
}

pub fn log_id_to_wire(id: LogId) -> wire::LogId {
    wire::LogId { term: id.term.0, index: id.index }
}

pub fn log_id_from_wire(id: wire::LogId) -> LogId {
    LogId::new(Term(id.term), id.index)
}

fn read_id_to_wire(id: ReadId) -> wire::ReadId {
    wire::ReadId { node: id.node.0, boot: id.boot, counter: id.counter }
}

fn read_id_from_wire(id: wire::ReadId) -> ReadId {
    ReadId { node: NodeId(id.node), boot: id.boot, counter: id.counter }
}

fn room_to_wire(room: Room) -> i32 {
    let room = match room {
        Room::Unknown => wire::Room::Unspecified,
        Room::Floor => wire::Room::Floor,
        Room::Low => wire::Room::Low,
        Room::Enough => wire::Room::Enough,
    };
    room.into()
}

/// A value of the future counts as no room: the careful reading.
fn room_from_wire(room: i32) -> Room {
    match wire::Room::try_from(room) {
        Ok(wire::Room::Enough) => Room::Enough,
        Ok(wire::Room::Low) => Room::Low,
        Ok(wire::Room::Floor) => Room::Floor,
        _ => Room::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_for_a_role_of_the_future_is_none_for_a_board() {
        assert_eq!(token_role(wire::ClientRole::Unspecified.into()), Ok(None));
        assert_eq!(token_role(wire::ClientRole::Admin.into()), Ok(Some(2)));
        assert_eq!(token_role(4), Err(Malformed("role")));
        assert_eq!(token_role(-1), Err(Malformed("role")));
    }
}
