//! A directory for one test, gone when it ends.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

pub(crate) struct Scratch(PathBuf);

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    pub fn new() -> Scratch {
        let name = format!("rusty-kv-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An engine in a directory. A crash copies the files while the engine is open and never closes it properly: flushing on
/// close would hide what a kill loses.
pub(crate) struct Killable<T> {
    scratch: Scratch,
    lives: u32,
    pub engine: T,
    open: fn(&Path) -> T,
}

impl<T> Killable<T> {
    pub fn new(create: fn(&Path) -> T, open: fn(&Path) -> T) -> Killable<T> {
        let scratch = Scratch::new();
        Killable { engine: create(&scratch.join("0")), scratch, lives: 0, open }
    }

    pub fn dir(&self) -> PathBuf {
        self.scratch.join(self.lives.to_string())
    }

    pub fn crash(&mut self) {
        let before = self.dir();
        self.lives += 1;
        copy_as_killed(&before, &self.dir());
        self.engine = (self.open)(&self.dir());
    }

    /// Open files stay writable, but no new one can be made.
    pub fn break_disk(&mut self) {
        fs::remove_dir_all(self.dir()).unwrap();
    }
}

/// Copies a directory as it is, with whatever its owner has not written yet missing: what a SIGKILL leaves.
pub(crate) fn copy_as_killed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let from = item.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy_as_killed(&from, &to),
            // The owner may remove a file while we look.
            false => drop(fs::copy(&from, &to)),
        }
    }
}
