//! The log in files under the contract, and what only files on a disk can suffer.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use raft::{Batch, Entry, HardState, Index, LogId, NodeId, Payload, Term};

use super::{
    SegmentLog,
    frame::{self, Body, Group},
    segment::{self, FrameReader, Segment},
};
use crate::{
    Error, LogImage, LogStore as _, codec,
    contract::{LogDisk, command, formation, large},
    scratch::{Killable, Scratch, copy_as_killed},
};

/// A log in a directory, with segments so small that a story fills several.
pub(crate) struct SegmentLogDisk(Killable<SegmentLog>);

const SEGMENT_BYTES: u64 = 64 << 10;

fn create(dir: &Path) -> SegmentLog {
    SegmentLog::create_with(dir, &formation(), SEGMENT_BYTES).unwrap()
}

fn open(dir: &Path) -> SegmentLog {
    SegmentLog::open_with(dir, SEGMENT_BYTES).unwrap()
}

impl LogDisk for SegmentLogDisk {
    type Log = SegmentLog;

    fn create() -> Self {
        SegmentLogDisk(Killable::new(create, open))
    }

    fn log(&self) -> &SegmentLog {
        &self.0.engine
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn break_disk(&mut self) {
        self.0.break_disk();
    }

    fn tamper(&self, index: Index, change: impl FnOnce(&mut Vec<u8>)) {
        self.rewrite(index, |entries, place| change(&mut entries[place]));
    }

    fn lose(&self, index: Index) {
        self.rewrite(index, |entries, place| entries[place] = entries[place + 1].clone());
    }
}

impl SegmentLogDisk {
    /// Rewrites the frame that holds an entry, its checksum made right again: what is found then, the entry's own checks find.
    fn rewrite(&self, index: Index, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let log = self.log();
        let (run, segment) = {
            let map = log.map();
            let run = map.places.within(index, map.last)[0];
            (run, map.segment(run.place.segment))
        };
        let (segment, ..) = Segment::open(&self.0.dir().join(format!("log.{:020}", segment.sequence)), segment.sequence).unwrap();
        let mut frames = FrameReader::new(&segment, run.place.offset, run.place.sequence);
        for sequence in run.place.sequence.. {
            let offset = frames.offset();
            let body = frames.next().unwrap().unwrap().to_vec();
            let Body::Group(group) = Body::decode(Path::new(""), &body).unwrap() else { panic!("a head") };
            let mut entries: Vec<Vec<u8>> = group.entries(Path::new("")).map(|(_, bytes)| bytes.unwrap().to_vec()).collect();
            if index > group.keep + group.count as u64 {
                continue;
            }
            let bytes: usize = entries.iter().map(|entry| 4 + entry.len()).sum();
            change(&mut entries, (index - group.keep - 1) as usize);
            let mut rewritten = Vec::new();
            frame::encode(&mut rewritten, segment.salt(), sequence, |buffer| {
                buffer.extend(&body[..body.len() - bytes]);
                for entry in &entries {
                    buffer.extend((entry.len() as u32).to_le_bytes());
                    buffer.extend(entry);
                }
            });
            return segment.append(offset, &rewritten).unwrap();
        }
    }
}

fn append(entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch { entries: entries.into_iter().collect(), ..Batch::default() }
}

fn newest_segment(dir: &Path) -> PathBuf {
    segment::list(dir).unwrap().pop().unwrap().1
}

fn image(log: &SegmentLog) -> LogImage {
    log.load(usize::MAX).unwrap()
}

#[test]
fn a_log_that_is_not_there_is_not_made_up() {
    let scratch = Scratch::new();
    assert!(SegmentLog::open(&scratch.join("raft")).is_err());
    assert!(!scratch.join("raft").exists());
    fs::create_dir(scratch.join("raft")).unwrap();
    assert!(matches!(SegmentLog::open(&scratch.join("raft")).map(|_| ()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_last_write_torn_anywhere_is_dropped_and_the_rest_kept() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    log.persist(&[append([command(1, 1), command(2, 1)])]).unwrap();
    let whole = log.writer().offset as usize;
    let hard = HardState { term: Term(9), vote: None };
    log.persist(&[Batch { hard: Some(hard), truncate: Some(2), entries: vec![command(2, 9)] }]).unwrap();
    let end = log.writer().offset as usize;
    drop(log);
    let path = newest_segment(&dir);
    let bytes = fs::read(&path).unwrap();
    for cut in whole..end {
        for zeros_behind in [0, 10_000] {
            fs::write(&path, [&bytes[..cut], &vec![0; zeros_behind][..]].concat()).unwrap();
            let found = image(&open(&dir));
            if found.hard == hard {
                // A frame lacks nothing without its padding.
                assert!(cut > end - frame::ALIGNMENT_BYTES, "cut at {cut} of {whole}..{end}");
                continue;
            }
            assert_eq!((found.hard, found.tail), (HardState::default(), vec![command(1, 1), command(2, 1)]), "cut at {cut}");
        }
        let log = open(&dir);
        let next = command(log.last_index() + 1, 9);
        log.persist(&[append([next.clone()])]).unwrap();
        drop(log);
        assert_eq!(image(&open(&dir)).tail.last(), Some(&next), "what is written over a torn frame stays");
    }
}

#[test]
fn pages_of_a_large_last_write_that_arrived_without_its_beginning_are_dropped() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    log.persist(&[append([large(1)])]).unwrap();
    let start = log.writer().offset;
    log.persist(&[append([large(2), large(3), large(4)])]).unwrap();
    drop(log);
    let path = newest_segment(&dir);
    let mut bytes = fs::read(&path).unwrap();
    bytes[start as usize..].chunks_mut(4_096).step_by(2).for_each(|page| page.fill(0));
    fs::write(&path, bytes).unwrap();
    assert_eq!(image(&open(&dir)).tail, [large(1)]);
}

#[test]
fn no_flipped_bit_goes_unseen_or_costs_an_entry_behind_it() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    for index in 1..=2 {
        log.persist(&[append([command(index, 1)])]).unwrap();
    }
    let last_frame = log.writer().offset as usize;
    log.persist(&[append([command(3, 1)])]).unwrap();
    let (whole, end) = (image(&log), log.writer().offset as usize);
    drop(log);
    let path = newest_segment(&dir);
    let bytes = fs::read(&path).unwrap()[..end].to_vec();
    for at in 0..end {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        match SegmentLog::open(&dir) {
            Err(Error::Corrupt { .. }) => {}
            // A flipped bit in the last frame looks like a torn write: the anchor tells. One in padding changes nothing.
            Ok(log) if at >= last_frame => assert!([2, 3].contains(&log.last_index())),
            Ok(log) => assert_eq!(image(&log), whole, "byte {at}"),
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

/// The last frame was torn, and the one before it, long synced, went bad: its successor's header tells that it was once whole.
#[test]
fn damage_before_a_torn_write_is_no_torn_write() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    log.persist(&[append([command(1, 1)])]).unwrap();
    let synced = log.writer().offset;
    log.persist(&[append([command(2, 1)])]).unwrap();
    let torn = log.writer().offset;
    log.persist(&[append([large(3)])]).unwrap();
    drop(log);
    let path = newest_segment(&dir);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(torn as usize + 1_000);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(image(&open(&dir)).last.index, 2);
    bytes[synced as usize + frame::HEADER_BYTES + 3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(SegmentLog::open(&dir).map(|_| ()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_missing_segment_is_seen() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    for index in 1..=40 {
        log.persist(&[append([large(index)])]).unwrap();
    }
    drop(log);
    let segments = segment::list(&dir).unwrap();
    assert!(segments.len() > 3);
    // Without its newest segment a log is only shorter, which the anchor tells; the oldest may be cut off by right.
    for (_, path) in &segments[1..segments.len() - 1] {
        fs::rename(path, scratch.join("aside")).unwrap();
        assert!(matches!(SegmentLog::open(&dir).map(|_| ()), Err(Error::Corrupt { .. })));
        fs::rename(scratch.join("aside"), path).unwrap();
    }
    assert_eq!(image(&open(&dir)).tail.len(), 40);
}

#[test]
fn a_segment_that_never_got_its_name_is_not_missed() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    create(&dir).persist(&[append([command(1, 1)])]).unwrap();
    fs::write(dir.join("log.new"), "half a head").unwrap();
    let log = open(&dir);
    for index in 2..=30 {
        log.persist(&[append([large(index)])]).unwrap();
    }
    drop(log);
    assert_eq!(image(&open(&dir)).last, LogId::new(Term(1), 30));
}

/// Somebody stores a value that is itself a frame with a high number. Behind a torn write it must not pass for one of ours.
#[test]
fn a_value_that_looks_like_a_frame_is_none() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    log.persist(&[append([command(1, 1)])]).unwrap();
    let start = log.writer().offset;
    let mut forged = Vec::new();
    for shift in 0..frame::ALIGNMENT_BYTES {
        forged.resize(forged.len().next_multiple_of(64) + shift, 0);
        let entry = command(2, 1);
        let group = [append([entry])];
        frame::encode(&mut forged, 0, 50, |body| Group::of(&group, 0, 1).encode(body));
    }
    let entry = Entry { id: LogId::new(Term(1), 2), payload: Payload::Command(Arc::from(forged)) };
    log.persist(&[append([entry])]).unwrap();
    drop(log);
    let path = newest_segment(&dir);
    let mut bytes = fs::read(&path).unwrap();
    bytes[start as usize + 4] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(image(&open(&dir)).tail, [command(1, 1)]);
}

/// A log of many groups against a list in memory: whatever was truncated, rewritten, reopened or torn, both agree.
#[test]
fn it_agrees_with_a_list_in_memory() {
    for seed in 1..=10u64 {
        let mut draw = Draw(seed);
        let scratch = Scratch::new();
        let mut dir = scratch.join("0");
        let mut log = SegmentLog::create_with(&dir, &formation(), 4 << 10).unwrap();
        let (mut model, mut hard): (Vec<Entry>, HardState) = (Vec::new(), HardState::default());
        for step in 1..=150 {
            let before = (model.clone(), hard);
            let batches: Vec<Batch> = (0..1 + draw.below(3)).map(|_| draw.batch(&mut model, &mut hard)).collect();
            log.persist(&batches).unwrap();
            if draw.below(10) == 0 {
                let next = scratch.join(step.to_string());
                copy_as_killed(&dir, &next);
                let changed = (&before.0, before.1) != (&model, hard);
                if changed && draw.below(2) == 0 {
                    let end = log.writer().offset;
                    let file = fs::File::options().write(true).open(newest_segment(&next)).unwrap();
                    file.set_len(end - 9).unwrap();
                    (model, hard) = before;
                }
                dir = next;
                log = SegmentLog::open_with(&dir, 4 << 10).unwrap();
            }
            let found = image(&log);
            assert!(
                found.tail == model && found.hard == hard,
                "seed {seed}, step {step}: {} instead of {} entries",
                found.tail.len(),
                model.len()
            );
            if !model.is_empty() {
                let first = 1 + draw.below(model.len() as u64);
                let last = first + draw.below(model.len() as u64 - first + 1);
                let read = log.entries(first, last, usize::MAX).unwrap();
                assert!(read == model[first as usize - 1..last as usize], "seed {seed}, step {step}: {first}..={last}");
            }
        }
    }
}

#[test]
fn a_frame_that_a_newer_program_wrote_is_told_apart_from_damage() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    let mut newer = Vec::new();
    let writer = log.writer();
    frame::encode(&mut newer, writer.segment.salt(), writer.sequence, |body| body.extend([codec::FORMAT + 1, 2, 0]));
    writer.segment.append(writer.offset, &newer).unwrap();
    drop(writer);
    drop(log);
    assert!(matches!(SegmentLog::open(&dir).map(|_| ()), Err(Error::Newer { .. })));
}

#[test]
fn a_new_segment_continues_the_term_and_vote_of_the_one_before() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    let hard = HardState { term: Term(4), vote: Some(NodeId(2)) };
    log.persist(&[Batch { hard: Some(hard), ..Batch::default() }]).unwrap();
    for index in 1..=30 {
        log.persist(&[append([large(index)])]).unwrap();
    }
    drop(log);
    let newest = newest_segment(&dir);
    let (_, head, _) = Segment::open(&newest, segment::list(&dir).unwrap().pop().unwrap().0).unwrap();
    assert_eq!(head.hard, hard);
    assert_eq!(open(&dir).hard_state(), hard);
}

/// A small generator of numbers: the same seed, the same story.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A batch that fits the log as `model` has it, and its effect there.
    fn batch(&mut self, model: &mut Vec<Entry>, hard: &mut HardState) -> Batch {
        let term = hard.term.0.max(1) + self.below(2);
        let new_hard = (self.below(3) == 0 || term > hard.term.0).then_some(HardState { term: Term(term), vote: None });
        let truncate = (self.below(4) == 0 && !model.is_empty()).then(|| 1 + self.below(model.len() as u64 + 2));
        if let Some(from) = truncate {
            model.truncate(from as usize - 1);
        }
        let first = model.len() as u64 + 1;
        let entries: Vec<Entry> = (first..first + self.below(5))
            .map(|index| {
                let payload = vec![self.below(256) as u8; self.below(700) as usize];
                Entry { id: LogId::new(Term(term), index), payload: Payload::Command(Arc::from(payload)) }
            })
            .collect();
        model.extend(entries.iter().cloned());
        *hard = new_hard.unwrap_or(*hard);
        Batch { hard: new_hard, truncate, entries }
    }
}
