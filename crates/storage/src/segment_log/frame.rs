//! One frame: what was persisted together.
//!
//! `length of body | CRC-32 of body | sequence | CRC-32 of these | 4 zeros | body | zeros up to the next multiple of 8`, numbers
//! little-endian, 4 + 4 + 8 + 4 bytes. Both CRCs cover the segment's salt, too. It is random, so that nobody who stores values can
//! store what looks like a frame. A header can be told by itself: what lies behind a damaged frame is searched for headers, and
//! bytes that somebody stored must not be able to make that long.
//!
//! A body is a format byte, a kind byte, a postcard struct, and for a group its entries, each behind its length.

use std::path::Path;

use raft::{Batch, Entry, HardState, Index};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    codec::{self, FORMAT, HardStateRecord, LogMeta, Sealed as _},
};

pub(super) const HEADER_BYTES: usize = 24;
pub(super) const ALIGNMENT_BYTES: usize = 8;
const HEAD: u8 = 1;
const GROUP: u8 = 2;

/// How a segment begins: the log as it stood then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub meta: LogMeta,
    pub hard: HardState,
    pub last: Index,
}

/// The net effect of batches that are persisted together.
pub(super) struct Group<'a> {
    pub hard: Option<HardState>,
    /// Entries behind this one are replaced by those here.
    pub keep: Index,
    pub entries: Vec<&'a Entry>,
}

/// A group read back.
pub(super) struct StoredGroup<'a> {
    pub hard: Option<HardState>,
    pub keep: Index,
    pub count: usize,
    entries: &'a [u8],
}

pub(super) enum Body<'a> {
    Head { salt: u64, head: Head },
    Group(StoredGroup<'a>),
}

#[derive(Serialize, Deserialize)]
struct HeadRecord {
    salt: u64,
    meta: LogMeta,
    hard: HardStateRecord,
    last: u64,
}

#[derive(Serialize, Deserialize)]
struct GroupRecord {
    hard: Option<HardStateRecord>,
    keep: u64,
    count: u64,
}

/// A frame's first bytes.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub length: usize,
    crc: u32,
    pub sequence: u64,
}

impl Header {
    /// The header at the start of `bytes`, if there is one.
    pub fn decode(salt: u64, bytes: &[u8]) -> Option<Header> {
        let (fields, rest) = bytes.split_first_chunk::<16>()?;
        let own_crc = rest.first_chunk::<8>()?;
        if *own_crc != header_checksum(salt, fields) {
            return None;
        }
        let number = |from: usize| u32::from_le_bytes([fields[from], fields[from + 1], fields[from + 2], fields[from + 3]]);
        let sequence = u64::from(number(8)) | u64::from(number(12)) << 32;
        Some(Header { length: number(0) as usize, crc: number(4), sequence })
    }

    /// With header and padding.
    pub fn frame_bytes(&self) -> usize {
        (HEADER_BYTES + self.length).next_multiple_of(ALIGNMENT_BYTES)
    }

    pub fn fits(&self, salt: u64, body: &[u8]) -> bool {
        self.crc == checksum(salt, body)
    }
}

/// Appends a frame to `buffer`, its body written by `body`.
pub(super) fn encode(buffer: &mut Vec<u8>, salt: u64, sequence: u64, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.resize(start + HEADER_BYTES, 0);
    body(buffer);
    let content = start + HEADER_BYTES;
    let length = u32::try_from(buffer.len() - content).expect("a group of batches is far below 4 GiB");
    let crc = checksum(salt, &buffer[content..]);
    let header = &mut buffer[start..content];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    let own_crc = header_checksum(salt, &header[..16]);
    header[16..].copy_from_slice(&own_crc);
    buffer.resize(start + (buffer.len() - start).next_multiple_of(ALIGNMENT_BYTES), 0);
}

