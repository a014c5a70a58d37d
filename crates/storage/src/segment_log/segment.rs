//! One file of frames.

use std::{
    fmt,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{FallocateFlags, fallocate};

use super::frame::{self, ALIGNMENT_BYTES, Body, Group, HEADER_BYTES, Head, Header};
use crate::{Error, codec, durable};

const PREFIX: &str = "log.";
/// A segment under this name is not part of the log yet.
const UNBORN: &str = "log.new";
/// Space is taken in steps: a sync of bytes in space that the file already has spares the file system a note in its journal.
const ALLOCATE_STEP_BYTES: u64 = 1 << 20;
const READ_STEP_BYTES: usize = 256 << 10;
/// The head is read before its salt is known.
const NO_SALT: u64 = 0;

pub(super) struct Segment {
    path: PathBuf,
    file: File,
    /// Of its first frame.
    sequence: u64,
    salt: u64,
    allocated: AtomicU64,
}

/// How far a new segment was written.
pub(super) struct Written {
    pub head_end: u64,
    pub end: u64,
}

/// A segment that is not open: logs have many, and a process may have few files open.
#[derive(Clone)]
pub(super) struct Name {
    path: PathBuf,
    /// Of its first frame.
    pub sequence: u64,
    salt: u64,
}

impl Name {
    pub fn open(&self) -> Result<Segment, Error> {
        let Name { path, sequence, salt } = self.clone();
        let file = File::open(&path).map_err(Error::io("cannot open", &path))?;
        Ok(Segment { path, file, sequence, salt, allocated: AtomicU64::new(0) })
    }

    /// Removes the file. A name that comes back after a power cut is below what the newest head calls the oldest segment, so the
    /// removal need not be durable.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.path)
    }
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("cannot remove", path)),
    }
}

