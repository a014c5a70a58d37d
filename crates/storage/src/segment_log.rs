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
//! | `log.<sequence>` | a segment: frames from this sequence number on; the first one says where the log stood before it |
//!
//! Invariants:
//! - a frame is written only after the one before it is synced, so at most the last one can be torn. A frame that cannot be read
//!   and has a readable one behind it is damage, and refused; one at the very end was never acknowledged, and is dropped;
//! - the frames of all segments are numbered without gaps: a segment that is missing is noticed;
//! - a new segment gets its name only when its head is synced, and its first frame only when its name is;
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
};

/// A segment that has grown to this gets a successor; frames are never split, so it ends up to one group of batches longer.
const SEGMENT_BYTES: u64 = 16 << 20;
const FORMATION: &str = "formation";
/// What a large group leaves behind as room for the next one.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// `raft/`: see [`LogStore`].
pub struct SegmentLog {
    dir: PathBuf,
    meta: LogMeta,
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
    last: Index,
    buffer: Vec<u8>,
}

struct Map {
    segments: Vec<Name>,
    places: Places,
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
        let head = Head { meta: LogMeta { generation: 0, mark: LogId::ZERO }, hard: HardState::default(), last: 0 };
        Segment::create(dir, 0, &head)?;
        SegmentLog::open_with(dir, segment_bytes)
    }

    fn open_with(dir: &Path, segment_bytes: u64) -> Result<SegmentLog, Error> {
        let scan = Scan::of(dir)?;
        let writer = Writer {
            segment: scan.newest,
            offset: scan.end,
            sequence: scan.sequence,
            hard: scan.hard,
            last: scan.last,
            buffer: Vec::new(),
        };
        let map = Map { segments: scan.segments, places: scan.places, last: scan.last };
        Ok(SegmentLog {
            dir: dir.into(),
            meta: scan.meta,
            segment_bytes,
            writer: Mutex::new(writer),
            map: Mutex::new(map),
            latch: Latch::default(),
        })
    }

    /// The number of the state database that belongs to this log.
    pub fn generation(&self) -> u64 {
        self.meta.generation
    }

    pub fn formation(&self) -> Result<Formation, Error> {
        let path = self.dir.join(FORMATION);
        match fs::read(&path) {
            Ok(bytes) => codec::unseal(&self.dir, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(codec::corrupt(&self.dir, Formation::NAME, "it is missing")),
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
    pub(crate) fn reset_identity(&self, formation: &Formation) -> Result<(), Error> {
        self.save_formation(formation)?;
        self.persist(&[Batch { hard: Some(HardState::default()), ..Batch::default() }])
    }

    fn write(&self, writer: &mut Writer, group: &Group<'_>) -> Result<(), Error> {
        if writer.offset >= self.segment_bytes {
            self.begin_segment(writer)?;
        }
        let hard = group.hard.unwrap_or(writer.hard);
        writer.buffer.clear();
        frame::encode(&mut writer.buffer, writer.segment.salt(), writer.sequence, |body| group.encode(body));
        writer.segment.append(writer.offset, &writer.buffer)?;
        let mut map = self.map();
        let place = Place { first: group.keep + 1, segment: writer.segment.sequence(), offset: writer.offset, sequence: writer.sequence };
        map.places.put(place, group.entries.len(), writer.last);
        map.last = group.last();
        drop(map);
        writer.hard = hard;
        writer.last = group.last();
        writer.offset += writer.buffer.len() as u64;
        writer.sequence += 1;
        writer.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(())
    }

    fn begin_segment(&self, writer: &mut Writer) -> Result<(), Error> {
        let head = Head { meta: self.meta, hard: writer.hard, last: writer.last };
        let (segment, offset) = Segment::create(&self.dir, writer.sequence, &head)?;
        // Space taken in advance is given back.
        writer.segment.end_at(writer.offset)?;
        writer.segment = segment;
        writer.offset = offset;
        writer.sequence += 1;
        self.map().segments.push(writer.segment.name());
        Ok(())
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
                None => name.open()?,
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

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn segment(&self, sequence: u64) -> Name {
        let found = self.segments.binary_search_by_key(&sequence, |segment| segment.sequence);
        self.segments[found.expect("a run lies in a segment")].clone()
    }
}

impl LogStore for SegmentLog {
    fn load(&self, tail_bytes: usize) -> Result<LogImage, Error> {
        let mut image = ImageReader::new(&self.dir, tail_bytes, self.hard_state(), self.meta.mark, self.formation()?);
        self.read(self.meta.mark.index + 1, Index::MAX, |entry| image.push(entry).map(|()| true))?;
        Ok(image.finish())
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), Error> {
        let mut writer = self.writer();
        let group = Group::of(batches, self.meta.mark.index, writer.last);
        if group.changes_nothing(writer.last) {
            return self.latch.check();
        }
        self.latch.guard(|| self.write(&mut writer, &group))
    }

    fn entries(&self, first: Index, last: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        assert!(first <= last, "entries {first}..={last} asked for");
        let end = self.last_index();
        if first <= self.meta.mark.index || first > end {
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
    hard: HardState,
    last: Index,
    /// Of the next frame, and where it goes in the last segment.
    sequence: u64,
    end: u64,
}

impl Scan {
    /// Reads all frames, drops a torn last one, and makes the rest durable.
    fn of(dir: &Path) -> Result<Scan, Error> {
        let found = segment::list(dir)?;
        let damaged = |detail: &str| codec::corrupt(dir, "log", detail);
        let (first, oldest) = found.first().ok_or_else(|| damaged("it has no segment"))?;
        let (newest, head, _) = Segment::open(oldest, *first)?;
        let mut scan = Scan {
            segments: Vec::new(),
            newest,
            places: Places::default(),
            meta: head.meta,
            hard: head.hard,
            last: head.last,
            sequence: *first,
            end: 0,
        };
        for (number, (sequence, path)) in found.iter().enumerate() {
            if *sequence != scan.sequence {
                return Err(damaged(&format!("{} should begin with frame {}", path.display(), scan.sequence)));
            }
            let is_last = number + 1 == found.len();
            scan.read_segment(dir, path, is_last)?;
        }
        // Names were made durable before anything was written under them; a killed process may not have come that far.
        durable::sync_dir(dir)?;
        Ok(scan)
    }

    fn read_segment(&mut self, dir: &Path, path: &Path, is_last: bool) -> Result<(), Error> {
        let (segment, head, start) = Segment::open(path, self.sequence)?;
        let damaged = |detail: &str| codec::corrupt(dir, "log", &format!("{}: {detail}", path.display()));
        if head.last != self.last {
            return Err(damaged("it does not continue the segment before it"));
        }
        (self.meta, self.hard) = (head.meta, head.hard);
        self.sequence += 1;
        let mut frames = FrameReader::new(&segment, start, self.sequence);
        loop {
            let (offset, sequence) = (frames.offset(), self.sequence);
            let Some(body) = frames.next()? else { break };
            let Body::Group(group) = Body::decode(dir, body)? else { return Err(damaged("it has two heads")) };
            if group.keep > self.last || group.keep < self.meta.mark.index {
                return Err(damaged(&format!("frame {sequence} does not continue entry {}", self.last)));
            }
            let place = Place { first: group.keep + 1, segment: segment.sequence(), offset, sequence };
            self.places.put(place, group.count, self.last);
            self.hard = group.hard.unwrap_or(self.hard);
            self.last = group.keep + group.count as u64;
            self.sequence += 1;
        }
        self.end = frames.offset();
        // Whatever cannot be read ends an older segment, too; the numbers of the next one tell whether it was the end.
        if is_last {
            if segment.has_frame_behind(self.end, self.sequence)? {
                return Err(damaged(&format!("frame {} cannot be read, but one behind it can", self.sequence)));
            }
            segment.end_at(self.end)?;
        }
        segment.sync()?;
        self.segments.push(segment.name());
        self.newest = segment;
        Ok(())
    }
}
