//! A closed cluster as this node takes part in it: its papers, who is let in, cluster time.
//!
//! Invariants:
//! - the node's key is made on the board and never leaves it; only a request for a certificate does;
//! - papers are durable before anybody is shown them;
//! - nothing here reads a clock to judge a certificate: ends of validity are judged by cluster time, which only the log moves;
//! - what is refused is counted, and logged once for each address.

mod admission;
mod answer;
mod cluster_time;
mod creation;
mod joining;
mod local_login;
mod papers;
mod renewal;
mod rotation;
mod tokens;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};
use trust::{Clock, Credentials, UnixSecs};

use crate::peers::Address;

pub use admission::{Guesses, admit, renew};
pub use cluster_time::keep_time;
pub use creation::{create, found};
pub use joining::join;
pub use local_login::local_login;
pub use papers::{Founding, Papers, PapersError};
pub use renewal::keep_renewed;
pub use rotation::rotate;
pub use tokens::{list_tokens, new_token, revoke_token};

/// Addresses that were refused and logged; beyond it they are only counted.
const REFUSED_LOGGED_MAX: usize = 64;
/// Life of a node's certificate. It is renewed at two thirds, while the node is a member and others are up.
pub const NODE_LIFE_S: u64 = 365 * 86_400;
/// Of a client's.
pub const CLIENT_LIFE_S: u64 = 365 * 86_400;

/// What this node has to do with a closed cluster.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    secured: watch::Sender<Option<Arc<Secured>>>,
    /// Cluster time as far as this node has heard.
    time: Arc<AtomicU64>,
    refused: AtomicU64,
    logged: Mutex<BTreeSet<IpAddr>>,
}

/// Papers in force, ready for use.
pub struct Secured {
    pub cluster_id: [u8; 16],
    pub papers: Papers,
    /// Hash of the authority that signed the node's certificate.
    pub signer: [u8; 32],
    /// Since when, in this run, these authorities have been trusted here.
    pub since: Instant,
    pub server: Arc<rustls::ServerConfig>,
    pub client: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").field("papers", &self.papers).finish_non_exhaustive()
    }
}

impl Guard {
    /// With the papers that the data directory holds, if any.
    pub fn open(data_dir: &Path) -> Result<Guard, PapersError> {
        let guard = Guard {
            path: data_dir.join("papers.toml"),
            secured: watch::Sender::new(None),
            time: Arc::default(),
            refused: AtomicU64::new(0),
            logged: Mutex::default(),
        };
        if let Some(papers) = Papers::read(&guard.path)? {
            guard.hears_time(papers.time_s);
            let secured = guard.secure(papers)?;
            guard.secured.send_replace(Some(Arc::new(secured)));
        }
        Ok(guard)
    }

    /// The papers in force; none outside a closed cluster.
    pub fn current(&self) -> Option<Arc<Secured>> {
        self.secured.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Option<Arc<Secured>>> {
        self.secured.subscribe()
    }

    /// Puts papers in force, once they are durable. Blocks on the disk.
    pub fn install(&self, papers: Papers) -> Result<(), PapersError> {
        let secured = self.secure(papers)?;
        secured.papers.write(&self.path)?;
        self.hears_time(secured.papers.time_s);
        self.secured.send_replace(Some(Arc::new(secured)));
        Ok(())
    }

    /// Cluster time, seconds since 1970.
    pub fn time(&self) -> UnixSecs {
        UnixSecs(self.time.load(Ordering::Relaxed))
    }

    /// The log, or somebody with a certificate, tells the time. It never goes back.
    pub fn hears_time(&self, time_s: u64) {
        self.time.fetch_max(time_s, Ordering::Relaxed);
    }

    /// Somebody could not prove what it has to.
    pub fn refused(&self, address: IpAddr, why: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap();
        if logged.len() < REFUSED_LOGGED_MAX && logged.insert(address) {
            log::warn!(address:%, reason = why; "refused a caller; more from this address are only counted");
        }
    }

    /// Somebody who answered at an address could not prove to be a node of this cluster. Nobody answering is no such thing.
    pub fn refused_at(&self, address: &Address, why: &str) {
        if (why.contains("certificate") || why.contains("not a node"))
            && let Ok(address) = address.to_string().parse::<SocketAddr>()
        {
            self.refused(address.ip(), why);
        }
    }

    pub fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn clock(&self) -> Clock {
        let time = self.time.clone();
        Arc::new(move || UnixSecs(time.load(Ordering::Relaxed)))
    }

    fn secure(&self, papers: Papers) -> Result<Secured, PapersError> {
        let credentials: &Credentials = &papers.credentials;
        Ok(Secured {
            cluster_id: credentials.subject()?.cluster_id,
            signer: credentials.signer()?,
            since: self
                .current()
                .filter(|now| now.papers.credentials.authorities == credentials.authorities)
                .map_or_else(Instant::now, |now| now.since),
            server: trust::server_config(credentials, self.clock())?,
            client: trust::client_config(credentials, self.clock())?,
            papers,
        })
    }
}
