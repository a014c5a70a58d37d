//! Large values as files named by their content.
//!
//! `blobs/ab/ab…` holds the bytes whose BLAKE3 hash is `ab…`; `blobs/tmp/` holds what is not whole yet. The same content is
//! stored once.
//!
//! Invariants:
//! - a blob that [`Blobs::has`] admits to was hashed, synced, renamed, and its directory synced, in this order, or found at the
//!   start in a directory that was synced before `open` returned; and nobody has found it damaged since;
//! - a name, once given, stays until [`Blobs::collect`] finds that nobody counts on it. Writing it again puts the new file in the place
//!   of the old, so it mends a file that rotted;
//! - asking for a blob so that others may count on it ([`Blobs::promise`]), looking whether anybody refers to it and removing it are done
//!   under one lock. So no blob goes behind which a promise stands, and none is promised that is about to go;
//! - writing syncs every [`SYNC_STEP_BYTES`], so that neither the memory nor the log's own syncs wait behind a long upload;
//! - a fault while writing ends that one blob. A full disk is [`Error::NoSpace`] and harms nothing else.
//!
//! Left out: who refers to a blob, and when to look for those nobody refers to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(feature = "planted")]
use std::sync::atomic::AtomicBool;

use crate::{Error, codec, durable};

/// BLAKE3 of a blob's content; its only name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

/// The store. Cheap to clone; clones are one store.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Store>);

/// A blob being written. Dropped before it is finished, an upload is forgotten; a pull stays and can be resumed.
#[derive(Debug)]
pub struct BlobWriter {
    store: Arc<Store>,
    file: File,
    temp: PathBuf,
    /// Of a pull: what it promised to be.
    claim: Option<PullClaim>,
    hasher: blake3::Hasher,
    len: u64,
    unsynced: u64,
    state: WriterState,
}

/// A whole blob, open for reading. Stays readable whatever happens to its name.
#[derive(Debug)]
pub struct BlobReader {
    path: PathBuf,
    file: File,
    len: u64,
}

/// A write of a long blob is made durable in steps of this.
pub const SYNC_STEP_BYTES: u64 = 4 << 20;
const READ_BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug)]
struct Store {
    dir: PathBuf,
    next_upload: AtomicU64,
    /// Held while a directory is made and synced: who finds it there may count on its name.
    making_dirs: Mutex<()>,
    /// Here by name only: renamed but not known to be durable yet, or read and found damaged.
    doubted: Mutex<BTreeSet<BlobHash>>,
    /// What must not be collected. Held while a reference is looked for and a file removed, never while one is synced.
    keeping: Mutex<Keeping>,
    /// Being pulled: two writers must not append to one file.
    pulls: Mutex<BTreeSet<BlobHash>>,
    #[cfg(feature = "planted")]
    no_directory_sync: AtomicBool,
}

/// Why blobs stay that nobody refers to.
#[derive(Debug, Default)]
struct Keeping {
    /// Promised by this process, with the newest `collect` entry that it told along. Only what can still matter: at least as new
    /// as the newest collection, so that they are bounded by what is uploaded between two.
    promises: BTreeMap<BlobHash, u64>,
    /// Getting their names right now, and by how many writers.
    being_named: BTreeMap<BlobHash, u32>,
    newest_collection: u64,
}

/// A blob on its way from its temporary name to its durable one.
struct Naming<'a> {
    store: &'a Store,
    hash: BlobHash,
}

/// The right to write the partial file of one hash.
#[derive(Debug)]
struct PullClaim {
    store: Arc<Store>,
    hash: BlobHash,
}

#[derive(Debug, PartialEq, Eq)]
enum WriterState {
    Open,
    /// A write or sync failed, or the content is not what it should be.
    Failed,
    Finished,
}

const TEMP: &str = "tmp";
const PULL_PREFIX: &str = "pull-";

