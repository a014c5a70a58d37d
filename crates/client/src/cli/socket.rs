//! Where the node of this board listens to this board.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};

const OF_THE_SERVICE: [&str; 2] = ["/run/rusty-kv/control.sock", "/var/lib/rusty-kv/control.sock"];
const OF_THE_USER: &str = "rusty-kv/50051/control.sock";

/// The socket named, or the first that is there.
pub fn path(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    present().ok_or_else(|| {
        let message = "no node of this board is found";
        Error::new(Kind::NotExecuted, message, "run this where rusty-kvd runs, as root, or name its socket: --socket DATA_DIR/control.sock")
    })
}

/// Whether the environment says which node is meant.
pub fn is_named() -> bool {
    env::var_os("RUSTY_KV_SOCKET").is_some()
}

/// The node's socket, if one is where it is by default.
pub fn present() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let all = OF_THE_SERVICE.map(PathBuf::from).into_iter().chain(state.map(|state| state.join(OF_THE_USER)));
    env::var_os("RUSTY_KV_SOCKET").map(PathBuf::from).into_iter().chain(all).find(|path| path.exists())
}
