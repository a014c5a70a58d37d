//! The log in files of our own: each persist is one frame, appended and synced.
//!
//! A database under the log writes each entry twice (its own log, then a table) and a third time when it merges tables, on cards
//! that wear out by being written. A Raft log is appended, read back in order and cut at its ends, so files that are only ever
//! appended to serve it with one write and one sync.
//!
//! `raft/` holds:
//!
//! | name | what |
//! |---|---|
//! | `formation` | the formation record, replaced as a whole |
//! | `log.<sequence>` | a segment: frames from this sequence number on; the first one, its head, says how the log stands there |
//!
//! Entries are forgotten from the front without writing the kept ones again: a cut or an installed snapshot starts a new segment,
//! whose head carries the new mark and generation, where the log ends by that, and which segment is the oldest still needed; whatever
//! else was persisted together with it lies in the frame behind the head. The segment becomes part of the log, with all of this, by
//! getting its name. Then the segments before the oldest needed one are removed. A crash in between leaves them, and the next start
//! removes them without reading them, so that nothing given up comes back, in whatever order the disk forgot their names.
//!
//! Invariants:
//! - a frame is written only after the one before it is synced, so at most the last one can be torn. A frame that cannot be read
//!   and has a readable one behind it is damage, and refused; one at the very end was never acknowledged, and is dropped;
//! - the frames of all segments are numbered without gaps, and the newest head names the oldest one: a segment that is missing is
//!   noticed;
//! - a new segment gets its name only when what it is born with is synced, and any other frame only when its name is;
//! - the mark and the generation are those of the newest head; they never go back;
//! - the head also carries the hard state, so no cut can lose it;
//! - nothing found at the start counts as durable until this process has synced it: after a SIGKILL it may live in the page cache
//!   only;
//! - the first failed write or sync is final.
//!
//! A synced tail that a disk lost opens silently shorter, as with any log; that is what the anchor file is for.
//!
//! One segment is open for writing; readers open what they read. What is in memory is the place of one entry in every 64 KiB of the
//! log; the entries between are found by reading on.

mod frame;
mod places;
mod segment;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use raft::{Batch, Entry, HardState, Index, LogId};

use self::{
    frame::{Body, Group, Head},
    places::{Place, Places, Run},
    segment::{FrameReader, Name, Segment},
};
use crate::{
    Error, Formation, LogImage, LogStore,
    codec::{self, LogMeta, Sealed as _},
    durable,
    latch::Latch,
    log_image::ImageReader,
    terms::Terms,
};

/// A segment that has grown to this gets a successor; frames are never split, so it ends up to one group of batches longer.
const SEGMENT_BYTES: u64 = 16 << 20;
const FORMATION: &str = "formation";
/// What a large group leaves behind as room for the next one.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// `raft/`: see [`LogStore`].
pub struct SegmentLog {
    dir: PathBuf,
    segment_bytes: u64,
    /// Locked for the whole of a persist: groups keep their order.
    writer: Mutex<Writer>,
    /// What is durable, and where. Never locked during a write or a sync: readers do not wait for the disk's writes.
    map: Mutex<Map>,
    latch: Latch,
}

struct Writer {
    segment: Segment,
    /// Where the next frame goes.
    offset: u64,
    /// Of the next frame.
    sequence: u64,
    hard: HardState,
    meta: LogMeta,
    terms: Terms,
    buffer: Vec<u8>,
}

struct Map {
    segments: Vec<Name>,
    places: Places,
    meta: LogMeta,
    last: Index,
}

impl SegmentLog {
    /// A new log, holding this formation and nothing else. `dir` must not exist or be empty.
    pub fn create(dir: &Path, formation: &Formation) -> Result<SegmentLog, Error> {
        SegmentLog::create_with(dir, formation, SEGMENT_BYTES)
    }

    /// The log in `dir`. Nothing there is an error: it would be a node that forgot.
    pub fn open(dir: &Path) -> Result<SegmentLog, Error> {
        SegmentLog::open_with(dir, SEGMENT_BYTES)
    }

