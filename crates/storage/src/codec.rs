//! Bytes on the disk.
//!
//! Two shapes, both starting with a version byte and carrying serde structs in postcard's encoding:
//!
//! - a *sealed* record: `version | body | CRC-32 of both`. Hard state, formation, log and state meta, anchor slots.
//! - a log entry: `version | body`, where the body holds the entry's own CRC-32 over its meaning ([`entry_crc`]). That CRC is
//!   made once, by whoever first has the entry, and travels with it: a bit that flips in any memory, wire or disk in between is seen.
//!
//! Invariants:
//! - a version higher than ours is told apart from damage (the seal is checked first, so a flipped version byte is damage);
//! - bytes left over behind a record are damage;
//! - raft's types never reach the disk themselves: the mirrors here may stay while those change.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use raft::{Entry, HardState, Index, Intent, LogId, Membership, NodeId, Payload, Term};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};

use crate::{AnchorRecord, Error, Formation, Started};

/// The newest format this program writes and reads.
pub(crate) const FORMAT: u8 = 1;

/// CRC-32 (IEEE) over an entry's term, index, kind and payload.
pub fn entry_crc(entry: &Entry) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&entry.id.term.0.to_le_bytes());
    crc.update(&entry.id.index.to_le_bytes());
    match &entry.payload {
        Payload::Noop => crc.update(&[0]),
        Payload::Command(bytes) => {
            crc.update(&[1]);
            crc.update(bytes);
        }
        Payload::Membership(membership) => {
            crc.update(&[2]);
            for set in [&membership.voters, &membership.outgoing] {
                crc.update(&(set.len() as u64).to_le_bytes());
                set.iter().for_each(|id| crc.update(&id.0.to_le_bytes()));
            }
            crc.update(&(membership.learners.len() as u64).to_le_bytes());
            for (id, intent) in &membership.learners {
                crc.update(&id.0.to_le_bytes());
                match intent {
                    Intent::Stay => crc.update(&[0]),
                    Intent::Promote => crc.update(&[1]),
                    Intent::Replace(old) => {
                        crc.update(&[2]);
                        crc.update(&old.0.to_le_bytes());
                    }
                }
            }
        }
    }
    crc.finalize()
}

/// Where a log starts and which state it goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogMeta {
    /// The state database in force is `state.<generation>`.
    pub generation: u64,
    #[serde(with = "log_id")]
    pub mark: LogId,
}

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_entry(&mut bytes, entry);
    bytes
}

pub(crate) fn append_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    let payload = match &entry.payload {
        Payload::Noop => PayloadRecord::Noop,
        Payload::Command(bytes) => PayloadRecord::Command(bytes),
        Payload::Membership(membership) => PayloadRecord::Membership(membership.into()),
    };
    let record = EntryRecord { term: entry.id.term.0, index: entry.id.index, crc: entry_crc(entry), payload };
    bytes.push(FORMAT);
    append(bytes, &record);
}

/// The entry at `index`, verified.
pub(crate) fn decode_entry(path: &Path, index: Index, bytes: &[u8]) -> Result<Entry, Error> {
    let damaged = |detail: &str| corrupt(path, &format!("log entry {index}"), detail);
    let (version, body) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
    check_version(path, *version)?;
    let (record, rest) = postcard::take_from_bytes::<EntryRecord>(body).map_err(|_| damaged("it cannot be decoded"))?;
    let payload = match record.payload {
        PayloadRecord::Noop => Payload::Noop,
        PayloadRecord::Command(bytes) => Payload::Command(Arc::from(bytes)),
        PayloadRecord::Membership(membership) => Payload::Membership(membership.into()),
    };
    let entry = Entry { id: LogId::new(Term(record.term), record.index), payload };
    if !rest.is_empty() || record.crc != entry_crc(&entry) {
        return Err(damaged("its checksum does not match"));
    }
    if record.index != index {
        return Err(damaged(&format!("it holds entry {}", record.index)));
    }
    Ok(entry)
}

