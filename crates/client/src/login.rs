//! What proves to a closed cluster who its user is: a key and a certificate, one file a cluster, in the user's configuration.
//!
//! Invariants:
//! - the key is made here and never leaves the machine; only its owner can read the file;
//! - ends of validity are judged by the time that the cluster itself told last, never by this machine's clock;
//! - `Debug` shows no key.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use discovery::Peer;
use proto::v1;
use serde::{Deserialize, Serialize};
use trust::{Clock, Credentials, KeyPair, Subject, UnixSecs, Who};

use crate::backoff::random;
use crate::cluster_id::{ClusterId, is_meant};
use crate::error::{Error, Kind};

/// A larger file is not ours.
const FILE_BYTES: u64 = 64 << 10;
const ADDRESSES: usize = 16;
const FORMAT: u32 = 1;

/// One cluster's user.
#[derive(Clone)]
pub struct Login {
    /// As its certificates name it; after a recovery its nodes tell another.
    pub cluster_id: ClusterId,
    pub cluster_name: String,
    /// Where its nodes were.
    pub peers: Vec<Peer>,
    credentials: Credentials,
    time_s: u64,
    /// Where it is kept, if it is.
    kept: Option<Logins>,
}

/// The logins of a user, by cluster.
#[derive(Clone, Debug)]
pub struct Logins {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    cluster_name: String,
    addresses: Vec<String>,
    time_s: u64,
    key: String,
    leaf: String,
    authorities: Vec<String>,
}

impl Login {
    /// What an answer to a request for a certificate makes of a key.
    pub fn of(answer: v1::AdmitResponse, key: &KeyPair) -> Result<Login, Error> {
        let wrong = |why: &str| Error::new(Kind::Verification, format!("the node answered with {why}"), "");
        let certificate = answer.certificate.ok_or_else(|| wrong("no certificate"))?;
        let cluster_id = ClusterId::from_wire(&answer.cluster_id).ok_or_else(|| wrong("no cluster"))?;
        let login = Login {
            cluster_id,
            cluster_name: answer.cluster_name,
            peers: answer.addresses.iter().filter_map(|address| address.parse().ok()).take(ADDRESSES).collect(),
            credentials: Credentials {
                leaf: certificate.leaf.to_vec(),
                key: key.key_der().to_vec(),
                authorities: certificate.authorities.iter().map(|authority| authority.to_vec()).collect(),
            },
            time_s: certificate.time_s,
            kept: None,
        };
        match login.credentials.subject() {
            Ok(Subject { cluster_id: of, who: Who::Client { .. } }) if of == cluster_id.0 => Ok(login),
            _ => Err(wrong("a certificate for somebody else")),
        }
    }

    /// What its owner may do, in words.
    pub fn grant(&self) -> String {
        match self.credentials.subject() {
            Ok(Subject { who: Who::Client { grant, .. }, .. }) if grant.prefix.is_empty() => grant.role.to_string(),
            Ok(Subject { who: Who::Client { grant, .. }, .. }) => {
                format!("{}, keys that begin with {}", grant.role, grant.prefix.escape_ascii())
            }
            _ => "nothing".into(),
        }
    }

    /// Whether one of these authorities has the hash.
    pub fn trusts(&self, ca_hash: &[u8; 32]) -> bool {
        self.credentials.authorities.iter().any(|authority| trust::hash_of(authority) == *ca_hash)
    }

    /// Whether its certificate is to be exchanged for a new one, as far as a node's own state tells: two thirds of its life are over, or the
    /// cluster is about to change its authority.
    pub fn is_to_be_renewed(&self, status: &v1::StatusResponse) -> bool {
        let known = self.credentials.authorities.iter().map(|authority| trust::hash_of(authority).to_vec());
        let is_old = || self.credentials.renew_at().is_ok_and(|at| at <= UnixSecs(status.cluster_time_s));
        let Some(newest) = status.authorities.first() else { return false };
        !self.is_of(newest) || !known.eq(status.authorities.iter().map(|hash| hash.to_vec())) || is_old()
    }