    fn create_with(dir: &Path, formation: &Formation, segment_bytes: u64) -> Result<SegmentLog, Error> {
        durable::create_dirs(dir)?;
        durable::replace_file(&dir.join(FORMATION), &codec::seal(formation))?;
        let head = Head { meta: LogMeta { generation: 0, mark: LogId::ZERO }, hard: HardState::default(), last: 0, oldest: 0 };
        Segment::create(dir, 0, &head, None)?;
        SegmentLog::open_with(dir, segment_bytes)
    }

    fn open_with(dir: &Path, segment_bytes: u64) -> Result<SegmentLog, Error> {
        let scan = Scan::of(dir)?;
        let writer = Writer {
            segment: scan.newest,
            offset: scan.end,
            sequence: scan.sequence,
            hard: scan.hard,
            meta: scan.meta,
            terms: scan.terms,
            buffer: Vec::new(),
        };
        let map = Map { segments: scan.segments, places: scan.places, meta: scan.meta, last: writer.terms.last() };
        Ok(SegmentLog { dir: dir.into(), segment_bytes, writer: Mutex::new(writer), map: Mutex::new(map), latch: Latch::default() })
    }

    /// The number of the state database that belongs to this log.
    pub fn generation(&self) -> u64 {
        self.map().meta.generation
    }

    pub fn formation(&self) -> Result<Formation, Error> {
        SegmentLog::formation_in(&self.dir)
    }

    /// The formation record of the log in `dir`, whatever became of the rest.
    pub(crate) fn formation_in(dir: &Path) -> Result<Formation, Error> {
        let path = dir.join(FORMATION);
        match fs::read(&path) {
            Ok(bytes) => codec::unseal(dir, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(codec::corrupt(dir, Formation::NAME, "it is missing")),
            Err(error) => Err(Error::io("cannot read", &path)(error)),
        }
    }

    pub fn hard_state(&self) -> HardState {
        self.writer().hard
    }

    /// The index of the last entry, or of the mark if there is none.
    pub fn last_index(&self) -> Index {
        self.map().last
    }

    /// Starts over under another identity: the formation is replaced, term and vote are forgotten with it. In this order, because
    /// a term and vote too many under a new id do no harm, while the old id without them could vote twice.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn reset_identity(&self, formation: &Formation) -> Result<(), Error> {
        self.save_formation(formation)?;
        self.persist(&[Batch { hard: Some(HardState::default()), ..Batch::default() }])
    }

    fn write(&self, writer: &mut Writer, group: Group<'_>) -> Result<(), Error> {
        match group.changes_meta(writer.meta) {
            true => self.write_as_segment(writer, &group)?,
            false => self.write_as_frame(writer, &group)?,
        }
        writer.hard = group.hard.unwrap_or(writer.hard);
        writer.meta = group.meta;
        writer.terms = group.terms;
        Ok(())
    }

    fn write_as_frame(&self, writer: &mut Writer, group: &Group<'_>) -> Result<(), Error> {
        if writer.offset >= self.segment_bytes {
            let oldest = self.map().segments[0].sequence;
            let head = Head { meta: writer.meta, hard: writer.hard, last: writer.terms.last(), oldest };
            let (segment, _) = self.begin_segment(writer, &head, None)?;
            self.map().segments.push(segment);
        }
        writer.buffer.clear();
        frame::encode(&mut writer.buffer, writer.segment.salt(), writer.sequence, |body| group.encode(body));
        writer.segment.append(writer.offset, &writer.buffer)?;
        let mut map = self.map();
        let place = Place { first: group.keep + 1, segment: writer.segment.sequence(), offset: writer.offset, sequence: writer.sequence };
        map.places.put(place, group.entries.len(), writer.terms.last());
        map.last = group.terms.last();
        drop(map);
        writer.offset += writer.buffer.len() as u64;
        writer.sequence += 1;
        writer.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(())
    }

