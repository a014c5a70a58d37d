//! The files of a log: segments, frames, groups, entries.

use std::{cell::OnceCell, fs};

use raft::{Batch, Entry, LogId, NodeId, Payload, Term};
use serde::{Deserialize, Serialize};
use storage::{Formation, LogStore as _, MembershipRecord, SegmentLog, entry_crc};

use crate::{script::Script, shelf::Shelf};

const SEGMENTS_MAX: usize = 3;
const FRAMES_MAX: usize = 16;
const TAIL_BYTES: usize = 1 << 10;
const ALIGNMENT_BYTES: usize = 8;
const HEAD: u8 = 1;
const GROUP: u8 = 2;

thread_local! {
    static TEMPLATE: OnceCell<Shelf> = const { OnceCell::new() };
}

/// A log that is opened and loaded can be gone on with, and is the same one when it is opened again.
pub fn log_files(bytes: &[u8]) {
    TEMPLATE.with(|shelf| {
        let shelf = shelf.get_or_init(|| {
            let shelf = Shelf::new();
            let blank = Formation { node: NodeId(1), cluster_name: "home".into(), promised: None, started: None };
            drop(SegmentLog::create(shelf.path(), &blank).expect("memory can be written"));
            shelf
        });
        clear(shelf);
        let mut script = Script::new(bytes);
        // Taking space for a new frame is slow, even in memory.
        let is_gone_on_with = script.below(4) == 0;
        write(shelf, &mut script);
        read(shelf, is_gone_on_with);
    });
}

fn clear(shelf: &Shelf) {
    for item in fs::read_dir(shelf.path()).expect("memory can be read") {
        let path = item.expect("memory can be read").path();
        if path.file_name().is_some_and(|name| name != "formation") {
            fs::remove_file(&path).expect("memory can be written");
        }
    }
}

/// Frames as a node writes them but for their bodies; now and then one that is damaged, or in the wrong place.
fn write(shelf: &Shelf, script: &mut Script<'_>) {
    let mut sequence = script.below(4);
    let (mut name, mut file, mut salt, mut segments) = (sequence, Vec::new(), 0, 1);
    for _ in 0..FRAMES_MAX {
        if script.is_over() {
            break;
        }
        let how = script.byte();
        if how & 1 == 1 && segments < SEGMENTS_MAX {
            put(shelf, name, &std::mem::take(&mut file));
            (name, segments) = (sequence, segments + 1);
        }
        if how & 0x80 != 0 {
            file.extend(script.piece());
            continue;
        }
        if how & 0x70 == 0x70 {
            sequence += 1;
        }
        let body = with_checksums(script.long_piece());
        let of = if file.is_empty() { 0 } else { salt };
        append_frame(&mut file, of, sequence, &body, how & 0x0e == 0x0e);
        if let [_, HEAD, rest @ ..] = &body[..] {
            salt = postcard::take_from_bytes(rest).map_or(salt, |(salt, _)| salt);
        }
        sequence += 1;
    }
    put(shelf, name, &file);
}

fn put(shelf: &Shelf, sequence: u64, file: &[u8]) {
    shelf.put(&format!("log.{sequence:020}"), file);
}

fn append_frame(file: &mut Vec<u8>, salt: u64, sequence: u64, body: &[u8], is_torn: bool) {
    let checksum = |bytes: &[u8]| crc32fast::hash(&[&salt.to_le_bytes(), bytes].concat());
    let mut header = (body.len() as u32).to_le_bytes().to_vec();
    header.extend((checksum(body) ^ u32::from(is_torn)).to_le_bytes());
    header.extend(sequence.to_le_bytes());
    let own = checksum(&header);
    header.extend(u64::from(own).to_le_bytes());
    file.extend(header);
    file.extend(body);
    file.resize(file.len().next_multiple_of(ALIGNMENT_BYTES), 0);
}

#[derive(Serialize, Deserialize)]
enum PayloadForm {
    Noop,
    Command(Vec<u8>),
    Membership(MembershipRecord),
}

/// The body, its entries' own checksums made right.
fn with_checksums(body: &[u8]) -> Vec<u8> {
    let [_, GROUP, rest @ ..] = body else { return body.to_vec() };
    type Group = (Option<(u64, Option<u64>)>, u64, u64);
    let Ok((_, mut entries)) = postcard::take_from_bytes::<Group>(rest) else { return body.to_vec() };
    let mut made = body[..body.len() - entries.len()].to_vec();
    while let Some((length, behind)) = entries.split_first_chunk::<4>()
        && let Some((entry, behind)) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        let entry = with_checksum(entry).unwrap_or_else(|| entry.to_vec());
        made.extend((entry.len() as u32).to_le_bytes());
        made.extend(entry);
        entries = behind;
    }
    made.extend(entries);
    made
}

fn with_checksum(entry: &[u8]) -> Option<Vec<u8>> {
    let (version, form) = entry.split_first()?;
    let ((term, index, _), payload) = postcard::take_from_bytes::<(u64, u64, u32)>(form).ok()?;
    let (payload, _) = postcard::take_from_bytes::<PayloadForm>(payload).ok()?;
    let kept = postcard::to_allocvec(&payload).ok()?;
    let payload = match payload {
        PayloadForm::Noop => Payload::Noop,
        PayloadForm::Command(bytes) => Payload::Command(bytes.into()),
        PayloadForm::Membership(membership) => Payload::Membership(membership.into()),
    };
    let crc = entry_crc(&Entry { id: LogId::new(Term(term), index), payload });
    let mut made = postcard::to_extend(&(term, index, crc), vec![*version]).ok()?;
    made.extend(kept);
    Some(made)
}

fn read(shelf: &Shelf, is_gone_on_with: bool) {
    let Ok(log) = SegmentLog::open(shelf.path()) else { return };
    let Ok(before) = log.load(TAIL_BYTES) else { return };
    assert_eq!((log.last_index(), log.hard_state(), log.generation()), (before.last.index, before.hard, before.generation));
    if before.last.index > before.mark.index {
        let first = before.mark.index + 1;
        let entries = log.entries(first, before.last.index, usize::MAX).expect("what was loaded can be read");
        assert_eq!(entries.last(), before.tail.last(), "the log ends otherwise");
    }
    let Some(index) = before.last.index.checked_add(1).filter(|_| is_gone_on_with) else { return };
    let entry = Entry { id: LogId { index, ..before.last }, payload: Payload::Noop };
    log.persist(&[Batch { entries: vec![entry.clone()], ..Batch::default() }]).expect("memory can be written");
    drop(log);
    let log = SegmentLog::open(shelf.path()).expect("it could be opened before");
    let after = log.load(TAIL_BYTES).expect("it could be loaded before");
    assert_eq!((after.last, after.tail.last(), after.mark, after.hard), (entry.id, Some(&entry), before.mark, before.hard));
}
