//! Addresses that survive a restart: `peers.toml` in the data directory.
//!
//! Losing the file costs a search, never data; so it is written with care (temp file, sync, rename) but a failure is only told.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use raft::NodeId;
use serde::{Deserialize, Serialize};

use super::{Address, Book};

/// Addresses kept of one member.
const ADDRESSES_MAX: usize = 4;

#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    written: BTreeMap<String, Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    name: String,
    addresses: Vec<String>,
    /// In hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    board: Option<String>,
}

impl Memory {
    /// Fills the book with what an earlier run proved.
    pub fn recall(data_dir: &Path, book: &Book) -> Memory {
        let path = data_dir.join("peers.toml");
        let written: BTreeMap<String, Member> =
            fs::read_to_string(&path).ok().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default();
        for (id, member) in &written {
            if let Ok(id) = u64::from_str_radix(id, 16) {
                let board = member.board.as_ref().and_then(|board| u64::from_str_radix(board, 16).ok());
                book.recall(NodeId(id), member.name.clone(), board, member.addresses.iter().cloned().map(Address::from));
            }
        }
        Memory { path, written }
    }

    /// Writes the members' addresses if they changed.
    pub fn keep(&mut self, book: &Book, members: impl Iterator<Item = NodeId>) {
        let mut now = BTreeMap::new();
        for id in members {
            let addresses: Vec<String> = book.addresses_of(id).iter().take(ADDRESSES_MAX).map(Address::to_string).collect();
            match self.written.get(&id.to_string()) {
                Some(before) if addresses.is_empty() => drop(now.insert(id.to_string(), before.clone())),
                _ => drop(now.insert(
                    id.to_string(),
                    Member {
                        name: book.name_of(id).unwrap_or_default(),
                        addresses,
                        board: book.board_of(id).map(|board| format!("{board:016x}")),
                    },
                )),
            }
        }
        // The order of addresses changes with every answer; that alone is not worth a write to a card.
        let sorted = |members: &BTreeMap<String, Member>| {
            let mut members = members.clone();
            members.values_mut().for_each(|member| member.addresses.sort());
            members
        };
        if sorted(&now) != sorted(&self.written) {
            if let Err(error) = write(&self.path, &now) {
                log::warn!(path:% = self.path.display(), error:%; "could not remember the peers' addresses");
            }
            self.written = now;
        }
    }
}

fn write(path: &Path, members: &BTreeMap<String, Member>) -> io::Result<()> {
    let text = toml::to_string(members).map_err(io::Error::other)?;
    let temp = path.with_extension("tmp");
    let mut file = fs::File::create(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&temp, path)
}
