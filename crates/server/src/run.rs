//! The life of a node, from its configuration to its exit code.
//!
//! Start: data directory, databases, blobs, sockets; then READY, never waiting for a quorum. Stop: refuse new requests, let those
//! under way end, say goodbye, end the engine, flush the state; within a bound even if a disk hangs, because everything acknowledged
//! is durable at any time.

use std::{process::ExitCode, sync::Arc, time::Duration};

use raft::{NodeId, RoleName};
use sd_notify::NotifyState;
use storage::{
    Blobs, DataDir, LogImage, LogStore, Opened, Reserve, RocksHome, RocksTuning, Room, StateHome as _, StateStore, Suspicion, suspicion,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    config::{Config, Formation, Listen},
    descriptors,
    fatal::{Fatal, abort_on_panic},
    forming::form,
    guard::Guard,
    lan, listening,
    membership::Entrance,
    node::{Node, Parts},
    peers::{Address, Book, Memory, Origin, locate},
    serving,
    state_in_force::StateInForce,
    watchers,
};

#[cfg(feature = "planted")]
use crate::planted::Planted;

/// Threads for blocking file work: uploads, downloads, reads of the state.
const BLOCKING_THREADS_MAX: usize = 64;
/// Until another node leads when this one stops.
const HAND_OVER_TIMEOUT_MS: u64 = 1_000;
/// Requests under way when the node is told to stop.
const DRAIN_TIMEOUT_MS: u64 = 1_500;
/// Ending the engine and flushing the state.
const FLUSH_TIMEOUT_MS: u64 = 2_500;
const EXIT_GRACE_MS: u64 = 200;
/// Entries of the log read into memory at start.
const TAIL_BYTES: usize = 8 << 20;