impl Blobs {
    /// Opens the store in `dir`, makes it if missing. Forgets unfinished uploads and keeps unfinished pulls.
    pub fn open(dir: &Path) -> Result<Blobs, Error> {
        let temp = dir.join(TEMP);
        durable::create_dirs(&temp)?;
        let mut leftovers = names_in(&temp)?;
        leftovers.retain(|name| !name.starts_with(PULL_PREFIX));
        for path in leftovers.iter().map(|name| temp.join(name)) {
            fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
        }
        if !leftovers.is_empty() {
            log::info!(count = leftovers.len(); "unfinished uploads removed");
        }
        for prefix in prefixes_in(dir)? {
            durable::sync_dir(&dir.join(prefix))?;
        }
        durable::sync_dir(dir)?;
        let store = Store {
            dir: dir.into(),
            next_upload: AtomicU64::new(0),
            making_dirs: Mutex::default(),
            doubted: Mutex::default(),
            keeping: Mutex::default(),
            pulls: Mutex::default(),
            #[cfg(feature = "planted")]
            no_directory_sync: AtomicBool::new(false),
        };
        Ok(Blobs(Arc::new(store)))
    }

    /// The planted fault: from now on a blob's new name is not synced, and [`has`](Blobs::has) admits to it all the same.
    #[cfg(feature = "planted")]
    pub fn leave_out_directory_sync(&self) {
        self.0.no_directory_sync.store(true, Ordering::Relaxed);
    }

    /// Starts a blob of unknown hash.
    pub fn create(&self) -> Result<BlobWriter, Error> {
        let number = self.0.next_upload.fetch_add(1, Ordering::Relaxed);
        let temp = self.0.dir.join(TEMP).join(format!("upload-{number}"));
        let file = File::create_new(&temp).map_err(Error::io("cannot create", &temp))?;
        Ok(BlobWriter::new(self.0.clone(), file, temp, None))
    }

    /// Starts or resumes fetching the blob `hash` from elsewhere: go on at the writer's [`len`](BlobWriter::len).
    /// What is there already is hashed again, so this takes a while. None while another writer is at it.
    pub fn pull(&self, hash: &BlobHash) -> Result<Option<BlobWriter>, Error> {
        let Some(claim) = PullClaim::new(&self.0, *hash) else { return Ok(None) };
        let temp = self.0.pull_path(hash);
        let file = File::options().create(true).read(true).append(true).open(&temp).map_err(Error::io("cannot open", &temp))?;
        let mut writer = BlobWriter::new(self.0.clone(), file, temp, Some(claim));
        writer.take_up()?;
        Ok(Some(writer))
    }