    /// One new segment says it all: a crash leaves the log as it was, or as it is to be.
    fn write_as_segment(&self, writer: &mut Writer, group: &Group<'_>) -> Result<(), Error> {
        let (old_last, sequence) = (writer.terms.last(), writer.sequence);
        // Only what this very call makes durable may be seen by readers, so they keep the old places until then.
        let mut places = self.map().places.clone();
        if group.keep < old_last {
            places.truncate(group.keep);
        }
        places.cut(group.meta.mark.index, group.keep);
        let oldest = places.oldest_segment().unwrap_or(sequence);
        let head = Head { meta: group.meta, hard: group.hard.unwrap_or(writer.hard), last: group.keep, oldest };
        let first = (!group.entries.is_empty()).then_some(group);
        let (segment, offset) = self.begin_segment(writer, &head, first)?;
        if first.is_some() {
            places.put(Place { first: group.keep + 1, segment: sequence, offset, sequence: sequence + 1 }, group.entries.len(), group.keep);
        }
        let mut map = self.map();
        map.segments.push(segment);
        let needless = map.segments.partition_point(|segment| segment.sequence < oldest);
        let needless: Vec<Name> = map.segments.drain(..needless).collect();
        (map.places, map.meta, map.last) = (places, group.meta, group.terms.last());
        drop(map);
        needless.iter().try_for_each(Name::remove)
    }

    /// Goes on writing in a new segment, whose name is returned and where the frame behind its head is.
    fn begin_segment(&self, writer: &mut Writer, head: &Head, first: Option<&Group<'_>>) -> Result<(Name, u64), Error> {
        let (segment, written) = Segment::create(&self.dir, writer.sequence, head, first)?;
        // Space taken in advance is given back.
        writer.segment.end_at(writer.offset)?;
        writer.segment = segment;
        writer.offset = written.end;
        writer.sequence += 1 + u64::from(first.is_some());
        Ok((writer.segment.name(), written.head_end))
    }

