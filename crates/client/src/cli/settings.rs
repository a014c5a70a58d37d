//! What holds for this run: defaults, then the user's file, then the environment, then flags; later ones win.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use discovery::{BadPeer, Peer, parse_peers};
use serde::Deserialize;

use super::args::{Format, Global, parse_duration};
use crate::error::{Error, Kind};
use crate::options::Options;

#[derive(Clone, Debug)]
pub struct Settings {
    /// None: to be found.
    pub peers: Option<Vec<Peer>>,
    pub cluster: Option<String>,
    /// As given; verbs have different defaults.
    pub timeout: Option<Duration>,
    pub output: Format,
    pub quiet: bool,
}

/// `client.toml`; every key is optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    addr: Option<String>,
    cluster: Option<String>,
    timeout: Option<String>,
    output: Option<String>,
    quiet: Option<bool>,
}

impl Settings {
    /// Flags and environment come in as `global`; the file is read here.
    pub fn resolve(global: &Global) -> Result<Settings, Error> {
        let file = path().map(|path| read(&path)).transpose()?.unwrap_or_default();
        Settings::merge(global, file)
    }

    fn merge(global: &Global, file: Defaults) -> Result<Settings, Error> {
        // An empty variable in the environment means that it is not set.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let peers = given(&global.addr).or(file.addr).map(|list| peers_of(&list)).transpose();
        let in_file = |key: &str, why: String| usage(format!("client.toml: {key}: {why}"));
        let timeout = file.timeout.map(|text| parse_duration(&text)).transpose().map_err(|why| in_file("timeout", why))?;
        let output = file.output.map(|text| Format::from_str(&text, false)).transpose();
        let output = output.map_err(|_| in_file("output", "it is text or json".into()))?;
        Ok(Settings {
            peers: peers.map_err(|bad| usage(bad.to_string()))?,
            cluster: given(&global.cluster).or(file.cluster),
            timeout: global.timeout.or(timeout),
            output: global.output.or(output).unwrap_or_default(),
            quiet: global.quiet || file.quiet.unwrap_or(false),
        })
    }

    pub fn options(&self) -> Options {
        let default = Options::default();
        Options {
            timeout: self.timeout.unwrap_or(default.timeout),
            stall: self.timeout.unwrap_or(default.stall),
            cluster: self.cluster.clone(),
            remember: true,
            ..default
        }
    }
}

/// An address that is written twice counts once.
fn peers_of(list: &str) -> Result<Vec<Peer>, BadPeer> {
    let mut known = Vec::new();
    let mut is_new = |piece: &&str| match piece.parse::<Peer>() {
        Ok(peer) if known.contains(&peer) => false,
        Ok(peer) => {
            known.push(peer);
            true
        }
        // It is told what is wrong with it below.
        Err(_) => true,
    };
    let once: Vec<&str> = list.split(',').filter(|piece| is_new(piece)).collect();
    parse_peers(&once.join(","))
}

fn path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("rusty-kv/client.toml"))
}

fn read(path: &Path) -> Result<Defaults, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|why| usage(format!("{}: {}", path.display(), why.to_string().trim_end()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Defaults::default()),
        Err(error) => Err(Error::file(format!("cannot read {}", path.display()), error)),
    }
}

fn usage(message: String) -> Error {
    Error::new(Kind::Usage, message, "`rusty-kv help` shows what is allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(addr: Option<&str>, timeout: Option<u64>) -> Global {
        Global { addr: addr.map(Into::into), cluster: None, timeout: timeout.map(Duration::from_secs), output: None, quiet: false }
    }

    fn file(text: &str) -> Defaults {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_file_gives_way_to_what_is_given() {
        let full = "addr = 'pi1'\ncluster = 'home'\ntimeout = '3s'\noutput = 'json'\nquiet = true";
        let settings = Settings::merge(&flags(None, None), file(full)).unwrap();
        assert_eq!(settings.peers.unwrap()[0].to_string(), "pi1:50051");
        assert_eq!((settings.cluster.as_deref(), settings.timeout), (Some("home"), Some(Duration::from_secs(3))));
        assert_eq!((settings.output, settings.quiet), (Format::Json, true));

        let settings = Settings::merge(&flags(Some("pi2:7,pi3"), Some(9)), file(full)).unwrap();
        assert_eq!(settings.peers.unwrap().len(), 2);
        assert_eq!(settings.timeout, Some(Duration::from_secs(9)));
    }

    #[test]
    fn an_address_that_is_written_twice_counts_once() {
        let peers = Settings::merge(&flags(Some("pi1,http://pi1:50051,pi2,pi1"), None), Defaults::default()).unwrap().peers.unwrap();
        assert_eq!(peers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["pi1:50051", "pi2:50051"]);
    }

    #[test]
    fn an_empty_variable_is_no_address() {
        assert_eq!(Settings::merge(&flags(Some(""), None), Defaults::default()).unwrap().peers, None);
    }

    #[test]
    fn wrong_settings_name_the_key() {
        for (text, part) in [("timeout = '3 weeks'", "timeout"), ("output = 'xml'", "output"), ("addr = 'a b'", "a b")] {
            let error = Settings::merge(&flags(None, None), file(text)).unwrap_err();
            assert!(error.kind == Kind::Usage && error.message.contains(part), "{error}");
        }
        assert!(toml::from_str::<Defaults>("adress = 'x'").is_err());
    }
}
