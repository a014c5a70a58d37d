//! A small file that remembers how far the log once was.
//!
//! A database opens silently shorter when a disk loses what it claimed to have synced. This file, written apart from it, is the
//! witness: whoever finds a log that does not reach its anchor knows that the disk forgot.
//!
//! Two slots are written in turn, so that a torn write leaves the other one; each has a checksum and a sequence number, and the
//! newest valid one counts. The slots lie in different 4 KiB pages, the unit in which kernels and cards write.
//!
//! Invariants:
//! - only what is durable in the database is told here, so the anchor never runs ahead of an honest disk;
//! - the position never goes back, as committed entries are never truncated;
//! - after the first failed write every later one is refused.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use raft::{HardState, LogId, NodeId};

use crate::{Error, codec, durable, latch::Latch};

/// What the file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorRecord {
    /// Absent until the cluster has started.
    pub cluster_id: Option<[u8; 16]>,
    pub node: NodeId,
    pub hard: HardState,
    /// An entry that was committed and durable here.
    pub reached: LogId,
}

/// The open file. One writer.
#[derive(Debug)]
pub struct Anchor {
    path: PathBuf,
    file: File,
    /// Where the newest record is, and its number.
    slot: usize,
    sequence: u64,
    newest: AnchorRecord,
    latch: Latch,
}

const SLOT_BYTES: usize = 4096;
const SLOTS: usize = 2;

impl AnchorRecord {
    /// What a node knows that has done nothing yet.
    pub fn blank(node: NodeId) -> AnchorRecord {
        AnchorRecord { cluster_id: None, node, hard: HardState::default(), reached: LogId::ZERO }
    }
}

impl Anchor {
    /// Puts a new file at `path`, durable, in place of any other.
    pub fn create(path: &Path, record: AnchorRecord) -> Result<Anchor, Error> {
        let mut bytes = slot(0, &record);
        bytes.resize(SLOTS * SLOT_BYTES, 0);
        durable::replace_file(path, &bytes)?;
        Anchor::open(path)
    }

    pub fn open(path: &Path) -> Result<Anchor, Error> {
        let file = File::options().read(true).write(true).open(path).map_err(Error::io("cannot open", path))?;
        // A process killed before its sync leaves a slot that is not on the disk yet, and the next write goes over the other one.
        file.sync_data().map_err(Error::io("cannot sync", path))?;
        let mut newest = None;
        let mut fault = codec::corrupt(path, "anchor", "both slots are empty");
        for number in 0..SLOTS {
            match read_slot(&file, path, number) {
                Ok(Some((sequence, record))) => {
                    newest = newest.filter(|(_, before, _)| is_newer(*before, sequence)).or(Some((number, sequence, record)));
                }
                Ok(None) => {}
                Err(newer @ Error::Newer { .. }) => return Err(newer),
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => fault = error,
            }
        }
        let (slot, sequence, newest) = newest.ok_or(fault)?;
        Ok(Anchor { path: path.into(), file, slot, sequence, newest, latch: Latch::default() })
    }

    /// The newest record.
    pub fn read(&self) -> &AnchorRecord {
        &self.newest
    }

    /// Makes `record` the newest one, durable.
    pub fn write(&mut self, record: &AnchorRecord) -> Result<(), Error> {
        let before = self.newest.reached;
        assert!(record.reached.index >= before.index, "the anchor goes back from {before} to {}", record.reached);
        assert!(record.hard.term >= self.newest.hard.term, "the anchor's term goes back");
        assert_eq!(record.node, self.newest.node, "an anchor belongs to one node");
        let sequence = self.sequence.wrapping_add(1);
        // Whatever the numbers say: a torn write must leave the newest one.
        let other = (self.slot + 1) % SLOTS;
        self.latch.guard(|| {
            let offset = (other * SLOT_BYTES) as u64;
            let written = self.file.write_all_at(&slot(sequence, record), offset).and_then(|()| self.file.sync_data());
            written.map_err(Error::io("cannot write", &self.path))
        })?;
        self.sequence = sequence;
        self.slot = other;
        self.newest = record.clone();
        Ok(())
    }
}

/// A length (2 bytes, little-endian), then the sealed record, then zeros.
fn slot(sequence: u64, record: &AnchorRecord) -> Vec<u8> {
    let sealed = codec::seal(&(sequence, record.clone()));
    let mut bytes = (sealed.len() as u16).to_le_bytes().to_vec();
    bytes.extend(sealed);
    assert!(bytes.len() <= SLOT_BYTES, "an anchor record outgrew its slot");
    bytes.resize(SLOT_BYTES, 0);
    bytes
}