    /// Feeds the entries from `first` to `last`, as far as they are there, to `take`, until that says to stop.
    fn read(&self, first: Index, last: Index, mut take: impl FnMut(Entry) -> Result<bool, Error>) -> Result<(), Error> {
        let runs: Vec<(Run, Name)> = {
            let map = self.map();
            let runs = map.places.within(first, last.min(map.last)).into_iter();
            runs.map(|run| (run, map.segment(run.place.segment))).collect()
        };
        let mut next = first;
        let mut held: Option<Segment> = None;
        for (run, name) in runs {
            let segment = match held.take_if(|segment| segment.sequence() == name.sequence) {
                Some(segment) => segment,
                None => name.open().map_err(|error| self.if_removed(&name, next, error))?,
            };
            let segment = held.insert(segment);
            let mut frames = FrameReader::new(segment, run.place.offset, run.place.sequence);
            while next <= run.last {
                let damaged = || codec::corrupt(&self.dir, "log", &format!("entry {next} cannot be read"));
                let body = frames.next()?.ok_or_else(damaged)?;
                let Body::Group(group) = Body::decode(&self.dir, body)? else { return Err(damaged()) };
                for (index, bytes) in group.entries(&self.dir) {
                    let bytes = bytes?;
                    if index < next || index > run.last {
                        continue;
                    }
                    next = index + 1;
                    if !take(codec::decode_entry(&self.dir, index, bytes)?)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Why entry `index` cannot be read, if its segment cannot be opened: it may have been removed since its name was looked up.
    fn if_removed(&self, name: &Name, index: Index, error: Error) -> Error {
        match self.map().find(name.sequence) {
            Some(_) => error,
            None => Error::NotInLog { index },
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn segment(&self, sequence: u64) -> Name {
        self.find(sequence).expect("a run lies in a segment").clone()
    }

    fn find(&self, sequence: u64) -> Option<&Name> {
        let found = self.segments.binary_search_by_key(&sequence, |segment| segment.sequence);
        found.ok().map(|at| &self.segments[at])
    }
}

impl LogStore for SegmentLog {
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error> {
        let meta = self.map().meta;
        let mut image = ImageReader::new(&self.dir, tail_bytes, self.hard_state(), meta, self.formation()?);
        self.read(meta.mark.index + 1, Index::MAX, |entry| image.push(entry).map(|()| true))?;
        Ok(image.finish())
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), Error> {
        let mut writer = self.writer();
        let group = Group::of(batches, writer.meta, &writer.terms);
        if group.changes_nothing(writer.meta, writer.terms.last()) {
            return self.latch.check();
        }
        self.latch.guard(|| self.write(&mut writer, group))
    }

    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        assert!(first <= last, "entries {first}..={last} asked for");
        let (mark, end) = {
            let map = self.map();
            (map.meta.mark.index, map.last)
        };
        if first <= mark || first > end {
            return Err(Error::NotInLog { index: first });
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut full = false;
        self.read(first, last, |entry| {
            bytes += entry.size_bytes();
            full = bytes > max_bytes && !entries.is_empty();
            if !full {
                entries.push(entry);
            }
            Ok(!full && entries.len() as u64 <= last - first)
        })?;
        match full || entries.len() as u64 > last - first {
            true => Ok(entries),
            false => Err(Error::NotInLog { index: first + entries.len() as u64 }),
        }
    }

    fn save_formation(&self, formation: &Formation) -> Result<(), Error> {
        self.latch.guard(|| durable::replace_file(&self.dir.join(FORMATION), &codec::seal(formation)))
    }

    fn check(&self) -> Result<(), Error> {
        self.latch.check()
    }
}

/// What a start finds.
struct Scan {
    segments: Vec<Name>,
    newest: Segment,
    places: Places,
    meta: LogMeta,
    terms: Terms,
    hard: HardState,
    /// Of the next frame, and where it goes in the last segment.
    sequence: u64,
    end: u64,
}

impl Scan {
    /// Reads all frames, drops a torn last one, and makes the rest durable.
    fn of(dir: &Path) -> Result<Scan, Error> {
        let mut found = segment::list(dir)?;
        let damaged = |detail: &str| codec::corrupt(dir, "log", detail);
        let (newest, newest_path) = found.pop().ok_or_else(|| damaged("it has no segment"))?;
        let newest = Segment::open(&newest_path, newest)?;
        let oldest = newest.1.oldest;
        // Left over from a cut that did not get to the end.
        let needless = found.partition_point(|(sequence, _)| *sequence < oldest);
        let needless: Vec<_> = found.drain(..needless).collect();
        let mut reader = ScanReader::starting(dir, oldest);
        for (sequence, path) in found {
            reader.take_older(Segment::open(&path, sequence)?)?;
        }
        let scan = reader.take_newest(newest)?;
        // Names were made durable before anything was written under them; a killed process may not have come that far.
        durable::sync_dir(dir)?;
        needless.iter().try_for_each(|(_, path)| segment::remove(path))?;
        Ok(scan)
    }
}

/// A log as far as it has been read, from the oldest segment on.
struct ScanReader<'a> {
    dir: &'a Path,
    segments: Vec<Name>,
    places: Places,
    meta: LogMeta,
    terms: Terms,
    hard: HardState,
    /// Of the next frame.
    sequence: u64,
}

/// A segment just opened, its head, and where the frame behind that is.
type OpenSegment = (Segment, Head, u64);

impl<'a> ScanReader<'a> {
    /// `oldest` is the number that the first segment should have.
    fn starting(dir: &'a Path, oldest: u64) -> ScanReader<'a> {
        let (meta, hard, terms) = (LogMeta { generation: 0, mark: LogId::ZERO }, HardState::default(), Terms::new(LogId::ZERO, 0));
        ScanReader { dir, segments: Vec::new(), places: Places::default(), meta, terms, hard, sequence: oldest }
    }

    fn damaged(&self, detail: &str) -> Error {
        codec::corrupt(self.dir, "log", detail)
    }

    /// Whatever cannot be read ends such a segment; the number of the next one tells whether it was the end.
    fn take_older(&mut self, (segment, head, start): OpenSegment) -> Result<(), Error> {
        self.take_head(&segment, &head)?;
        self.take_frames(&segment, start)?;
        self.keep(&segment)
    }

    fn take_newest(mut self, (segment, head, start): OpenSegment) -> Result<Scan, Error> {
        self.take_head(&segment, &head)?;
        let end = self.take_frames(&segment, start)?;
        if segment.has_frame_behind(end, self.sequence)? {
            return Err(self.damaged(&format!("{segment}: frame {} cannot be read, but one behind it can", self.sequence)));
        }
        segment.end_at(end)?;
        self.keep(&segment)?;
        if !self.terms.is_whole() {
            return Err(self.damaged(&format!("the entries behind its mark {} are missing", self.meta.mark)));
        }
        let ScanReader { segments, places, meta, terms, hard, sequence, .. } = self;
        Ok(Scan { segments, newest: segment, places, meta, terms, hard, sequence, end })
    }

    fn keep(&mut self, segment: &Segment) -> Result<(), Error> {
        segment.sync()?;
        self.segments.push(segment.name());
        Ok(())
    }

    fn take_head(&mut self, segment: &Segment, head: &Head) -> Result<(), Error> {
        if segment.sequence() != self.sequence {
            return Err(self.damaged(&format!("{segment} should begin with frame {}", self.sequence)));
        }
        if self.segments.is_empty() {
            // The log begins before it, in segments that are no longer needed.
            (self.meta, self.terms) = (head.meta, Terms::new(head.meta.mark, head.last));
        }
        let last = self.terms.last();
        let (before, after) = (self.meta, head.meta);
        // Without a cut or a snapshot a segment begins where the one before it ended. With one the log may be shorter, or begin anew at
        // the mark.
        let is_sound = match before == after {
            true => head.last == last,
            false => {
                after.mark.index >= before.mark.index
                    && after.generation >= before.generation
                    && (after.mark.index..=last.max(after.mark.index)).contains(&head.last)
            }
        };
        if !is_sound {
            return Err(self.damaged(&format!("{segment} does not continue the segment before it")));
        }
        if head.last > last {
            (self.places, self.terms) = (Places::default(), Terms::new(after.mark, head.last));
        }
        if head.last < last {
            self.places.truncate(head.last);
            self.terms.truncate(head.last + 1);
        }
        self.places.cut(after.mark.index, head.last);
        self.terms.move_mark(after.mark);
        (self.meta, self.hard) = (after, head.hard);
        self.sequence += 1;
        Ok(())
    }

    /// Where the first frame that cannot be read begins.
    fn take_frames(&mut self, segment: &Segment, start: u64) -> Result<u64, Error> {
        let mut frames = FrameReader::new(segment, start, self.sequence);
        loop {
            let (offset, sequence) = (frames.offset(), self.sequence);
            let Some(body) = frames.next()? else { return Ok(offset) };
            let Body::Group(group) = Body::decode(self.dir, body)? else {
                return Err(self.damaged(&format!("{segment} has two heads")));
            };
            let last = self.terms.last();
            if group.keep > last || group.keep < self.meta.mark.index {
                return Err(self.damaged(&format!("frame {sequence} in {segment} does not continue entry {last}")));
            }
            let place = Place { first: group.keep + 1, segment: segment.sequence(), offset, sequence };
            self.places.put(place, group.count, last);
            self.terms.truncate(group.keep + 1);
            for (index, bytes) in group.entries(self.dir) {
                let id = codec::peek_entry_id(self.dir, bytes?)?;
                if id.index != index {
                    return Err(self.damaged(&format!("frame {sequence} in {segment} holds entry {} in the place of {index}", id.index)));
                }
                self.terms.push(id);
            }
            self.hard = group.hard.unwrap_or(self.hard);
            self.sequence += 1;
        }
    }
}
