//! Addresses of clusters used before, for networks that lose multicast.
//!
//! One small file a cluster, named by its id, in the user's state directory. It is a hint: an address counts only when the node there proves
//! the same cluster id. A file that cannot be written or read is no error, the next browse finds the nodes anyway.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use discovery::Peer;
use serde::{Deserialize, Serialize};

use crate::backoff::random;
use crate::cluster_id::ClusterId;

/// Most clusters remembered; the one not written for the longest time is dropped first.
const CLUSTERS: usize = 8;
/// Most addresses kept of a cluster.
const ADDRESSES: usize = 32;
/// A larger file is not ours.
const FILE_BYTES: u64 = 16 * 1024;

/// The directory with the files.
#[derive(Clone, Debug)]
pub struct Memory {
    dir: PathBuf,
}

/// A cluster used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub id: ClusterId,
    pub name: String,
    pub peers: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    cluster_id: String,
    cluster_name: String,
    addresses: Vec<String>,
}

impl Remembered {
    pub fn new(id: ClusterId, name: &str, addresses: impl IntoIterator<Item = String>) -> Remembered {
        let peers: BTreeSet<Peer> = addresses.into_iter().filter_map(|address| address.parse().ok()).collect();
        Remembered { id, name: name.into(), peers: peers.into_iter().take(ADDRESSES).collect() }
    }
}

impl Memory {
    /// The user's own; None without a home directory.
    pub fn of_user() -> Option<Memory> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(Memory::at(state.join("rusty-kv/client")))
    }

    pub fn at(dir: PathBuf) -> Memory {
        Memory { dir }
    }

    /// All clusters, by id; files that are not ours are passed over.
    pub fn load(&self) -> Vec<Remembered> {
        let mut clusters: Vec<Remembered> = self.files().iter().filter_map(|path| read(path)).collect();
        clusters.sort_by_key(|cluster| cluster.id);
        clusters
    }

    /// Writes a cluster's file if it would change.
    pub fn store(&self, cluster: &Remembered) {
        let path = self.dir.join(format!("{}.json", cluster.id));
        if read(&path).as_ref() == Some(cluster) {
            return;
        }
        if let Err(error) = self.replace(&path, cluster) {
            log::debug!(error:% = error; "addresses are not remembered");
        }
    }

    fn replace(&self, path: &Path, cluster: &Remembered) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        self.make_room(path)?;
        let addresses = cluster.peers.iter().map(Peer::to_string).collect();
        let disk = OnDisk { cluster_id: cluster.id.to_string(), cluster_name: cluster.name.clone(), addresses };
        let temp = self.dir.join(format!(".{:08x}.tmp", random()));
        let written = fs::write(&temp, serde_json::to_vec_pretty(&disk)?).and_then(|()| fs::rename(&temp, path));
        if written.is_err() {
            let _best_effort = fs::remove_file(&temp);
        }
        written
    }

    fn make_room(&self, for_path: &Path) -> io::Result<()> {
        let mut others: Vec<PathBuf> = self.files().into_iter().filter(|path| path != for_path).collect();
        others.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
        let too_many = (others.len() + 1).saturating_sub(CLUSTERS);
        others.iter().take(too_many).try_for_each(fs::remove_file)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }
}

fn read(path: &Path) -> Option<Remembered> {
    if fs::metadata(path).ok()?.len() > FILE_BYTES {
        return None;
    }
    let disk: OnDisk = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let id = ClusterId::from_hex(&disk.cluster_id)?;
    let ours = path.file_stem()?.to_str()? == id.to_string();
    ours.then(|| Remembered::new(id, &disk.cluster_name, disk.addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(n: u8, addresses: &[&str]) -> Remembered {
        Remembered::new(ClusterId([n; 16]), "home", addresses.iter().map(ToString::to_string))
    }

    fn empty(name: &str) -> Memory {
        let dir = env::temp_dir().join(format!("rusty-kv-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&dir);
        Memory::at(dir)
    }

    #[test]
    fn a_cluster_is_remembered_under_its_id_and_the_newest_addresses_win() {
        let memory = empty("remember");
        assert_eq!(memory.load(), []);
        memory.store(&cluster(1, &["pi1:50051"]));
        memory.store(&cluster(2, &["pi9:50051"]));
        memory.store(&cluster(1, &["pi1:50051", "10.0.0.7:50051", "nonsense here"]));
        assert_eq!(memory.load(), [cluster(1, &["10.0.0.7:50051", "pi1:50051"]), cluster(2, &["pi9:50051"])]);
        fs::remove_dir_all(&memory.dir).unwrap();
    }

    #[test]
    fn damage_and_strangers_files_are_passed_over() {
        let memory = empty("damage");
        memory.store(&cluster(1, &["pi1:50051"]));
        let good = memory.dir.join(format!("{}.json", ClusterId([1; 16])));
        fs::copy(&good, memory.dir.join(format!("{}.json", ClusterId([3; 16])))).unwrap();
        fs::write(memory.dir.join("x.json"), "{").unwrap();
        assert_eq!(memory.load(), [cluster(1, &["pi1:50051"])]);
        fs::remove_dir_all(&memory.dir).unwrap();
    }

    #[test]
    fn the_number_of_clusters_is_bounded() {
        let memory = empty("bounded");
        for n in 0..20 {
            memory.store(&cluster(n, &["pi1:50051"]));
        }
        let left = memory.load();
        assert_eq!(left.len(), CLUSTERS);
        assert!(left.contains(&cluster(19, &["pi1:50051"])));
        fs::remove_dir_all(&memory.dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_no_error() {
        let memory = Memory::at("/proc/nothing/here".into());
        memory.store(&cluster(1, &["pi1:50051"]));
        assert_eq!(memory.load(), []);
    }
}
