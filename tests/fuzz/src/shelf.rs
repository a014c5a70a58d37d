//! A folder in memory for what is read from files: a target is called ten thousand times a second.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

const MEMORY: &str = "/dev/shm";

/// A folder of its own, gone when this is dropped.
pub struct Shelf(PathBuf);

impl Shelf {
    pub fn new() -> Shelf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new(MEMORY);
        let home = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let shelf = home.join(format!("rusty-kv-fuzz-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&shelf).expect("memory has room for a folder");
        Shelf(shelf)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("memory has room for a file");
        path
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // One that stays does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