fn checksum(salt: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

fn header_checksum(salt: u64, fields: &[u8]) -> [u8; 8] {
    u64::from(checksum(salt, fields)).to_le_bytes()
}

impl Head {
    pub fn encode(&self, salt: u64, buffer: &mut Vec<u8>) {
        let record = HeadRecord { salt, meta: self.meta, hard: self.hard.to_mirror(), last: self.last };
        buffer.extend([FORMAT, HEAD]);
        codec::append(buffer, &record);
    }
}

impl<'a> Group<'a> {
    /// What `batches` come to, one after the other, on a log that ends at `last`.
    pub fn of(batches: &'a [Batch], mark: Index, last: Index) -> Group<'a> {
        let mut group = Group { hard: None, keep: last, entries: Vec::new() };
        for batch in batches {
            group.hard = batch.hard.or(group.hard);
            if let Some(from) = batch.truncate {
                assert!(from > mark, "truncation at {from} reaches behind the log's mark {mark}");
                let kept = usize::try_from((from - 1).saturating_sub(group.keep)).unwrap_or(usize::MAX);
                group.entries.truncate(kept);
                group.keep = group.keep.min(from - 1);
            }
            for entry in &batch.entries {
                assert_eq!(entry.id.index, group.last() + 1, "an entry that leaves a gap in the log");
                group.entries.push(entry);
            }
        }
        group
    }

    /// The last index afterwards.
    pub fn last(&self) -> Index {
        self.keep + self.entries.len() as u64
    }

    pub fn changes_nothing(&self, last: Index) -> bool {
        self.hard.is_none() && self.keep == last && self.entries.is_empty()
    }

    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let record = GroupRecord { hard: self.hard.map(|hard| hard.to_mirror()), keep: self.keep, count: self.entries.len() as u64 };
        buffer.extend([FORMAT, GROUP]);
        codec::append(buffer, &record);
        for entry in &self.entries {
            let start = buffer.len();
            buffer.extend([0; 4]);
            codec::append_entry(buffer, entry);
            let length = u32::try_from(buffer.len() - start - 4).expect("an entry is far below 4 GiB");
            buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
}

impl<'a> Body<'a> {
    /// `path` names the log in errors. Only for bytes whose checksum was right.
    pub fn decode(path: &Path, bytes: &'a [u8]) -> Result<Body<'a>, Error> {
        let damaged = || codec::corrupt(path, "log", "a frame cannot be decoded");
        let (format, rest) = bytes.split_first().ok_or_else(damaged)?;
        codec::check_version(path, *format)?;
        match rest.split_first() {
            Some((&HEAD, body)) => {
                let record: HeadRecord = postcard::from_bytes(body).map_err(|_| damaged())?;
                let head = Head { meta: record.meta, hard: HardState::from_mirror(record.hard), last: record.last };
                Ok(Body::Head { salt: record.salt, head })
            }
            Some((&GROUP, body)) => {
                let (record, entries) = postcard::take_from_bytes::<GroupRecord>(body).map_err(|_| damaged())?;
                let count = usize::try_from(record.count).map_err(|_| damaged())?;
                Ok(Body::Group(StoredGroup { hard: record.hard.map(HardState::from_mirror), keep: record.keep, count, entries }))
            }
            _ => Err(damaged()),
        }
    }
}

impl<'a> StoredGroup<'a> {
    /// Each entry's index and encoding.
    pub fn entries(&self, path: &Path) -> impl Iterator<Item = (Index, Result<&'a [u8], Error>)> {
        let mut rest = self.entries;
        (1..=self.count as u64).map(move |offset| {
            let index = self.keep + offset;
            let taken =
                rest.split_first_chunk::<4>().and_then(|(length, bytes)| bytes.split_at_checked(u32::from_le_bytes(*length) as usize));
            match taken {
                Some((entry, behind)) => {
                    rest = behind;
                    (index, Ok(entry))
                }
                None => (index, Err(codec::corrupt(path, "log", &format!("entry {index} is cut short")))),
            }
        })
    }
}
