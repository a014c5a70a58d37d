//! The log in files under the contract, and what only files on a disk can suffer.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use raft::{Batch, Entry, HardState, Index, Install, LogId, NodeId, Payload, Term};

use super::{
    SegmentLog,
    frame::{self, Body, Group},
    segment::{self, FrameReader, Segment},
};
use crate::{
    Error, LogImage, LogStore as _,
    codec::{self, LogMeta},
    contract::{LogDisk, command, formation, large},
    scratch::{Killable, Scratch, copy_as_killed},
    terms::Terms,
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
    log.persist(&[Batch { hard: Some(hard), truncate: Some(2), entries: vec![command(2, 9)], ..Batch::default() }]).unwrap();
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
    // Without its newest segment a log is only shorter, which the anchor tells.
    for (_, path) in &segments[..segments.len() - 1] {
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

/// A log of several segments, and what it looks like on the disk before and after a group that moves its mark.
struct Step {
    scratch: Scratch,
    before: LogImage,
    after: LogImage,
}

impl Step {
    fn of(group: &[Batch]) -> Step {
        let scratch = Scratch::new();
        let log = create(&scratch.join("live"));
        (1..=40).for_each(|index| log.persist(&[append([large(index)])]).unwrap());
        copy_as_killed(&scratch.join("live"), &scratch.join("before"));
        let before = image(&log);
        log.persist(group).unwrap();
        copy_as_killed(&scratch.join("live"), &scratch.join("after"));
        Step { before, after: image(&log), scratch }
    }

    fn segments(&self, dir: &str) -> Vec<PathBuf> {
        segment::list(&self.scratch.join(dir)).unwrap().into_iter().map(|(_, path)| path).collect()
    }
}

fn cut(index: Index) -> Batch {
    Batch { cut: Some(LogId::new(Term(1), index)), ..Batch::default() }
}

fn groups_that_move_the_mark() -> [Vec<Batch>; 5] {
    let install = |index, term| Batch { install: Some(Install { mark: LogId::new(Term(term), index), generation: 1 }), ..Batch::default() };
    [
        vec![cut(25)],
        vec![append([command(41, 2)]), cut(40)],
        vec![install(20, 2), append([command(21, 2)])],
        vec![install(30, 1)],
        vec![Batch { hard: Some(HardState { term: Term(9), vote: None }), ..install(90, 9) }, append([command(91, 9)])],
    ]
}

#[test]
fn a_crash_before_the_new_segment_has_its_name_leaves_the_log_as_it_was() {
    for group in groups_that_move_the_mark() {
        let step = Step::of(&group);
        let dir = step.scratch.join("before");
        let unborn = fs::read(step.segments("after").pop().unwrap()).unwrap();
        for written in [0, 10, unborn.len()] {
            fs::write(dir.join("log.new"), &unborn[..written]).unwrap();
            assert_eq!(image(&open(&dir)), step.before, "{group:?}");
        }
        open(&dir).persist(&group).unwrap();
        assert_eq!(image(&open(&dir)), step.after, "{group:?}");
    }
}

/// The names of removed segments are not synced: after a power cut any of them may be there again.
#[test]
fn a_crash_once_it_has_its_name_leaves_the_new_log_whatever_old_segments_remain() {
    for group in groups_that_move_the_mark() {
        let step = Step::of(&group);
        let kept = step.segments("after");
        let removed: Vec<PathBuf> =
            step.segments("before").into_iter().filter(|path| kept.iter().all(|kept| kept.file_name() != path.file_name())).collect();
        assert!(removed.len() > 2, "{group:?} removed {removed:?}");
        let every_other = removed.iter().step_by(2).cloned().collect();
        for (number, left) in [removed.clone(), removed[..1].to_vec(), removed[1..].to_vec(), every_other].iter().enumerate() {
            let dir = step.scratch.join(number.to_string());
            copy_as_killed(&step.scratch.join("after"), &dir);
            for path in left {
                fs::copy(path, dir.join(path.file_name().unwrap())).unwrap();
            }
            // What is not needed may even have rotted.
            fs::write(dir.join(left[0].file_name().unwrap()), "rot").unwrap();
            let log = open(&dir);
            assert_eq!(image(&log), step.after, "{group:?}");
            assert_eq!(segment::list(&dir).unwrap().len(), kept.len(), "leftovers are removed");
            log.persist(&[append([command(step.after.last.index + 1, 9)])]).unwrap();
            drop(log);
            assert_eq!(image(&open(&dir)).last.index, step.after.last.index + 1);
        }
    }
}

#[test]
fn a_needed_segment_that_is_missing_behind_a_cut_is_seen() {
    let step = Step::of(&[cut(15)]);
    let dir = step.scratch.join("after");
    let segments = step.segments("after");
    assert!(segments.len() > 3);
    for path in &segments[..segments.len() - 1] {
        fs::rename(path, step.scratch.join("aside")).unwrap();
        assert!(matches!(SegmentLog::open_with(&dir, SEGMENT_BYTES).map(|_| ()), Err(Error::Corrupt { .. })));
        fs::rename(step.scratch.join("aside"), path).unwrap();
    }
    assert_eq!(image(&open(&dir)), step.after);
}

/// Also the head's own bytes, in which a cut says what is left of the log, and what a group wrote beside it.
#[test]
fn damage_in_what_a_cut_leaves_is_seen() {
    let step = Step::of(&[append([command(41, 2), command(42, 2)]), cut(15)]);
    let dir = step.scratch.join("after");
    for path in step.segments("after") {
        let whole = fs::read(&path).unwrap();
        for at in (0..200).chain([6_000, 20_000]).filter(|at| *at < whole.len() && whole[*at] != 0) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            match SegmentLog::open_with(&dir, SEGMENT_BYTES) {
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "byte {at} of {path:?}: {error}"),
                // The very last frame looks torn: the anchor tells.
                Ok(log) => assert_eq!((log.last_index(), &path), (40, step.segments("after").last().unwrap()), "byte {at}"),
            }
            fs::write(&path, &whole).unwrap();
        }
    }
    assert_eq!(image(&open(&dir)), step.after);
}

