//! What a peer says, before the core hears of it.

use prost::Message as _;
use proto::v1 as wire;
use raft::{Entry, Intent, LogId, Membership, Message, NodeId, Payload, Term};
use storage::entry_crc;

use crate::convert;

/// What is accepted is the same after another round, and keeps what the core takes for granted of a message.
pub fn peer_message(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => identity(bytes),
        1 => {
            let Ok(question) = wire::HaveQuestion::decode(bytes) else { return };
            let _ = question.encode_to_vec();
        }
        kind => {
            let Ok(frame) = wire::PeerMessages::decode(bytes) else { return };
            for mut said in frame.messages {
                if kind > 3 {
                    make_checksums_right(&mut said);
                }
                message(said);
            }
        }
    }
}

fn identity(bytes: &[u8]) {
    let Ok(identity) = wire::Identity::decode(bytes) else { return };
    let Ok(identity) = convert::identity_from_wire(identity) else { return };
    let again = convert::identity_from_wire(convert::identity_to_wire(&identity));
    assert_eq!(again, Ok(identity), "an identity is another one after a round");
}

fn message(said: wire::PeerMessage) {
    let (from, to) = (NodeId(2), NodeId(1));
    let Ok(envelope) = convert::message_from_wire(from, to, said) else { return };
    assert!(convert::message_bytes(&envelope.message) > 0, "a message of no weight");
    if let Message::Append(append) = &envelope.message {
        let mut before = append.prev;
        for entry in &append.entries {
            assert!(entry.id.index == before.index + 1 && entry.id.term >= before.term && entry.id.term <= envelope.term, "not a run");
            before = entry.id;
        }
        assert!(append.offer.is_none_or(|offer| offer.term <= envelope.term), "an offer of the future");
    }
    let wire = convert::message_to_wire(envelope.clone());
    let wire = wire::PeerMessage::decode(&wire.encode_to_vec()[..]).expect("just encoded");
    assert_eq!(convert::message_from_wire(from, to, wire), Ok(envelope), "a message is another one after a round");
}

fn make_checksums_right(said: &mut wire::PeerMessage) {
    let Some(wire::peer_message::Kind::Append(append)) = &mut said.kind else { return };
    for entry in &mut append.entries {
        entry.crc = checksum(entry).unwrap_or(entry.crc);
    }
}

fn checksum(entry: &wire::LogEntry) -> Option<u32> {
    use wire::log_entry::Payload as Wire;
    let ids = |list: &[u64]| list.iter().copied().map(NodeId).collect();
    let payload = match entry.payload.as_ref()? {
        Wire::Noop(_) => Payload::Noop,
        Wire::Command(bytes) => Payload::Command(bytes[..].into()),
        Wire::Membership(members) => {
            let intent = |learner: &wire::membership::Learner| match (learner.replaces, learner.promote) {
                (0, false) => Intent::Stay,
                (0, true) => Intent::Promote,
                (old, _) => Intent::Replace(NodeId(old)),
            };
            let learners = members.learners.iter().map(|learner| (NodeId(learner.id), intent(learner))).collect();
            Payload::Membership(Membership { voters: ids(&members.voters), outgoing: ids(&members.outgoing), learners })
        }
    };
    Some(entry_crc(&Entry { id: LogId::new(Term(entry.term), entry.index), payload }))
}