/// Runs the node until it is told to stop.
pub fn run(config: Config) -> ExitCode {
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!(error:%; "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(live(config));
    runtime.shutdown_timeout(Duration::from_millis(EXIT_GRACE_MS));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Gives a node that holds no log entry a new id, so that it may form a cluster again.
pub fn forget_formation(config: Config) -> ExitCode {
    let node = random().map(NodeId);
    match node.and_then(|node| DataDir::forget_formation(&config.data_dir, node, &tuning(&config)).map_err(|error| error.to_string())) {
        Ok(()) => {
            log::info!(data_dir:% = config.data_dir.display(); "formation forgotten; the node has a new id and may form a cluster again");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            log::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Makes this node the only voter of a new cluster.
pub fn recover(config: Config, cluster_name: &str) -> ExitCode {
    let id = || Ok::<_, String>((u128::from(random()?) << 64 | u128::from(random()?)).to_be_bytes());
    match id().and_then(|id| DataDir::recover(&config.data_dir, cluster_name, id, &tuning(&config)).map_err(|error| error.to_string())) {
        Ok(last) => {
            log::info!(
                data_dir:% = config.data_dir.display(), last:% = last;
                "recovered: this node is a new cluster of one, with everything up to this entry. Start it; bring in others with `rusty-kv member \
                 add`, those of the old cluster with empty data directories"
            );
            ExitCode::SUCCESS
        }
        Err(reason) => {
            log::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Everything of a node that is open before it serves.
struct Start {
    node: Arc<Node>,
    entrance: Entrance,
    log: Arc<dyn LogStore>,
    formation: storage::Formation,
    memory: Memory,
    room: Room,
    reserve: Reserve,
    fatals: UnboundedReceiver<String>,
    _dir: DataDir,
}

async fn live(config: Config) -> Result<(), String> {
    log::info!(version = env!("CARGO_PKG_VERSION"), port = config.port, data_dir:% = config.data_dir.display(); "starting");
    if let Some(descriptors) = descriptors::raise(config.limits.connections) {
        log::warn!(descriptors, connections = config.limits.connections; "fewer files may be open than connections are allowed; raise LimitNOFILE or lower max_connections");
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let start = spawn_blocking(move || open(config)).await.map_err(|error| error.to_string())??;
    let Start { node, entrance, log, formation, memory, room, reserve, mut fatals, _dir } = start;
    let port = node.config.port;
    if node.guard.current().is_none() && node.config.network.listen == Listen::Any {
        log::warn!("insecure: whoever reaches this node may read and change everything; no encryption, no authentication");
    }
    let listeners = listening::bind(node.listen(), port)
        .await
        .map_err(|error| format!("cannot listen on port {port}: {error}; is another node running there? Choose another with --port"))?;
    let listen = listeners[0].local_addr().map_err(|error| error.to_string())?;

    let fatal = entrance.fatal.clone();
    let socket = &node.config.socket;
    let local = listening::bind_local(socket)
        .inspect_err(|error| log::warn!(path:% = socket.display(), error:%; "cannot listen to this board itself"))
        .ok();
    let server = tokio::spawn(serving::serve(node.clone(), listening::open(node.clone(), listeners, local)));
    tokio::spawn(watchers::watch_disk(node.clone(), room, reserve, log, fatal));
    tokio::spawn(watchers::remember_addresses(node.clone(), memory));
    tokio::spawn(locate(node.clone()));
    tokio::spawn(form(node.clone(), formation, entrance));
    let lan = tokio::spawn(lan::announce(node.clone(), listen));
    log::info!(listen:% = listen, node:% = node.id, name:% = node.config.node_name; "listening");
    let _ = sd_notify::notify(&[NotifyState::Ready]);

    tokio::select! {
        _ = interrupt.recv() => log::info!("interrupted; stopping"),
        _ = terminate.recv() => log::info!("told to terminate; stopping"),
        reason = fatals.recv() => fail(reason.unwrap_or_default()),
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    hand_over(&node).await;
    node.stop();
    let ended = async {
        let _ = server.await;
        let _ = lan.await;
    };
    let _ = timeout(Duration::from_millis(DRAIN_TIMEOUT_MS), ended).await;
    let flushed = spawn_blocking(move || {
        if let Some(member) = node.member() {
            member.engine.stop();
        }
        node.state.get().flush()
    });
    match timeout(Duration::from_millis(FLUSH_TIMEOUT_MS), flushed).await {
        Ok(Ok(Ok(()))) => log::info!("stopped"),
        Ok(Ok(Err(error))) => log::warn!(error:%; "stopped; the state could not be flushed and will be rebuilt from the log"),
        _ => log::warn!("stopped before the disk was done; nothing acknowledged is lost, the next start takes longer"),
    }
    Ok(())
}

/// A leader that stops on purpose spares the others the time to find out.
async fn hand_over(node: &Node) {
    let Some(member) = node.member().filter(|member| member.engine.status().role == RoleName::Leader) else { return };
    if member.engine.hand_over(Duration::from_millis(HAND_OVER_TIMEOUT_MS)).await.is_err() {
        log::info!("no other node took over in time");
    }
}

const WAY_OUT_OF_DAMAGE: &str = "If files were moved or copied, bring back the whole directory as it was; otherwise move the data directory \
     away and start anew: the board then is a new node";
/// A new node's directory cannot be suspect; should it be, a person has to look.
const SET_ASIDE_MAX: u32 = 1;

/// Everything on the disk, open.
struct Stores {
    opened: Opened,
    image: LogImage,
    home: RocksHome,
    state: Arc<dyn StateStore>,
}

fn told(error: storage::Error) -> String {
    match error {
        storage::Error::Corrupt { .. } => format!("{error}. {WAY_OUT_OF_DAMAGE}"),
        _ => error.to_string(),
    }
}

/// Opens the data directory. A disk that has forgotten what it once held makes the node suspect: it must never speak again under its id, so its
/// files are set aside and the board becomes a new node.
fn open_stores(config: &Config) -> Result<Stores, String> {
    let mut set_aside = 0;
    loop {
        let (suspect, reason) = match try_open(config, NodeId(random()?)) {
            Ok((stores, None)) => return Ok(stores),
            Ok((stores, Some(suspicion))) => (Some(stores.opened.formation.node), suspicion.to_string()),
            Err(error) if error.is_amnesia() => (None, error.to_string()),
            Err(error) => return Err(told(error)),
        };
        if set_aside == SET_ASIDE_MAX {
            return Err(format!("{reason}. {WAY_OUT_OF_DAMAGE}"));
        }
        set_aside += 1;
        let new = NodeId(random()?);
        let aside = DataDir::set_aside(&config.data_dir, new).map_err(told)?;
        let old = suspect.map_or("its old id".to_owned(), |id| id.to_string());
        log::error!(
            reason = reason.as_str(), files:% = aside.display(), old = old.as_str(), new:% = new;
            "the disk has forgotten what others may count on: this node is out under its old id, and the board a new node; its blobs stay. \
             Put it in the old one's place with `rusty-kv member replace OLD NEW`"
        );
    }
}

/// Reads every blob and unlinks those that are not what their names say: they come from a disk that has proven to forget.
fn verify_all(blobs: &Blobs) -> Result<(), storage::Error> {
    let found = blobs.list()?;
    log::info!(blobs = found.len(); "verifying the blobs that were here before");
    for (hash, _) in found {
        let whole = blobs.open_blob(&hash)?.is_some_and(|reader| reader.verify(&hash).is_ok());
        if !whole {
            log::warn!(blob:% = hash; "a blob is damaged and removed");
            blobs.collect(&hash, u64::MAX, || Ok(false))?;
        }
    }
    Ok(())
}

fn try_open(config: &Config, node_if_new: NodeId) -> Result<(Stores, Option<Suspicion>), storage::Error> {
    let opened = DataDir::open(&config.data_dir, node_if_new, config.cluster_name.as_str())?;
    let home = RocksHome::new(opened.dir.state_dir(), tuning(config));
    home.keep_only(opened.dir.generation())?;
    let state = home.open(opened.dir.generation())?;
    let image = opened.log.load(TAIL_BYTES)?;
    let suspicion = suspicion(opened.anchor.read(), &image, state.applied()?);
    Ok((Stores { opened, image, home, state }, suspicion))
}

fn open(config: Config) -> Result<Start, String> {
    let Stores { opened, image, home, state } = open_stores(&config)?;
    let Opened { dir, log, anchor, formation, created } = opened;
    if formation.cluster_name != config.cluster_name.as_str() {
        return Err(format!(
            "{} belongs to cluster \"{}\", but the configuration says \"{}\"; start it with --cluster {} or with another --data-dir",
            config.data_dir.display(),
            formation.cluster_name,
            config.cluster_name,
            formation.cluster_name
        ));
    }
    if created {
        log::info!(node:% = formation.node, data_dir:% = config.data_dir.display(); "made a new data directory");
    }
    let mut blobs = Blobs::open(&dir.blobs_path()).map_err(told)?;
    #[cfg(feature = "planted")]
    if Planted::chosen()? == Some(Planted::NoDirectorySync) {
        blobs.leave_out_directory_sync();
    }
    if dir.has_unverified_blobs() {
        verify_all(&blobs).map_err(told)?;
        dir.blobs_verified().map_err(told)?;
        // What was collected for this reason says nothing about the collections of the cluster.
        blobs = Blobs::open(&dir.blobs_path()).map_err(told)?;
    }
    let room = Room::new(dir.path(), config.storage.low_mark_bytes);
    let reserve = Reserve::new(&dir.reserve_path()).map_err(told)?;
    let first_reading = room.read().map_err(told)?;
    let book = Arc::new(Book::new(formation.node));
    if let Formation::Peers(peers) = &config.formation {
        for peer in peers {
            book.suggest(Address::from(peer), Origin::Fixed);
        }
    }
    let memory = Memory::recall(dir.path(), &book);
    let guard = Guard::open(dir.path(), formation.node).map_err(|error| error.to_string())?;
    // Without them it would let everybody in, and be let in by nobody.
    if guard.current().is_none() && replica::state::trust(&*state).map_err(|error| error.to_string())?.is_some() {
        return Err(format!(
            "{} is gone, and this node belongs to a closed cluster; put it back, or wipe the data directory and join anew with a token",
            dir.path().join("papers.toml").display()
        ));
    }
    let (fatal, fatals) = Fatal::channel();
    let log: Arc<dyn LogStore> = Arc::new(log);
    let state = StateInForce::new(state);
    let parts = Parts { id: formation.node, boot: random()?, config, book, blobs, state, fatal: fatal.clone(), room: first_reading, guard };
    let entrance = Entrance { log: log.clone(), image, home: Arc::new(home), anchor, fatal };
    Ok(Start { node: Arc::new(Node::new(parts)), entrance, log, formation, memory, room, reserve, fatals, _dir: dir })
}

/// A disk that failed may hold anything; whatever ran on is better not run on.
fn fail(reason: String) -> ! {
    log::error!("{reason}");
    log::logger().flush();
    std::process::exit(1)
}

fn tuning(config: &Config) -> RocksTuning {
    RocksTuning::new(config.storage.write_buffer_bytes, config.storage.block_cache_bytes)
}

fn random() -> Result<u64, String> {
    getrandom::u64().map_err(|error| format!("the system gives no randomness: {error}"))
}