#[test]
fn a_log_that_is_cut_again_and_again_stays_small() {
    let scratch = Scratch::new();
    let dir = scratch.join("raft");
    let log = create(&dir);
    let bytes = || -> u64 { segment::list(&dir).unwrap().iter().map(|(_, path)| path.metadata().unwrap().len()).sum() };
    for index in 1..=400 {
        log.persist(&[append([large(index)])]).unwrap();
        if index % 10 == 0 {
            log.persist(&[cut(index - 4)]).unwrap();
            // The entries since the last cut but one, in segments of which each has taken no more than a step in advance.
            let segments = segment::list(&dir).unwrap().len();
            assert!(segments <= 4, "{segments} segments at {index}");
            assert!(bytes() <= 4 * SEGMENT_BYTES + (1 << 20), "{} bytes at {index}", bytes());
        }
    }
}

/// What a cut keeps is worth a segment's head on the disk, and not its own bytes again.
#[test]
fn a_cut_writes_none_of_what_it_keeps() {
    let step = Step::of(&[cut(1)]);
    assert!(step.segments("after").len() > 4);
    let newest = step.segments("after").pop().unwrap();
    let text = fs::read(newest).unwrap();
    let written = text.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(written < 200, "{written} bytes");
    assert_eq!(step.after.tail.len(), 39);
}