/// All segments in `dir` with their first sequence numbers, in order.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).map_err(Error::io("cannot read", dir))? {
        let path = item.map_err(Error::io("cannot read", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(sequence) = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()) {
            found.push((sequence, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Segment {
    /// A new segment of a head and perhaps the frame behind it, durable under its name, which it does not get before it is whole.
    pub fn create(dir: &Path, sequence: u64, head: &Head, first: Option<&Group<'_>>) -> Result<(Segment, Written), Error> {
        let salt = RandomState::new().hash_one(sequence);
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, NO_SALT, sequence, |body| head.encode(salt, body));
        let head_end = bytes.len() as u64;
        if let Some(group) = first {
            frame::encode(&mut bytes, salt, sequence + 1, |body| group.encode(body));
        }
        let unborn = dir.join(UNBORN);
        let path = dir.join(format!("{PREFIX}{sequence:020}"));
        // Left over from a process that died before the rename, or not there.
        durable::unlink(&unborn)?;
        let file = File::options().read(true).write(true).create_new(true).open(&unborn).map_err(Error::io("cannot create", &unborn))?;
        let segment = Segment { path: unborn.clone(), file, sequence, salt, allocated: AtomicU64::new(0) };
        segment.append(0, &bytes)?;
        durable::rename(&unborn, &path)?;
        Ok((Segment { path, ..segment }, Written { head_end, end: bytes.len() as u64 }))
    }

    /// The segment at `path`, its head, and where its next frame is.
    pub fn open(path: &Path, sequence: u64) -> Result<(Segment, Head, u64), Error> {
        let file = File::options().read(true).write(true).open(path).map_err(Error::io("cannot open", path))?;
        let mut segment = Segment { path: path.into(), file, sequence, salt: NO_SALT, allocated: AtomicU64::new(0) };
        let damaged = || codec::corrupt(path, "log segment", "its head cannot be read");
        let mut frames = FrameReader::new(&segment, 0, sequence);
        let body = frames.next()?.ok_or_else(damaged)?;
        let Body::Head { salt, head } = Body::decode(path, body)? else { return Err(damaged()) };
        let start = frames.offset();
        segment.salt = salt;
        Ok((segment, head, start))
    }

    /// How to come back to it without holding it open.
    pub fn name(&self) -> Name {
        Name { path: self.path.clone(), sequence: self.sequence, salt: self.salt }
    }

    /// Of its first frame.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// Writes a frame, durable.
    pub fn append(&self, offset: u64, frame: &[u8]) -> Result<(), Error> {
        let end = offset + frame.len() as u64;
        let allocated = self.allocated.load(Ordering::Relaxed);
        if end > allocated {
            let wanted = end.next_multiple_of(ALLOCATE_STEP_BYTES);
            // Not every file system can, and on a full one there may be room for the frame all the same: the write tells.
            let _ = fallocate(&self.file, FallocateFlags::empty(), allocated, wanted - allocated);
            self.allocated.store(wanted, Ordering::Relaxed);
        }
        self.file.write_all_at(frame, offset).map_err(Error::io("cannot write", &self.path))?;
        self.sync()
    }

    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| Error::Io { what: "cannot sync", path: self.path.clone(), source })
    }

    /// Forgets everything from `end` on.
    pub fn end_at(&self, end: u64) -> Result<(), Error> {
        self.allocated.store(end, Ordering::Relaxed);
        self.file.set_len(end).map_err(Error::io("cannot shorten", &self.path))
    }

    /// Whether a frame with a number above `sequence` begins anywhere behind `offset`, whole or not: it was written only after the
    /// one before it was synced.
    pub fn has_frame_behind(&self, offset: u64, sequence: u64) -> Result<bool, Error> {
        let mut bytes = Vec::new();
        let mut at = offset;
        loop {
            bytes.resize(READ_STEP_BYTES + HEADER_BYTES, 0);
            let read = read_at(&self.file, &mut bytes, at).map_err(Error::io("cannot read", &self.path))?;
            let begins = |start: usize| Header::decode(self.salt, &bytes[start..read]).is_some_and(|header| header.sequence > sequence);
            if (0..read.min(READ_STEP_BYTES)).step_by(ALIGNMENT_BYTES).any(begins) {
                return Ok(true);
            }
            if read <= READ_STEP_BYTES {
                return Ok(false);
            }
            at += READ_STEP_BYTES as u64;
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Reads frame after frame.
pub(super) struct FrameReader<'a> {
    segment: &'a Segment,
    /// Of the next frame.
    sequence: u64,
    offset: u64,
    /// Bytes of the file from `buffered_at` on.
    buffer: Vec<u8>,
    buffered_at: u64,
    /// Of the file, once known: no frame reaches beyond it.
    length: Option<u64>,
}

impl<'a> FrameReader<'a> {
    pub fn new(segment: &'a Segment, offset: u64, sequence: u64) -> FrameReader<'a> {
        FrameReader { segment, sequence, offset, buffer: Vec::new(), buffered_at: offset, length: None }
    }

    /// Where the next frame is.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame's body; none if there is no whole frame of the next number.
    pub fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        let salt = self.segment.salt;
        let Some(header) = Header::decode(salt, self.bytes(HEADER_BYTES)?) else { return Ok(None) };
        let too_long = header.length as u64 > self.file_len()?;
        if header.sequence != self.sequence || header.length == 0 || too_long {
            return Ok(None);
        }
        let frame = self.bytes(header.frame_bytes())?;
        let whole = frame.len() >= HEADER_BYTES + header.length && header.fits(salt, &frame[HEADER_BYTES..HEADER_BYTES + header.length]);
        if !whole {
            return Ok(None);
        }
        let start = (self.offset - self.buffered_at) as usize + HEADER_BYTES;
        self.offset += header.frame_bytes() as u64;
        self.sequence += 1;
        Ok(Some(&self.buffer[start..start + header.length]))
    }

    fn file_len(&mut self) -> Result<u64, Error> {
        match self.length {
            Some(length) => Ok(length),
            None => {
                let length = self.segment.file.metadata().map_err(Error::io("cannot read", &self.segment.path))?.len();
                Ok(*self.length.insert(length))
            }
        }
    }

    /// Up to `wanted` bytes at the present offset; fewer only at the end of the file.
    fn bytes(&mut self, wanted: usize) -> Result<&[u8], Error> {
        let start = (self.offset - self.buffered_at) as usize;
        if self.buffer.len() < start + wanted {
            self.buffer.drain(..start.min(self.buffer.len()));
            self.buffered_at = self.offset;
            let held = self.buffer.len();
            self.buffer.resize(wanted.max(READ_STEP_BYTES), 0);
            let read = read_at(&self.segment.file, &mut self.buffer[held..], self.offset + held as u64);
            self.buffer.truncate(held + read.map_err(Error::io("cannot read", &self.segment.path))?);
        }
        let start = (self.offset - self.buffered_at) as usize;
        Ok(&self.buffer[start..self.buffer.len().min(start + wanted)])
    }
}

/// Fills `bytes` as far as the file goes.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