/// Which entry these bytes say they are, not verified: for who knows from elsewhere that they are whole.
pub(crate) fn peek_entry_id(path: &Path, bytes: &[u8]) -> Result<LogId, Error> {
    let damaged = |detail: &str| corrupt(path, "log entry", detail);
    let (version, body) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
    check_version(path, *version)?;
    let ((term, index), _) = postcard::take_from_bytes::<(u64, u64)>(body).map_err(|_| damaged("it cannot be decoded"))?;
    Ok(LogId::new(Term(term), index))
}

/// A record that [`seal`] writes and [`unseal`] reads back.
pub(crate) trait Sealed: Sized {
    /// What it is called in an error.
    const NAME: &'static str;
    type Mirror: Serialize + DeserializeOwned;
    fn to_mirror(&self) -> Self::Mirror;
    fn from_mirror(mirror: Self::Mirror) -> Self;
}

pub(crate) fn seal<R: Sealed>(record: &R) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    append(&mut bytes, &record.to_mirror());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// `path` names the file or database in errors.
pub(crate) fn unseal<R: Sealed>(path: &Path, bytes: &[u8]) -> Result<R, Error> {
    let damaged = |detail: &str| corrupt(path, R::NAME, detail);
    let (sealed, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
    if crc32fast::hash(sealed) != u32::from_le_bytes(*crc) {
        return Err(damaged("its checksum does not match"));
    }
    let (version, body) = sealed.split_first().ok_or_else(|| damaged("it is empty"))?;
    check_version(path, *version)?;
    match postcard::take_from_bytes(body) {
        Ok((mirror, [])) => Ok(R::from_mirror(mirror)),
        _ => Err(damaged("it cannot be decoded")),
    }
}

pub(crate) fn corrupt(path: &Path, what: &str, detail: &str) -> Error {
    Error::Corrupt { what: format!("the {what} in {}", path.display()), detail: detail.into() }
}

pub(crate) fn append(bytes: &mut Vec<u8>, record: &impl Serialize) {
    *bytes = postcard::to_extend(record, std::mem::take(bytes)).expect("plain structs always encode into a Vec");
}

pub(crate) fn check_version(path: &Path, found: u8) -> Result<(), Error> {
    match found {
        FORMAT => Ok(()),
        0 => Err(corrupt(path, "record", "it has no format version")),
        _ => Err(Error::Newer { path: path.into(), found, known: FORMAT }),
    }
}

#[derive(Serialize, Deserialize)]
struct EntryRecord<'a> {
    term: u64,
    index: u64,
    crc: u32,
    #[serde(borrow)]
    payload: PayloadRecord<'a>,
}

#[derive(Serialize, Deserialize)]
enum PayloadRecord<'a> {
    Noop,
    Command(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    Membership(MembershipRecord),
}

/// serde writes a slice element by element; this hands it over in one piece. The encoding is the same.
fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// A configuration in the form in which disks hold it; others may nest it in records of their own.
#[derive(Serialize, Deserialize)]
pub struct MembershipRecord {
    voters: BTreeSet<u64>,
    outgoing: BTreeSet<u64>,
    learners: BTreeMap<u64, IntentRecord>,
}