#[test]
fn who_reads_while_the_log_is_cut_gets_entries_or_is_told_that_they_are_gone() {
    let scratch = Scratch::new();
    let log = Arc::new(create(&scratch.join("raft")));
    (1..=200).for_each(|index| log.persist(&[append([large(index)])]).unwrap());
    let reader = {
        let log = log.clone();
        std::thread::spawn(move || {
            let mut gone = 0;
            while gone < 200 {
                match log.entries(gone + 1, 200, usize::MAX) {
                    Ok(entries) => assert_eq!(entries.len() as u64, 200 - gone),
                    Err(Error::NotInLog { .. }) => gone += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    (1..=200).step_by(3).for_each(|index| log.persist(&[cut(index)]).unwrap());
    log.persist(&[cut(200)]).unwrap();
    reader.join().unwrap();
}

/// What it looked up is then of another history, also where the new one holds an entry of that index.
#[test]
fn who_reads_while_a_snapshot_replaces_the_log_is_told_that_its_entries_are_gone() {
    let scratch = Scratch::new();
    let log = create(&scratch.join("raft"));
    (1..=40).for_each(|index| log.persist(&[append([large(index)])]).unwrap());
    let install = Batch { install: Some(Install { mark: LogId::new(Term(2), 10), generation: 1 }), ..Batch::default() };
    let mut read = Vec::new();
    let end = log.read(1, 40, |entry| {
        if read.is_empty() {
            log.persist(&[install.clone(), append((11..=40).map(|index| command(index, 2)))]).unwrap();
        }
        read.push(entry);
        Ok(true)
    });
    assert!(matches!(end, Err(Error::NotInLog { .. })), "{end:?}");
    assert!(!read.is_empty() && read.iter().all(|entry| entry.id.term == Term(1)), "never a mixture of both");
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
        let meta = LogMeta { generation: 0, mark: LogId::ZERO };
        frame::encode(&mut forged, 0, 50, |body| Group::of(&group, meta, &Terms::new(LogId::ZERO, 1)).encode(body));
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

/// A log of many groups against a list in memory: whatever was truncated, rewritten, cut, installed, reopened or torn, both agree.
#[test]
fn it_agrees_with_a_list_in_memory() {
    for seed in 1..=10u64 {
        let mut draw = Draw(seed);
        let scratch = Scratch::new();
        let mut dir = scratch.join("0");
        let mut log = SegmentLog::create_with(&dir, &formation(), 4 << 10).unwrap();
        let mut model = Model::default();
        for step in 1..=150 {
            let before = model.clone();
            let batches: Vec<Batch> = (0..1 + draw.below(3)).map(|_| draw.batch(&mut model)).collect();
            log.persist(&batches).unwrap();
            if draw.below(10) == 0 {
                let next = scratch.join(step.to_string());
                copy_as_killed(&dir, &next);
                // A segment gets its name only when it is whole, so no write that cuts is ever torn.
                let is_frame = before != model && (before.mark, before.generation) == (model.mark, model.generation);
                if is_frame && draw.below(2) == 0 {
                    let end = log.writer().offset;
                    let file = fs::File::options().write(true).open(newest_segment(&next)).unwrap();
                    file.set_len(end - 9).unwrap();
                    model = before;
                }
                dir = next;
                log = SegmentLog::open_with(&dir, 4 << 10).unwrap();
            }
            let found = image(&log);
            let found = Model { entries: found.tail, hard: found.hard, mark: found.mark, generation: found.generation };
            assert!(found == model, "seed {seed}, step {step}: {} instead of {} entries", found.entries.len(), model.entries.len());
            if !model.entries.is_empty() {
                let count = model.entries.len() as u64;
                let from = draw.below(count);
                let to = from + draw.below(count - from);
                let read = log.entries(model.mark.index + 1 + from, model.mark.index + 1 + to, usize::MAX).unwrap();
                assert!(read == model.entries[from as usize..=to as usize], "seed {seed}, step {step}: {from}..={to}");
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
    fn batch(&mut self, model: &mut Model) -> Batch {
        let term = model.hard.term.0.max(1) + self.below(2);
        let hard = (self.below(3) == 0 || term > model.hard.term.0).then_some(HardState { term: Term(term), vote: None });
        let install = (self.below(25) == 0).then(|| {
            let index = model.mark.index + self.below(model.entries.len() as u64 + 3);
            let own = model.at(index).filter(|_| self.below(2) == 0);
            Install { mark: own.unwrap_or(LogId::new(Term(term), index)), generation: model.generation + 1 }
        });
        if let Some(Install { mark, generation }) = install {
            match model.at(mark.index) == Some(mark) {
                true => model.forget_up_to(mark),
                false => (model.entries, model.mark) = (Vec::new(), mark),
            }
            model.generation = generation;
        }
        let truncate = (self.below(4) == 0 && !model.entries.is_empty()).then(|| 1 + self.below(model.entries.len() as u64 + 2));
        if let Some(from) = truncate {
            model.entries.truncate(from as usize - 1);
        }
        let truncate = truncate.map(|from| model.mark.index + from);
        let first = model.mark.index + model.entries.len() as u64 + 1;
        let entries: Vec<Entry> = (first..first + self.below(5))
            .map(|index| {
                let payload = vec![self.below(256) as u8; self.below(700) as usize];
                Entry { id: LogId::new(Term(term), index), payload: Payload::Command(Arc::from(payload)) }
            })
            .collect();
        model.entries.extend(entries.iter().cloned());
        let cut = (self.below(12) == 0).then(|| model.at(model.mark.index + self.below(model.entries.len() as u64 + 1)).unwrap());
        if let Some(cut) = cut {
            model.forget_up_to(cut);
        }
        model.hard = hard.unwrap_or(model.hard);
        Batch { hard, install, truncate, entries, cut }
    }
}

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: Vec<Entry>,
    hard: HardState,
    mark: LogId,
    generation: u64,
}

impl Model {
    fn at(&self, index: Index) -> Option<LogId> {
        match index == self.mark.index {
            true => Some(self.mark),
            false => self.entries.get((index - self.mark.index - 1) as usize).map(|entry| entry.id),
        }
    }

    fn forget_up_to(&mut self, id: LogId) {
        self.entries.retain(|entry| entry.id.index > id.index);
        self.mark = id;
    }
}
