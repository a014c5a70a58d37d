//! The process's one mDNS engine: started with a scope, told what to announce, asked who is there.
//!
//! Invariants:
//! - One engine and one open browse a process. A second browse would silence the first.
//! - The scope is set before anything can be announced; the engine takes commands in order.
//! - Dropping a [`Discovery`] ends the engine's thread; `shutdown` also waits for the goodbye to be sent.
//!
//! An engine shares UDP port 5353 with others on the machine (SO_REUSEADDR and SO_REUSEPORT), as avahi-daemon does. Where avahi is told
//! `disallow-other-stacks=yes`, `start` fails with [`Error::Port`].

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mdns_sd::{IfKind, IfPredicate, MDNS_PORT, ServiceDaemon};
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use crate::announce::service_info;
use crate::browse::Browser;
use crate::error::Error;
use crate::interfaces::Scope;
use crate::record::Record;

/// How long `shutdown` waits for the goodbye.
const GOODBYE_TIMEOUT_MS: u64 = 1_000;
/// Pause before asking a busy engine again.
const BUSY_PAUSE_MS: u64 = 10;

/// A running mDNS engine.
pub struct Discovery {
    pub(crate) shared: Arc<Shared>,
}

/// What a [`Discovery`] and its [`Browser`] share.
pub(crate) struct Shared {
    pub engine: ServiceDaemon,
    pub scope: Scope,
    pub browsing: AtomicBool,
    announced: Mutex<Option<Announced>>,
}

struct Announced {
    node_id: u64,
    listen: SocketAddr,
}

impl Discovery {
    /// Starts the engine. Interfaces of the scope that are not up yet are used as they come up.
    pub fn start(scope: Scope) -> Result<Discovery, Error> {
        probe_port().map_err(|errno| Error::Port { interfaces: scope.interfaces(), source: errno.into() })?;
        let engine = ServiceDaemon::new().map_err(|why| engine_error(&scope, why))?;
        let chosen = scope.clone();
        let admitted = IfPredicate::new(move |interface| chosen.admits(&interface.name, interface.ip()));
        engine
            .disable_interface(IfKind::All)
            .and_then(|()| engine.enable_interface(IfKind::Predicate(admitted)))
            .map_err(|why| engine_error(&scope, why))?;
        log::info!(interfaces = scope.interfaces().as_str(); "mDNS started");
        let shared = Shared { engine, scope, browsing: AtomicBool::new(false), announced: Mutex::new(None) };
        Ok(Discovery { shared: Arc::new(shared) })
    }

    /// Announces this node, whose listener is bound to `listen`: an unspecified address claims every address of the scope, of its family.
    /// From now on browsing passes over `record.node_id`.
    ///
    /// Browse first where both are wanted: engines drop announcements of a service they have not asked for yet, and answer a question
    /// within a second of an announcement only by the next one, 1.1 s after the first (RFC 6762, section 6).
    pub fn announce(&self, record: &Record, listen: SocketAddr) -> Result<(), Error> {
        assert_ne!(listen.port(), 0, "a node announces the port it is bound to");
        *self.shared.announced.lock().unwrap() = Some(Announced { node_id: record.node_id, listen });
        self.register(record, listen)
    }

    /// Announces a changed record of the same node. Readers see it at once.
    pub fn update(&self, record: &Record) -> Result<(), Error> {
        let listen = match &*self.shared.announced.lock().unwrap() {
            Some(announced) if announced.node_id == record.node_id => announced.listen,
            _ => panic!("update of a node that is not announced"),
        };
        self.register(record, listen)
    }

    /// Opens the browse. The one before must have been dropped.
    pub fn browse(&self) -> Browser {
        let open = self.shared.browsing.swap(true, Ordering::SeqCst);
        assert!(!open, "a second browse would silence the first");
        Browser::new(self.shared.clone())
    }

    /// Sends a goodbye and ends the engine, within a second. Peers report the node as gone; it stays a member of its cluster.
    pub async fn shutdown(&self) {
        let goodbye = async {
            loop {
                match self.shared.engine.shutdown() {
                    Ok(done) => return drop(done.recv_async().await),
                    Err(mdns_sd::Error::Again) => tokio::time::sleep(Duration::from_millis(BUSY_PAUSE_MS)).await,
                    Err(_) => return,
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(GOODBYE_TIMEOUT_MS), goodbye).await.is_err() {
            log::warn!("mDNS did not stop in time; peers may not have heard the goodbye");
        }
    }

    fn register(&self, record: &Record, listen: SocketAddr) -> Result<(), Error> {
        service_info(record, listen).and_then(|info| self.shared.engine.register(info)).map_err(|why| engine_error(&self.shared.scope, why))
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        let _ended_already_or_busy = self.shared.engine.shutdown();
    }
}

impl Shared {
    /// The node announced here, which browsing must not report.
    pub fn own_id(&self) -> Option<u64> {
        self.announced.lock().unwrap().as_ref().map(|announced| announced.node_id)
    }
}

pub(crate) fn engine_error(scope: &Scope, why: mdns_sd::Error) -> Error {
    Error::Engine { interfaces: scope.interfaces(), reason: why.to_string() }
}

/// The engine binds in its own thread and keeps a failure to itself, so the same bind is tried here first.
fn probe_port() -> rustix::io::Result<()> {
    let probe = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseaddr(&probe, true)?;
    sockopt::set_socket_reuseport(&probe, true)?;
    bind(&probe, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, MDNS_PORT))
}