    /// Whether the authority with this hash has signed it.
    pub fn is_of(&self, authority: &[u8]) -> bool {
        self.credentials.signer().is_ok_and(|signer| signer == authority)
    }

    /// The same user with a new key, and what a node made of it. Kept where the old one is.
    pub fn renewed(&self, certificate: v1::Certificate, key: &KeyPair) -> Result<Login, Error> {
        let answer = v1::AdmitResponse {
            certificate: Some(certificate),
            cluster_id: self.cluster_id.0.to_vec().into(),
            cluster_name: self.cluster_name.clone(),
            ..v1::AdmitResponse::default()
        };
        let mut login = Login::of(answer, key)?;
        login.peers.clone_from(&self.peers);
        login.kept.clone_from(&self.kept);
        if let Some(logins) = &self.kept {
            logins.store(&login)?;
        }
        Ok(login)
    }

    /// How its connections are secured.
    pub fn tls(&self) -> Result<Arc<rustls::ClientConfig>, trust::Error> {
        let now = UnixSecs(self.time_s);
        let clock: Clock = Arc::new(move || now);
        trust::client_config(&self.credentials, clock)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("cluster_id", &self.cluster_id).field("cluster_name", &self.cluster_name).finish_non_exhaustive()
    }
}

impl Logins {
    /// The user's own; None without a home directory.
    pub fn of_user() -> Option<Logins> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
        Some(Logins::at(config.join("rusty-kv/logins")))
    }

    pub fn at(dir: PathBuf) -> Logins {
        Logins { dir }
    }

    /// All of them; what is no login is passed over.
    pub fn load(&self) -> Vec<Login> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let kept = |login| Login { kept: Some(self.clone()), ..login };
        let mut logins: Vec<Login> = entries.filter_map(|entry| read(&entry.path())).map(kept).collect();
        logins.sort_by_key(|login| login.cluster_id);
        logins
    }

    /// The one for the cluster that is meant; of several, none is.
    pub fn meant(&self, wanted: Option<&str>) -> Option<Login> {
        let all = self.load().into_iter().filter(|login| is_meant(wanted, &login.cluster_name, Some(login.cluster_id)));
        let mut all: Vec<Login> = all.collect();
        if all.len() == 1 { all.pop() } else { None }
    }

    /// Keeps a login in place of an earlier one of the same cluster. Returns where.
    pub fn store(&self, login: &Login) -> Result<PathBuf, Error> {
        let path = self.dir.join(format!("{}.toml", login.cluster_id));
        let failed = |error| Error::file(format!("cannot write {}", path.display()), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let text = |bytes: &Vec<u8>| BASE64.encode(bytes);
        let disk = OnDisk {
            format: FORMAT,
            cluster_name: login.cluster_name.clone(),
            addresses: login.peers.iter().map(Peer::to_string).collect(),
            time_s: login.time_s,
            key: text(&login.credentials.key),
            leaf: text(&login.credentials.leaf),
            authorities: login.credentials.authorities.iter().map(text).collect(),
        };
        let body = toml::to_string(&disk).expect("a login always has a form");
        replace(&self.dir, &path, body.as_bytes()).map_err(failed)?;
        Ok(path)
    }
}

fn read(path: &Path) -> Option<Login> {
    if fs::metadata(path).ok()?.len() > FILE_BYTES {
        return None;
    }
    let disk: OnDisk = toml::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let cluster_id = ClusterId::from_hex(path.file_stem()?.to_str()?)?;
    let bytes = |text: &String| BASE64.decode(text).ok();
    let credentials = Credentials {
        leaf: bytes(&disk.leaf)?,
        key: bytes(&disk.key)?,
        authorities: disk.authorities.iter().map(bytes).collect::<Option<_>>()?,
    };
    let peers = disk.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let login = Login { cluster_id, cluster_name: disk.cluster_name, peers, credentials, time_s: disk.time_s, kept: None };
    (disk.format == FORMAT).then_some(login)
}

fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = dir.join(format!(".{:08x}.tmp", random()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        let _best_effort = fs::remove_file(&temp);
    }
    written
}
