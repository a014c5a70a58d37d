//! One frame: what was persisted together.
//!
//! `length of body | CRC-32 of body | sequence | CRC-32 of these | 4 zeros | body | zeros up to the next multiple of 8`, numbers
//! little-endian, 4 + 4 + 8 + 4 bytes. Both CRCs cover the segment's salt, too. It is random, so that nobody who stores values can
//! store what looks like a frame. A header can be told by itself: what lies behind a damaged frame is searched for headers, and
//! bytes that somebody stored must not be able to make that long.
//!
//! A body is a format byte, a kind byte, a postcard struct, and for a group its entries, each behind its length.

use std::path::Path;

use raft::{Batch, Entry, HardState, Index, Install};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    codec::{self, FORMAT, HardStateRecord, LogMeta, Sealed as _},
    terms::Terms,
};

pub(super) const HEADER_BYTES: usize = 24;
pub(super) const ALIGNMENT_BYTES: usize = 8;
const HEAD: u8 = 1;
const GROUP: u8 = 2;

/// How a segment begins: the log as it stands from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub meta: LogMeta,
    pub hard: HardState,
    /// Entries behind this one, if older segments hold any, are given up.
    pub last: Index,
    /// The first frame of the oldest segment that the log still needs: this one's, or an older one's.
    pub oldest: u64,
}

/// The net effect of batches that are persisted together.
pub(super) struct Group<'a> {
    pub hard: Option<HardState>,
    /// Entries behind this one are replaced by those here.
    pub keep: Index,
    pub entries: Vec<&'a Entry>,
    /// The log afterwards.
    pub meta: LogMeta,
    pub terms: Terms,
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
    oldest: u64,
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
        let record = HeadRecord { salt, meta: self.meta, hard: self.hard.to_mirror(), last: self.last, oldest: self.oldest };
        buffer.extend([FORMAT, HEAD]);
        codec::append(buffer, &record);
    }
}

impl<'a> Group<'a> {
    /// What `batches` come to, one after the other, on a log as `meta` and `terms` tell it.
    pub fn of(batches: &'a [Batch], meta: LogMeta, terms: &Terms) -> Group<'a> {
        let mut group = Group { hard: None, keep: terms.last(), entries: Vec::new(), meta, terms: terms.clone() };
        for batch in batches {
            group.hard = batch.hard.or(group.hard);
            if let Some(install) = batch.install {
                group.install(install);
            }
            if let Some(from) = batch.truncate {
                group.terms.truncate(from);
                group.keep_up_to(from - 1);
            }
            for entry in &batch.entries {
                group.terms.push(entry.id);
                group.entries.push(entry);
            }
            if let Some(cut) = batch.cut {
                group.terms.cut(cut);
                group.forget_cut();
            }
        }
        group
    }

    fn install(&mut self, install: Install) {
        let Install { mark, generation } = install;
        assert!(generation > self.meta.generation, "a snapshot of generation {generation} over {}", self.meta.generation);
        self.meta.generation = generation;
        if !self.terms.install(mark) {
            self.entries.clear();
            self.keep = mark.index;
        }
        self.forget_cut();
    }

    fn keep_up_to(&mut self, last: Index) {
        let kept = usize::try_from(last.saturating_sub(self.keep)).unwrap_or(usize::MAX);
        self.entries.truncate(kept);
        self.keep = self.keep.min(last);
    }

    /// What lies before the mark now and came with this very group is not written at all.
    fn forget_cut(&mut self) {
        self.meta.mark = self.terms.mark();
        let gone = self.meta.mark.index.saturating_sub(self.keep);
        self.entries.drain(..gone as usize);
        self.keep += gone;
    }

    /// Whether it moves the mark or changes the generation: that is told by the head of a segment.
    pub fn changes_meta(&self, before: LogMeta) -> bool {
        self.meta != before
    }

    pub fn changes_nothing(&self, before: LogMeta, last: Index) -> bool {
        !self.changes_meta(before) && self.hard.is_none() && self.keep == last && self.entries.is_empty()
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
                let hard = HardState::from_mirror(record.hard);
                let head = Head { meta: record.meta, hard, last: record.last, oldest: record.oldest };
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
