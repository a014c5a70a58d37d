//! What a node is told before it starts.
//!
//! Layers, the later over the earlier: built-in defaults, one TOML file, the files of `conf.d` beside it in name
//! order, the environment, flags. [`KEYS`] is the one list of what can be set; this module turns it into a [`Config`]
//! whose every value is allowed, so that nothing behind it checks again.
//!
//! - Whatever is wrong is reported, all at once, with the place it was written at.
//! - An unknown key is an error: a misspelt limit must not silently be none.
//! - A wrong value stays an error where a later layer would cover it.
//! - Nothing here touches the network or creates a file.
//!
//! Left out: what a node does with it, and values that only a running node can know, such as whether an interface exists.

mod data_dir;
mod env;
mod fault;
mod file;
mod flag;
mod formation;
mod key;
mod nearest;
mod network;
mod settings;
mod socket;
mod surroundings;
mod timing;
mod value;

use std::{path::PathBuf, time::Duration};

use discovery::{ClusterName, NodeName};
use log::LevelFilter;

pub use fault::{ConfigError, Fault, Source};
pub use flag::GivenFlag;
pub use formation::Formation;
pub use key::{Default, Flag, KEYS, Key, SECTIONS, keys_of_flag};
pub use network::{Listen, Network};
pub use surroundings::Surroundings;
pub use timing::Timing;
pub use value::{Kind, Rule, Value};

use settings::{Setting, Settings};

/// A node's configuration, every value checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub node_name: NodeName,
    pub port: u16,
    /// May be relative to the working directory, may not exist yet.
    pub data_dir: PathBuf,
    /// Where it listens to those on its own board.
    pub socket: PathBuf,
    pub cluster_name: ClusterName,
    pub formation: Formation,
    pub network: Network,
    pub timing: Timing,
    /// What names the board, instead of its serial number.
    pub board: Option<String>,
    /// A voter silent for this long may be replaced by the same board; none: never by itself.
    pub replace_after: Option<Duration>,
    pub storage: Storage,
    pub limits: Limits,
    pub log_level: LevelFilter,
    /// What was read, in order.
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Free space below which writes are refused. `None`: by the size of the disk.
    pub low_mark_bytes: Option<u64>,
    /// Log kept behind what the state needs.
    pub log_keep_bytes: u64,
    pub log_keep_entries: u64,
    pub block_cache_bytes: usize,
    /// Of one database.
    pub write_buffer_bytes: usize,
}

/// What one node carries at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub requests_queued: usize,
    pub uploads: usize,
    pub streams_per_connection: u32,
    pub connections: usize,
    /// From one address, in a closed cluster.
    pub connections_per_address: usize,
    /// At least between two collections of blobs that nothing refers to.
    pub collect: Duration,
}

/// What the command line says of the configuration.
#[derive(Clone, Debug, std::default::Default)]
pub struct Request {
    /// The file to read, which must exist; else the default one, which may be missing.
    pub file: Option<PathBuf>,
    pub flags: Vec<GivenFlag>,
}

/// Reads all layers.
pub fn load(request: &Request, around: &Surroundings) -> Result<Config, ConfigError> {
    let mut settings = Settings::defaults();
    let file = request.file.as_ref().unwrap_or(&around.default_file);
    let files = file::read(file, request.file.is_some(), &mut settings);
    env::read(&around.vars, &mut settings);
    flag::read(&request.flags, &mut settings);
    let config = typed(&mut settings, files, around);
    let faults = settings.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => {
            assert!(!faults.is_empty(), "a configuration without a fault is a configuration");
            Err(ConfigError { faults })
        }
    }
}

/// Every part is looked at before the first that is missing ends it, so that all faults are found.
fn typed(settings: &mut Settings, files: Vec<PathBuf>, around: &Surroundings) -> Option<Config> {
    let port = settings.whole(&key::PORT).map(|port| u16::try_from(port).expect("a port is at most 65535"));
    let formation = formation::formation(settings, port);
    let network = network::network(settings, formation.as_ref());
    let timing = timing::timing(settings);
    let data_dir = data_dir(settings, port, around);
    let node_name = match settings.optional(&key::NODE_NAME, Settings::text) {
        Setting::Unset => NodeName::from_hostname(around.hostname.trim().split('.').next().unwrap_or_default()),
        Setting::Set(text) => text.parse().expect("an allowed name is a name"),
        Setting::Broken => return None,
    };
    let board = match settings.optional(&key::BOARD, Settings::text) {
        Setting::Unset => None,
        Setting::Set(text) => Some(text.to_owned()),
        Setting::Broken => return None,
    };
    let replace_after = settings.whole(&key::REPLACE_AFTER_S)?;
    Some(Config {
        node_name,
        board,
        replace_after: (replace_after > 0).then(|| Duration::from_secs(replace_after)),
        port: port?,
        socket: socket::socket(data_dir.as_ref()?, around),
        data_dir: data_dir?,
        cluster_name: settings.text(&key::CLUSTER_NAME)?.parse().expect("an allowed name is a name"),
        formation: formation?,
        network: network?,
        timing: timing?,
        storage: storage(settings)?,
        limits: limits(settings)?,
        log_level: settings.text(&key::LOG_LEVEL)?.parse().expect("every allowed level is one of log's"),
        files,
    })
}

fn data_dir(settings: &mut Settings, port: Option<u16>, around: &Surroundings) -> Option<PathBuf> {
    match settings.optional(&key::DATA_DIR, Settings::text) {
        Setting::Set(path) => Some(PathBuf::from(path)),
        Setting::Broken => None,
        Setting::Unset => {
            let found = data_dir::default(port?, around);
            if found.is_none() {
                let problem = format!("{} is not set, and without HOME there is no default", key::DATA_DIR.path);
                settings.fault(Source::Default, problem, "set node.data_dir in the file, or --data-dir");
            }
            found
        }
    }
}

fn storage(settings: &Settings) -> Option<Storage> {
    let bytes = |mib: u64| mib << 20;
    let size = |key| Some(usize::try_from(bytes(settings.whole(key)?)).expect("memory sizes fit a 64-bit machine"));
    let low_mark = settings.whole(&key::LOW_MARK_MIB)?;
    Some(Storage {
        low_mark_bytes: (low_mark > 0).then(|| bytes(low_mark)),
        log_keep_bytes: bytes(settings.whole(&key::LOG_KEEP_MIB)?),
        log_keep_entries: settings.whole(&key::LOG_KEEP_ENTRIES)?,
        block_cache_bytes: size(&key::BLOCK_CACHE_MIB)?,
        write_buffer_bytes: size(&key::WRITE_BUFFER_MIB)?,
    })
}

fn limits(settings: &Settings) -> Option<Limits> {
    let count = |key| Some(u32::try_from(settings.whole(key)?).expect("every limit's range ends below 2^32"));
    Some(Limits {
        requests_queued: count(&key::MAX_REQUESTS_QUEUED)? as usize,
        uploads: count(&key::MAX_UPLOADS)? as usize,
        streams_per_connection: count(&key::MAX_STREAMS_PER_CONNECTION)?,
        connections: count(&key::MAX_CONNECTIONS)? as usize,
        connections_per_address: count(&key::MAX_CONNECTIONS_PER_ADDRESS)? as usize,
        collect: Duration::from_secs(60 * u64::from(count(&key::COLLECT_MINUTES)?)),
    })
}
