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

use raft::NodeId;
use tokio::{sync::watch, time::Instant};
use trust::{Clock, Credentials, UnixSecs, Who};

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
    /// When that was.
    heard_at: Mutex<Instant>,
    /// False for all who were let in while an authority was trusted that is not any more.
    standing: Mutex<watch::Sender<bool>>,
    /// Of two who make a cluster or join one at the same time, one is first.
    entering: tokio::sync::Mutex<()>,
    /// Of several who come with one token, each is looked at when the one before is in: a board is a member before its use of the token is counted.
    admitting: tokio::sync::Mutex<()>,
    refused: AtomicU64,
    logged: Mutex<BTreeSet<IpAddr>>,
}

/// Papers in force, ready for use.
pub struct Secured {
    pub cluster_id: [u8; 16],
    pub papers: Papers,
    /// Hash of the authority that signed the node's certificate.
    pub signer: [u8; 32],
    /// Since when these authorities have been trusted here; `None`: since before this run.
    pub since: Option<Instant>,
    pub server: Arc<rustls::ServerConfig>,
    pub client: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").field("papers", &self.papers).finish_non_exhaustive()
    }
}

impl Guard {
    /// With the papers that the data directory holds, if any. Those of another node, which this board ran before its disk forgot, are set aside: the
    /// board joins anew.
    pub fn open(data_dir: &Path, id: NodeId) -> Result<Guard, PapersError> {
        let guard = Guard {
            path: data_dir.join("papers.toml"),
            secured: watch::Sender::new(None),
            time: Arc::default(),
            heard_at: Mutex::new(Instant::now()),
            standing: Mutex::new(watch::Sender::new(true)),
            entering: tokio::sync::Mutex::default(),
            admitting: tokio::sync::Mutex::default(),
            refused: AtomicU64::new(0),
            logged: Mutex::default(),
        };
        let papers = Papers::read(&guard.path)?;
        if let Some(papers) = &papers
            && papers.credentials.subject()?.who != Who::Node(id.0)
        {
            let set_aside = std::fs::rename(&guard.path, guard.path.with_extension("old"));
            set_aside.map_err(|error| PapersError::File { path: guard.path.display().to_string(), error })?;
            log::warn!(path:% = guard.path.display(); "these papers are of the node that this board was before; it is a new one, and joins anew");
            return Ok(guard);
        }
        if let Some(papers) = papers {
            guard.hears_time(papers.time_s);
            let secured = Secured { since: None, ..guard.secure(papers)? };
            guard.secured.send_replace(Some(Arc::new(secured)));
        }
        Ok(guard)
    }

    /// The papers in force; none outside a closed cluster.
    pub fn current(&self) -> Option<Arc<Secured>> {
        self.secured.borrow().clone()
    }

    /// True as long as all are trusted that are now.
    pub fn standing(&self) -> watch::Receiver<bool> {
        self.standing.lock().unwrap().subscribe()
    }

    pub fn watch(&self) -> watch::Receiver<Option<Arc<Secured>>> {
        self.secured.subscribe()
    }

    /// Puts papers in force, once they are durable. Blocks on the disk.
    pub fn install(&self, papers: Papers) -> Result<(), PapersError> {
        let secured = self.secure(papers)?;
        secured.papers.write(&self.path)?;
        self.hears_time(secured.papers.time_s);
        let before = self.secured.send_replace(Some(Arc::new(secured)));
        let now = self.current().expect("just put in force");
        let now = &now.papers.credentials.authorities;
        let all_stay = before.is_none_or(|before| before.papers.credentials.authorities.iter().all(|authority| now.contains(authority)));
        if !all_stay {
            // Whoever it has vouched for proves anew who it is.
            std::mem::replace(&mut *self.standing.lock().unwrap(), watch::Sender::new(true)).send_replace(false);
        }
        Ok(())
    }

    /// Cluster time, seconds since 1970.
    pub fn time(&self) -> UnixSecs {
        UnixSecs(self.time.load(Ordering::Relaxed))
    }

    /// The same, and what has passed since in this run: a token that is good for an hour ends within the hour, though the log tells the time more
    /// seldom.
    pub fn now(&self) -> UnixSecs {
        let since = self.heard_at.lock().unwrap().elapsed().as_secs();
        UnixSecs(self.time().0.saturating_add(since))
    }

    /// The log, or somebody with a certificate, tells the time. It never goes back.
    pub fn hears_time(&self, time_s: u64) {
        if self.time.fetch_max(time_s, Ordering::Relaxed) < time_s {
            *self.heard_at.lock().unwrap() = Instant::now();
        }
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
        let now = self.current();
        let as_before = now.filter(|now| now.papers.credentials.authorities == credentials.authorities);
        let since = as_before.map_or_else(|| Some(Instant::now()), |now| now.since);
        Ok(Secured {
            cluster_id: credentials.subject()?.cluster_id,
            signer: credentials.signer()?,
            since,
            server: trust::server_config(credentials, self.clock())?,
            client: trust::client_config(credentials, self.clock())?,
            papers,
        })
    }
}
