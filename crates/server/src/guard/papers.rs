//! The papers of a node on its disk: `papers.toml` in the data directory.
//!
//! Invariants:
//! - temp file, sync, rename, sync of the directory: a cut leaves the old papers or the new ones;
//! - only the user that the node runs as can read them;
//! - `Debug` shows no key.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use trust::Credentials;

/// A larger file is not ours.
const FILE_MAX_BYTES: u64 = 64 << 10;
const PREAMBLE: &str = "# This node's key and certificate. They never leave the board; whoever copies them is this node.\n";

/// What proves who this node is.
#[derive(Clone)]
pub struct Papers {
    pub credentials: Credentials,
    /// Of the cluster that it belongs to, or is about to.
    pub formed_id: [u8; 16],
    /// Cluster time when they were written.
    pub time_s: u64,
    /// Of the node that makes the cluster: what is still to be written into the log.
    pub founding: Option<Founding>,
}

#[derive(Clone)]
pub struct Founding {
    /// The authority's key, PKCS#8.
    pub authority_key: Vec<u8>,
    pub voters: u8,
}

#[derive(Debug, thiserror::Error)]
pub enum PapersError {
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    #[error("{path} is damaged: {why}. Move the data directory away and join anew: the board then is a new node")]
    Damaged { path: String, why: String },
    #[error(transparent)]
    Trust(#[from] trust::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    format: u32,
    formed_id: String,
    time_s: u64,
    key: String,
    leaf: String,
    authorities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    founding: Option<FoundingOnDisk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FoundingOnDisk {
    authority_key: String,
    voters: u8,
}

const FORMAT: u32 = 1;

impl Papers {
    /// None if there are none.
    pub fn read(path: &Path) -> Result<Option<Papers>, PapersError> {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(meta) if meta.len() > FILE_MAX_BYTES => return Err(damaged(path, "it is far too large")),
            _ => fs::read_to_string(path).map_err(|error| file(path, error))?,
        };
        let disk: OnDisk = toml::from_str(&text).map_err(|error| damaged(path, error.message()))?;
        if disk.format != FORMAT {
            return Err(damaged(path, "it is of a later version of this program"));
        }
        let bytes = |text: &String| BASE64.decode(text).map_err(|error| damaged(path, &error.to_string()));
        let founding = disk
            .founding
            .as_ref()
            .map(|founding| Ok::<_, PapersError>(Founding { authority_key: bytes(&founding.authority_key)?, voters: founding.voters }));
        Ok(Some(Papers {
            credentials: Credentials {
                leaf: bytes(&disk.leaf)?,
                key: bytes(&disk.key)?,
                authorities: disk.authorities.iter().map(bytes).collect::<Result<_, _>>()?,
            },
            formed_id: bytes(&disk.formed_id)?.try_into().map_err(|_| damaged(path, "its cluster's id is none"))?,
            time_s: disk.time_s,
            founding: founding.transpose()?,
        }))
    }

    pub fn write(&self, path: &Path) -> Result<(), PapersError> {
        let text = |bytes: &Vec<u8>| BASE64.encode(bytes);
        let disk = OnDisk {
            format: FORMAT,
            formed_id: BASE64.encode(self.formed_id),
            time_s: self.time_s,
            key: text(&self.credentials.key),
            leaf: text(&self.credentials.leaf),
            authorities: self.credentials.authorities.iter().map(text).collect(),
            founding: self
                .founding
                .as_ref()
                .map(|founding| FoundingOnDisk { authority_key: text(&founding.authority_key), voters: founding.voters }),
        };
        let body = toml::to_string(&disk).expect("papers always have a form");
        replace(path, format!("{PREAMBLE}{body}").as_bytes()).map_err(|error| file(path, error))
    }
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Papers").field("time_s", &self.time_s).field("founding", &self.founding.is_some()).finish_non_exhaustive()
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("tmp");
    let _stale = fs::remove_file(&temp);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&temp, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

fn file(path: &Path, error: io::Error) -> PapersError {
    PapersError::File { path: path.display().to_string(), error }
}

fn damaged(path: &Path, why: &str) -> PapersError {
    PapersError::Damaged { path: path.display().to_string(), why: why.to_owned() }
}