/// The record in a slot, none if it was never written.
fn read_slot(file: &File, path: &Path, number: usize) -> Result<Option<(u64, AnchorRecord)>, Error> {
    let mut bytes = [0; SLOT_BYTES];
    let read = file.read_exact_at(&mut bytes, (number * SLOT_BYTES) as u64);
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(codec::corrupt(path, "anchor", "it is too short")),
        read => read.map_err(Error::io("cannot read", path))?,
    }
    if bytes == [0; SLOT_BYTES] {
        return Ok(None);
    }
    let length = u16::from_le_bytes([bytes[0], bytes[1]]) as usize;
    let sealed = bytes.get(2..2 + length).ok_or_else(|| codec::corrupt(path, "anchor slot", "its length makes no sense"))?;
    codec::unseal(path, sealed).map(Some)
}

/// The number behind the last one is the first: a slot that claims the last number must not outlive every later write.
fn is_newer(number: u64, other: u64) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use raft::Term;

    use super::*;
    use crate::scratch::Scratch;

    fn at(index: u64) -> AnchorRecord {
        AnchorRecord {
            cluster_id: Some([7; 16]),
            node: NodeId(3),
            hard: HardState { term: Term(2), vote: Some(NodeId(3)) },
            reached: LogId::new(Term(2), index),
        }
    }

    fn damage(path: &Path, slot: usize) {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; 100], (slot * SLOT_BYTES + 5) as u64).unwrap();
    }

    #[test]
    fn the_newest_record_is_read_back() {
        let dir = Scratch::new();
        let path = dir.join("anchor");
        let mut anchor = Anchor::create(&path, AnchorRecord::blank(NodeId(3))).unwrap();
        assert_eq!(*Anchor::open(&path).unwrap().read(), AnchorRecord::blank(NodeId(3)));
        for index in 1..=5 {
            anchor.write(&at(index)).unwrap();
            assert_eq!(*Anchor::open(&path).unwrap().read(), at(index));
        }
        let mut reopened = Anchor::open(&path).unwrap();
        reopened.write(&at(6)).unwrap();
        assert_eq!(*Anchor::open(&path).unwrap().read(), at(6), "numbering goes on over a restart");
    }

    #[test]
    fn a_slot_with_the_last_number_has_a_successor() {
        for wicked in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
            for place in 0..SLOTS {
                let dir = Scratch::new();
                let path = dir.join("anchor");
                drop(Anchor::create(&path, at(1)).unwrap());
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(&slot(wicked, &at(2)), (place * SLOT_BYTES) as u64).unwrap();
                let mut anchor = Anchor::open(&path).unwrap();
                for index in anchor.read().reached.index + 1..6 {
                    anchor.write(&at(index)).unwrap();
                    anchor = Anchor::open(&path).unwrap();
                    assert_eq!(*anchor.read(), at(index), "from number {wicked} in slot {place} on");
                }
            }
        }
    }

    #[test]
    fn a_torn_write_leaves_the_record_before_it() {
        let dir = Scratch::new();
        let path = dir.join("anchor");
        let mut anchor = Anchor::create(&path, at(1)).unwrap();
        anchor.write(&at(2)).unwrap();
        damage(&path, 1);
        let mut reopened = Anchor::open(&path).unwrap();
        assert_eq!(*reopened.read(), at(1));
        reopened.write(&at(3)).unwrap();
        assert_eq!(*Anchor::open(&path).unwrap().read(), at(3), "the torn slot is written anew");
        damage(&path, 0);
        damage(&path, 1);
        assert!(matches!(Anchor::open(&path), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_short_file_is_damaged() {
        let dir = Scratch::new();
        let path = dir.join("anchor");
        std::fs::write(&path, [1; 100]).unwrap();
        assert!(matches!(Anchor::open(&path), Err(Error::Corrupt { .. })));
    }

    #[test]
    #[should_panic(expected = "the anchor goes back")]
    fn the_position_never_goes_back() {
        let dir = Scratch::new();
        let mut anchor = Anchor::create(&dir.join("anchor"), at(2)).unwrap();
        let _ = anchor.write(&at(1));
    }
}