#[derive(Serialize, Deserialize)]
enum IntentRecord {
    Stay,
    Promote,
    Replace(u64),
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> MembershipRecord {
        let plain = |set: &BTreeSet<NodeId>| set.iter().map(|id| id.0).collect();
        let learner = |(id, intent): (&NodeId, &Intent)| {
            let intent = match intent {
                Intent::Stay => IntentRecord::Stay,
                Intent::Promote => IntentRecord::Promote,
                Intent::Replace(old) => IntentRecord::Replace(old.0),
            };
            (id.0, intent)
        };
        MembershipRecord {
            voters: plain(&membership.voters),
            outgoing: plain(&membership.outgoing),
            learners: membership.learners.iter().map(learner).collect(),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Membership {
        let ids = |set: BTreeSet<u64>| set.into_iter().map(NodeId).collect();
        let learner = |(id, intent): (u64, IntentRecord)| {
            let intent = match intent {
                IntentRecord::Stay => Intent::Stay,
                IntentRecord::Promote => Intent::Promote,
                IntentRecord::Replace(old) => Intent::Replace(NodeId(old)),
            };
            (NodeId(id), intent)
        };
        Membership {
            voters: ids(record.voters),
            outgoing: ids(record.outgoing),
            learners: record.learners.into_iter().map(learner).collect(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct HardStateRecord {
    term: u64,
    vote: Option<u64>,
}

impl Sealed for HardState {
    const NAME: &'static str = "term and vote";
    type Mirror = HardStateRecord;

    fn to_mirror(&self) -> HardStateRecord {
        HardStateRecord { term: self.term.0, vote: self.vote.map(|id| id.0) }
    }

    fn from_mirror(mirror: HardStateRecord) -> HardState {
        HardState { term: Term(mirror.term), vote: mirror.vote.map(NodeId) }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FormationRecord {
    node: u64,
    cluster_name: String,
    promised: Option<Vec<u64>>,
    started: Option<StartedRecord>,
}

#[derive(Serialize, Deserialize)]
struct StartedRecord {
    cluster_id: [u8; 16],
    membership: MembershipRecord,
}

impl Sealed for Formation {
    const NAME: &'static str = "formation record";
    type Mirror = FormationRecord;

    fn to_mirror(&self) -> FormationRecord {
        FormationRecord {
            node: self.node.0,
            cluster_name: self.cluster_name.clone(),
            promised: self.promised.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
            started: self
                .started
                .as_ref()
                .map(|started| StartedRecord { cluster_id: started.cluster_id, membership: (&started.membership).into() }),
        }
    }

    fn from_mirror(mirror: FormationRecord) -> Formation {
        Formation {
            node: NodeId(mirror.node),
            cluster_name: mirror.cluster_name,
            promised: mirror.promised.map(|ids| ids.into_iter().map(NodeId).collect()),
            started: mirror.started.map(|started| Started { cluster_id: started.cluster_id, membership: started.membership.into() }),
        }
    }
}

impl Sealed for LogMeta {
    const NAME: &'static str = "meta record";
    type Mirror = LogMeta;

    fn to_mirror(&self) -> LogMeta {
        *self
    }

    fn from_mirror(mirror: LogMeta) -> LogMeta {
        mirror
    }
}

impl Sealed for LogId {
    const NAME: &'static str = "applied position";
    type Mirror = (u64, u64);

    fn to_mirror(&self) -> (u64, u64) {
        (self.term.0, self.index)
    }

    fn from_mirror((term, index): (u64, u64)) -> LogId {
        LogId::new(Term(term), index)
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AnchorMirror {
    sequence: u64,
    cluster_id: Option<[u8; 16]>,
    node: u64,
    term: u64,
    vote: Option<u64>,
    #[serde(with = "log_id")]
    reached: LogId,
}

/// An anchor record with the number that tells which of two slots is newer.
impl Sealed for (u64, AnchorRecord) {
    const NAME: &'static str = "anchor slot";
    type Mirror = AnchorMirror;

    fn to_mirror(&self) -> AnchorMirror {
        let (sequence, record) = self;
        AnchorMirror {
            sequence: *sequence,
            cluster_id: record.cluster_id,
            node: record.node.0,
            term: record.hard.term.0,
            vote: record.hard.vote.map(|id| id.0),
            reached: record.reached,
        }
    }

    fn from_mirror(mirror: AnchorMirror) -> (u64, AnchorRecord) {
        let record = AnchorRecord {
            cluster_id: mirror.cluster_id,
            node: NodeId(mirror.node),
            hard: HardState { term: Term(mirror.term), vote: mirror.vote.map(NodeId) },
            reached: mirror.reached,
        };
        (mirror.sequence, record)
    }
}

mod log_id {
    use super::*;
    use serde::Deserializer;

    pub fn serialize<S: Serializer>(id: &LogId, serializer: S) -> Result<S::Ok, S::Error> {
        id.to_mirror().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogId, D::Error> {
        <(u64, u64)>::deserialize(deserializer).map(LogId::from_mirror)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_path() -> &'static Path {
        Path::new("somewhere")
    }

    fn entries_of_every_kind() -> Vec<Entry> {
        let membership = Membership {
            voters: [NodeId(1), NodeId(u64::MAX)].into(),
            outgoing: [NodeId(2)].into(),
            learners: [(NodeId(3), Intent::Stay), (NodeId(4), Intent::Promote), (NodeId(5), Intent::Replace(NodeId(1)))].into(),
        };
        [Payload::Noop, Payload::Command(Arc::from(&b"set x"[..])), Payload::Membership(membership)]
            .into_iter()
            .map(|payload| Entry { id: LogId::new(Term(7), 300), payload })
            .collect()
    }

    #[test]
    fn every_kind_of_entry_comes_back() {
        for entry in entries_of_every_kind() {
            assert_eq!(decode_entry(some_path(), 300, &encode_entry(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn what_becomes_of_a_learner_is_under_the_checksum() {
        let crc = |intent| {
            let learners = [(NodeId(3), intent)].into();
            let membership = Membership { learners, ..Membership::of_voters([NodeId(1)]) };
            entry_crc(&Entry { id: LogId::new(Term(7), 300), payload: Payload::Membership(membership) })
        };
        let crcs: BTreeSet<u32> =
            [Intent::Stay, Intent::Promote, Intent::Replace(NodeId(1)), Intent::Replace(NodeId(2))].into_iter().map(crc).collect();
        assert_eq!(crcs.len(), 4);
    }

    /// The bytes of format 1, written down: a change here is a new format.
    #[test]
    fn the_format_stays() {
        let entry = Entry { id: LogId::new(Term(2), 3), payload: Payload::Command(Arc::from(&b"ab"[..])) };
        assert_eq!(entry_crc(&entry), crc32fast::hash(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01ab"));
        let bytes = encode_entry(&entry);
        assert_eq!(bytes[..3], [FORMAT, 2, 3]);
        assert_eq!(bytes[bytes.len() - 4..], *b"\x01\x02ab", "kind, length, payload");
        let hard = seal(&HardState { term: Term(5), vote: Some(NodeId(9)) });
        assert_eq!(hard[..4], [FORMAT, 5, 1, 9]);
        assert_eq!(hard.len(), 8);
    }

    #[test]
    fn no_flipped_bit_of_an_entry_goes_unseen() {
        for entry in entries_of_every_kind() {
            let good = encode_entry(&entry);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let read = decode_entry(some_path(), 300, &bad);
                assert!(read.is_err(), "bit {bit} of {entry:?} flipped and read as {read:?}");
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_a_sealed_record_goes_unseen() {
        let good = seal(&HardState { term: Term(500), vote: Some(NodeId(u64::MAX)) });
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(unseal::<HardState>(some_path(), &bad), Err(Error::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn damage_and_a_newer_program_are_told_apart() {
        let mut newer = encode_entry(&entries_of_every_kind()[0]);
        newer[0] = FORMAT + 1;
        assert!(matches!(decode_entry(some_path(), 300, &newer), Err(Error::Newer { found: 2, known: 1, .. })));
        let mut sealed = vec![FORMAT + 1, 1, 2, 3];
        sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
        assert!(matches!(unseal::<HardState>(some_path(), &sealed), Err(Error::Newer { found: 2, .. })));
        assert!(matches!(unseal::<HardState>(some_path(), &[]), Err(Error::Corrupt { .. })));
        assert!(matches!(decode_entry(some_path(), 300, &[]), Err(Error::Corrupt { .. })));
    }
}