    /// The blobs that [`pull`](Blobs::pull) has begun and nobody finished.
    pub fn unfinished_pulls(&self) -> Result<Vec<BlobHash>, Error> {
        let names = names_in(&self.0.dir.join(TEMP))?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(PULL_PREFIX)?.parse().ok()).collect())
    }

    /// Gives up a pull that nobody needs any more. None there is fine; one being written stays.
    pub fn forget_pull(&self, hash: &BlobHash) -> Result<(), Error> {
        match PullClaim::new(&self.0, *hash) {
            Some(_claim) => durable::unlink(&self.0.pull_path(hash)),
            None => Ok(()),
        }
    }

    /// The size in bytes, if the blob is here and durable.
    pub fn has(&self, hash: &BlobHash) -> Result<Option<u64>, Error> {
        match self.0.doubted().contains(hash) {
            true => Ok(None),
            false => self.0.size_of(hash),
        }
    }

    /// Like [`has`](Blobs::has), for an answer that others count on: a blob that is here now is collected only behind a `collect`
    /// entry newer than `collect`, the index of the newest one applied here. Promises are of this process and not of the disk: after a
    /// restart the caller knows which entries are newer than any answer.
    pub fn promise(&self, hash: &BlobHash, collect: u64) -> Result<Option<u64>, Error> {
        let mut keeping = self.0.keeping();
        let found = self.has(hash)?;
        if found.is_some() && collect >= keeping.newest_collection {
            let promised = keeping.promises.entry(*hash).or_default();
            *promised = collect.max(*promised);
        }
        Ok(found)
    }

    /// Removes a blob by right of the `collect` entry at `upto`, unless it is referred to, or promised along with that entry or a newer one.
    /// Whether it was here and is removed.
    ///
    /// The removal is not synced: if a power cut undoes it, the blob is here again, whole, for a later collection to find.
    pub fn collect(&self, hash: &BlobHash, upto: u64, is_referenced: impl FnOnce() -> Result<bool, Error>) -> Result<bool, Error> {
        let mut keeping = self.0.keeping();
        if upto < keeping.newest_collection {
            // Promises that would have held against it may be forgotten.
            return Ok(false);
        }
        if upto > keeping.newest_collection {
            keeping.newest_collection = upto;
            keeping.promises.retain(|_, collect| *collect >= upto);
        }
        if keeping.promises.contains_key(hash) || keeping.being_named.contains_key(hash) || is_referenced()? {
            return Ok(false);
        }
        let path = self.0.path_of(hash);
        match fs::remove_file(&path) {
            Ok(()) => {
                self.0.doubted().remove(hash);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("cannot remove", &path)(error)),
        }
    }

    /// What was read under this name does not have this hash: from now on the blob counts as not here, until it is written again.
    pub fn doubt(&self, hash: &BlobHash) {
        self.0.doubted().insert(*hash);
    }

    /// None if the blob is not here.
    pub fn open_blob(&self, hash: &BlobHash) -> Result<Option<BlobReader>, Error> {
        let path = self.0.path_of(hash);
        match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((len, file)) => Ok(Some(BlobReader { path, file, len })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot open", &path)(error)),
        }
    }

    /// All whole blobs and their sizes in bytes, in order of hash.
    pub fn list(&self) -> Result<Vec<(BlobHash, u64)>, Error> {
        let mut found = Vec::new();
        for prefix in prefixes_in(&self.0.dir)? {
            for name in names_in(&self.0.dir.join(prefix))? {
                let Ok(hash) = name.parse() else { continue };
                found.extend(self.has(&hash)?.map(|size| (hash, size)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl BlobWriter {
    fn new(store: Arc<Store>, file: File, temp: PathBuf, claim: Option<PullClaim>) -> BlobWriter {
        BlobWriter { store, file, temp, claim, hasher: blake3::Hasher::new(), len: 0, unsynced: 0, state: WriterState::Open }
    }

    /// Bytes written so far, those of an earlier attempt included.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends. After an error only dropping is left.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        assert_eq!(self.state, WriterState::Open, "a blob written after it failed or finished");
        self.state = WriterState::Failed;
        while !bytes.is_empty() {
            let (step, rest) = bytes.split_at(bytes.len().min((SYNC_STEP_BYTES - self.unsynced) as usize));
            self.file.write_all(step).map_err(Error::io("cannot write", &self.temp))?;
            self.hasher.update(step);
            self.len += step.len() as u64;
            self.unsynced += step.len() as u64;
            if self.unsynced == SYNC_STEP_BYTES {
                self.sync()?;
            }
            bytes = rest;
        }
        self.state = WriterState::Open;
        Ok(())
    }

    /// Makes the blob durable under the hash of what was written, or under none: a pull keeps its promise.
    /// Returns once [`Blobs::has`] admits to it.
    pub fn finish(self) -> Result<(BlobHash, u64), Error> {
        match self.claim.as_ref().map(|claim| claim.hash) {
            Some(expected) => self.finish_as(&expected),
            None => {
                let hash = self.hash();
                self.keep(hash)
            }
        }
    }

    /// Like [`finish`](BlobWriter::finish), but content of any other hash is [`Error::Corrupt`] and forgotten.
    pub fn finish_as(mut self, expected: &BlobHash) -> Result<(BlobHash, u64), Error> {
        let hash = self.hash();
        if hash == *expected {
            return self.keep(hash);
        }
        self.state = WriterState::Failed;
        let detail = format!("{} bytes arrived whose hash is {hash}", self.len);
        Err(Error::Corrupt { what: format!("the copy of blob {expected}"), detail })
    }

    fn hash(&self) -> BlobHash {
        BlobHash(self.hasher.finalize().into())
    }

    fn keep(mut self, hash: BlobHash) -> Result<(BlobHash, u64), Error> {
        assert_eq!(self.state, WriterState::Open, "a blob finished after it failed");
        self.sync()?;
        self.store.name(&self.temp, hash, self.len)?;
        self.state = WriterState::Finished;
        Ok((hash, self.len))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io("cannot sync", &self.temp))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Hashes what an earlier attempt left in the file.
    fn take_up(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        loop {
            let read = self.file.read(&mut buffer).map_err(Error::io("cannot read", &self.temp))?;
            if read == 0 {
                // Written before a SIGKILL, it may still be in the page cache only.
                return self.sync();
            }
            self.hasher.update(&buffer[..read]);
            self.len += read as u64;
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let resumable = self.claim.is_some() && self.state == WriterState::Open;
        if self.state != WriterState::Finished && !resumable {
            // What stays behind costs space until the next start removes it, no more.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

impl BlobReader {
    /// In bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills the buffer from `offset` on; returns fewer bytes only at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", &self.path)(error)),
            }
        }
        Ok(filled)
    }

    /// Reads the whole blob and fails if its hash is another.
    pub fn verify(&self, hash: &BlobHash) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        let mut offset = 0;
        loop {
            let read = self.read_at(offset, &mut buffer)?;
            hasher.update(&buffer[..read]);
            offset += read as u64;
            if read < buffer.len() {
                break;
            }
        }
        match BlobHash(hasher.finalize().into()) {
            found if found == *hash => Ok(()),
            found => Err(codec::corrupt(&self.path, "blob", &format!("its hash is {found}"))),
        }
    }
}

impl Store {
    /// Gives a synced file its final name, durable.
    fn name(&self, temp: &Path, hash: BlobHash, len: u64) -> Result<(), Error> {
        let path = self.path_of(&hash);
        let dir = path.parent().unwrap_or(&self.dir);
        let _naming = Naming::new(self, hash);
        {
            let _alone = self.making_dirs.lock().unwrap_or_else(PoisonError::into_inner);
            durable::create_dirs(dir)?;
        }
        // What is there already may be damaged, and what we have is what it should be: it always takes its place. The name of a file that
        // is whole stays durable meanwhile, as a power cut leaves it to one of the two.
        if self.size_of(&hash)? != Some(len) {
            self.doubted().insert(hash);
        }
        fs::rename(temp, &path).map_err(Error::io("cannot rename", temp))?;
        self.sync_names(dir)?;
        // After a failure the name stays unknown to `has` until a start has synced it.
        self.doubted().remove(&hash);
        Ok(())
    }

    fn sync_names(&self, dir: &Path) -> Result<(), Error> {
        #[cfg(feature = "planted")]
        if self.no_directory_sync.load(Ordering::Relaxed) {
            return Ok(());
        }
        durable::sync_dir(dir)
    }

    fn size_of(&self, hash: &BlobHash) -> Result<Option<u64>, Error> {
        let path = self.path_of(hash);
        match fs::metadata(&path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot look at", &path)(error)),
        }
    }

    fn path_of(&self, hash: &BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    fn pull_path(&self, hash: &BlobHash) -> PathBuf {
        self.dir.join(TEMP).join(format!("{PULL_PREFIX}{hash}"))
    }

    fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<BlobHash>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulls(&self) -> MutexGuard<'_, BTreeSet<BlobHash>> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Naming<'a> {
    fn new(store: &'a Store, hash: BlobHash) -> Naming<'a> {
        *store.keeping().being_named.entry(hash).or_default() += 1;
        Naming { store, hash }
    }
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        let being_named = &mut self.store.keeping().being_named;
        let writers = being_named.get_mut(&self.hash).expect("counted when it began");
        *writers -= 1;
        if *writers == 0 {
            being_named.remove(&self.hash);
        }
    }
}

impl PullClaim {
    fn new(store: &Arc<Store>, hash: BlobHash) -> Option<PullClaim> {
        store.pulls().insert(hash).then(|| PullClaim { store: store.clone(), hash })
    }
}

impl Drop for PullClaim {
    fn drop(&mut self) {
        self.store.pulls().remove(&self.hash);
    }
}

/// The directories of whole blobs.
fn prefixes_in(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = names_in(dir)?;
    names.retain(|name| name.len() == 2);
    Ok(names)
}

fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let items = fs::read_dir(dir).map_err(Error::io("cannot read", dir))?;
    items.map(|item| Ok(item.map_err(Error::io("cannot read", dir))?.file_name().to_string_lossy().into_owned())).collect()
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's hash is written as 64 hexadecimal digits")]
pub struct NotAHash;

impl FromStr for BlobHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<BlobHash, NotAHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAHash),
        };
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| NotAHash)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(BlobHash(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, copy_as_killed};

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * i / 7) as u8).collect()
    }

    fn hash_of(bytes: &[u8]) -> BlobHash {
        BlobHash(blake3::hash(bytes).into())
    }

    fn put(blobs: &Blobs, bytes: &[u8]) -> BlobHash {
        let mut writer = blobs.create().unwrap();
        bytes.chunks(100_000).for_each(|chunk| writer.write(chunk).unwrap());
        writer.finish().unwrap().0
    }

    fn temps(dir: &Path) -> usize {
        names_in(&dir.join(TEMP)).unwrap().len()
    }

    #[test]
    fn a_blob_is_found_by_its_content_and_read_in_parts() {
        let scratch = Scratch::new();
        let bytes = content(9_000_001);
        let blobs = Blobs::open(&scratch).unwrap();
        assert_eq!(blobs.has(&hash_of(&bytes)).unwrap(), None);
        let hash = put(&blobs, &bytes);
        assert_eq!(hash, hash_of(&bytes));
        let again = Blobs::open(&scratch).unwrap();
        assert_eq!(again.has(&hash).unwrap(), Some(9_000_001));
        let reader = again.open_blob(&hash).unwrap().unwrap();
        reader.verify(&hash).unwrap();
        let mut part = vec![0; 1000];
        assert_eq!(reader.read_at(8_999_500, &mut part).unwrap(), 501);
        assert_eq!(part[..501], bytes[8_999_500..]);
        assert_eq!(reader.read_at(9_000_001, &mut part).unwrap(), 0);
        assert_eq!(temps(&scratch), 0);
        assert!(again.open_blob(&BlobHash([0; 32])).unwrap().is_none());
    }

    #[test]
    fn the_same_content_is_stored_once() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let (one, other) = (put(&blobs, &content(1000)), put(&blobs, b""));
        assert_eq!(put(&blobs, &content(1000)), one);
        let mut expected = vec![(one, 1000), (other, 0)];
        expected.sort_unstable();
        assert_eq!(blobs.list().unwrap(), expected);
        assert_eq!(temps(&scratch), 0);
    }

    #[test]
    fn a_shortened_blob_is_mended_by_writing_it_again() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, &content(1000));
        File::options().write(true).open(blobs.0.path_of(&hash)).unwrap().set_len(500).unwrap();
        put(&blobs, &content(1000));
        blobs.open_blob(&hash).unwrap().unwrap().verify(&hash).unwrap();
    }

    #[test]
    fn a_rotten_blob_of_the_right_size_is_mended_by_writing_it_again() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, &content(1000));
        let rot = || File::options().write(true).open(blobs.0.path_of(&hash)).unwrap().write_all_at(b"!", 500).unwrap();
        let verify = || blobs.open_blob(&hash).unwrap().unwrap().verify(&hash);
        rot();
        put(&blobs, &content(1000));
        verify().unwrap();

        rot();
        assert!(verify().is_err());
        blobs.doubt(&hash);
        assert_eq!((blobs.has(&hash).unwrap(), blobs.list().unwrap()), (None, vec![]), "nobody may count on it");
        let mut pull = blobs.pull(&hash).unwrap().unwrap();
        pull.write(&content(1000)).unwrap();
        pull.finish().unwrap();
        assert_eq!(blobs.has(&hash).unwrap(), Some(1000));
        verify().unwrap();
        assert_eq!(temps(&scratch), 0);
    }

    #[test]
    fn an_upload_given_up_leaves_nothing() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let mut writer = blobs.create().unwrap();
        writer.write(b"half of it").unwrap();
        assert_eq!(temps(&scratch), 1);
        drop(writer);
        assert_eq!(temps(&scratch), 0);
        assert_eq!(blobs.list().unwrap(), []);
    }

    #[test]
    fn a_kill_leaves_finished_blobs_and_half_a_pull() {
        let scratch = Scratch::new();
        let (live, killed) = (scratch.join("live"), scratch.join("killed"));
        let blobs = Blobs::open(&live).unwrap();
        let whole = put(&blobs, b"whole");
        let (mut upload, mut pull) = (blobs.create().unwrap(), blobs.pull(&hash_of(b"pulled")).unwrap().unwrap());
        upload.write(b"upl").unwrap();
        pull.write(b"pul").unwrap();
        copy_as_killed(&live, &killed);
        let blobs = Blobs::open(&killed).unwrap();
        assert_eq!(blobs.list().unwrap(), [(whole, 5)]);
        assert_eq!(blobs.unfinished_pulls().unwrap(), [hash_of(b"pulled")]);
        assert_eq!(temps(&killed), 1);
    }

    #[test]
    fn a_pull_goes_on_where_it_stopped() {
        let scratch = Scratch::new();
        let bytes = content(5_000_000);
        let hash = hash_of(&bytes);
        let blobs = Blobs::open(&scratch).unwrap();
        let mut pull = blobs.pull(&hash).unwrap().unwrap();
        assert!(blobs.pull(&hash).unwrap().is_none(), "two would write into one file");
        pull.write(&bytes[..4_500_000]).unwrap();
        drop(pull);
        let blobs = Blobs::open(&scratch).unwrap();
        let mut pull = blobs.pull(&hash).unwrap().unwrap();
        assert_eq!(pull.len(), 4_500_000);
        pull.write(&bytes[4_500_000..]).unwrap();
        assert_eq!(pull.finish().unwrap(), (hash, 5_000_000));
        blobs.open_blob(&hash).unwrap().unwrap().verify(&hash).unwrap();
        assert_eq!(blobs.unfinished_pulls().unwrap(), []);
    }

    #[test]
    fn a_pull_of_other_bytes_starts_over() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let mut pull = blobs.pull(&hash_of(b"good")).unwrap().unwrap();
        pull.write(b"evil").unwrap();
        assert!(matches!(pull.finish(), Err(Error::Corrupt { .. })));
        assert_eq!(blobs.list().unwrap(), []);
        assert_eq!(blobs.pull(&hash_of(b"good")).unwrap().unwrap().len(), 0);
        blobs.forget_pull(&hash_of(b"good")).unwrap();
        assert_eq!(temps(&scratch), 0);
    }

    #[test]
    fn an_upload_promised_under_another_hash_is_refused() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let mut writer = blobs.create().unwrap();
        writer.write(b"truncated").unwrap();
        assert!(matches!(writer.finish_as(&hash_of(b"truncated upload")), Err(Error::Corrupt { .. })));
        assert_eq!((temps(&scratch), blobs.list().unwrap()), (0, vec![]));
    }

    #[test]
    fn rotten_bytes_are_seen_by_verify() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, &content(300_000));
        let file = File::options().write(true).open(blobs.0.path_of(&hash)).unwrap();
        file.write_all_at(b"!", 290_000).unwrap();
        assert!(matches!(blobs.open_blob(&hash).unwrap().unwrap().verify(&hash), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_name_not_yet_durable_is_not_admitted_to() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, b"x");
        blobs.0.doubted().insert(hash);
        assert_eq!(blobs.has(&hash).unwrap(), None);
        assert_eq!(blobs.list().unwrap(), []);
    }

    fn unreferenced() -> Result<bool, Error> {
        Ok(false)
    }

    #[test]
    fn what_nobody_refers_to_or_was_promised_is_collected() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let (garbage, live) = (put(&blobs, b"garbage"), put(&blobs, b"live"));
        let reader = blobs.open_blob(&garbage).unwrap().unwrap();
        assert!(blobs.collect(&garbage, 5, unreferenced).unwrap());
        assert!(!blobs.collect(&live, 5, || Ok(true)).unwrap());
        assert!(!blobs.collect(&hash_of(b"never here"), 5, unreferenced).unwrap());
        assert_eq!((blobs.has(&garbage).unwrap(), blobs.list().unwrap()), (None, vec![(live, 4)]));
        assert_eq!(blobs.promise(&garbage, 5).unwrap(), None);
        reader.verify(&garbage).unwrap();
        put(&blobs, b"garbage");
        assert_eq!(Blobs::open(&scratch).unwrap().has(&garbage).unwrap(), Some(7), "it may come again");
    }

    #[test]
    fn who_cannot_tell_whether_a_blob_is_referred_to_keeps_it() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, b"x");
        assert!(blobs.collect(&hash, 5, || Err(Error::NotInLog { index: 1 })).is_err());
        assert_eq!(blobs.has(&hash).unwrap(), Some(1));
    }

    #[test]
    fn a_promise_holds_against_collections_up_to_its_own() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, b"x");
        assert_eq!(blobs.promise(&hash, 7).unwrap(), Some(1));
        assert_eq!(blobs.promise(&hash, 4).unwrap(), Some(1), "an older question takes nothing back");
        assert!(!blobs.collect(&hash, 6, unreferenced).unwrap());
        assert!(!blobs.clone().collect(&hash, 7, unreferenced).unwrap());
        assert_eq!(blobs.has(&hash).unwrap(), Some(1));
        assert!(blobs.collect(&hash, 8, unreferenced).unwrap());
        assert_eq!(blobs.has(&hash).unwrap(), None);
    }

    #[test]
    fn promises_that_cannot_matter_any_more_are_forgotten_and_older_collections_find_nothing() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let (old, new) = (put(&blobs, b"old"), put(&blobs, b"new"));
        blobs.promise(&old, 3).unwrap();
        blobs.promise(&new, 9).unwrap();
        assert!(!blobs.collect(&new, 5, unreferenced).unwrap());
        assert_eq!(blobs.0.keeping().promises.keys().collect::<Vec<_>>(), [&new]);
        assert!(!blobs.collect(&old, 3, unreferenced).unwrap(), "its promise was good for this one");
        blobs.promise(&old, 4).unwrap();
        assert_eq!(blobs.0.keeping().promises.len(), 1, "and no longer for the newest");
        assert!(blobs.collect(&old, 5, unreferenced).unwrap());
    }

    #[test]
    fn nothing_is_promised_while_a_collection_looks_for_references() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, b"x");
        let (asked, answers) = std::sync::mpsc::channel();
        let asking = blobs.clone();
        let removed = blobs.collect(&hash, 5, || {
            std::thread::spawn(move || asked.send(asking.promise(&hash, 9).unwrap()));
            let early = answers.recv_timeout(std::time::Duration::from_millis(50));
            assert!(early.is_err(), "promised {early:?} while it was about to go");
            Ok(false)
        });
        assert!(removed.unwrap());
        assert_eq!(answers.recv().unwrap(), None);
    }

    #[test]
    fn a_blob_that_is_getting_its_name_is_not_collected() {
        let scratch = Scratch::new();
        let blobs = Blobs::open(&scratch).unwrap();
        let hash = put(&blobs, b"x");
        let (one, other) = (Naming::new(&blobs.0, hash), Naming::new(&blobs.0, hash));
        drop(one);
        assert!(!blobs.collect(&hash, 5, unreferenced).unwrap());
        drop(other);
        assert!(blobs.collect(&hash, 5, unreferenced).unwrap());
    }

    #[test]
    fn a_hash_is_written_and_parsed() {
        let hash = hash_of(b"a");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for bad in ["", "ab", &"A".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(bad.parse::<BlobHash>(), Err(NotAHash), "{bad}");
        }
    }
}
