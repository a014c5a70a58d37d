//! Whom a certificate speaks of, as one URI in it.
//!
//! Two forms, and one spelling each, all hex in lower case and of fixed length but for the prefix:
//! - `rusty-kv://<cluster id>/node/<node id>`
//! - `rusty-kv://<cluster id>/client/<client id>?role=<read|write|admin>&prefix=<hex of the key prefix>`

use std::str::FromStr;

use crate::grant::{Grant, PREFIX_MAX_BYTES};
use crate::{Error, hex};

/// A certificate's bearer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    pub cluster_id: [u8; 16],
    pub who: Who,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    Node(u64),
    Client { id: u64, grant: Grant },
}

pub(crate) const SCHEME: &str = "rusty-kv://";

impl Subject {
    pub fn to_uri(&self) -> String {
        let cluster = hex::encode(&self.cluster_id);
        match &self.who {
            Who::Node(id) => format!("{SCHEME}{cluster}{NODE}{id:016x}"),
            Who::Client { id, grant: Grant { role, prefix } } => {
                format!("{SCHEME}{cluster}{CLIENT}{id:016x}{ROLE}{role}{PREFIX}{}", hex::encode(prefix))
            }
        }
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Subject, Error> {
        Error::unless_within("subject", uri.len(), URI_MAX_BYTES)?;
        let rest = uri.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with rusty-kv://"))?;
        let (cluster, who) = rest.split_at_checked(CLUSTER_DIGITS).ok_or_else(|| wrong(CLUSTER_FORM))?;
        let cluster_id = hex::decode_array(cluster).ok_or_else(|| wrong(CLUSTER_FORM))?;
        let who = if let Some(id) = who.strip_prefix(NODE) {
            Who::Node(read_id(id)?)
        } else if let Some(client) = who.strip_prefix(CLIENT) {
            read_client(client)?
        } else {
            return Err(wrong("it is neither a node nor a client"));
        };
        Ok(Subject { cluster_id, who })
    }
}

const NODE: &str = "/node/";
const CLIENT: &str = "/client/";
const ROLE: &str = "?role=";
const PREFIX: &str = "&prefix=";
const CLUSTER_DIGITS: usize = 32;
const CLUSTER_FORM: &str = "the cluster id is not 32 lower-case hex digits";
/// Room for the longest client's: all fixed parts are far shorter than this allows beside the prefix.
const URI_MAX_BYTES: usize = 128 + 2 * PREFIX_MAX_BYTES;

fn read_client(text: &str) -> Result<Who, Error> {
    let (id, rest) = text.split_once(ROLE).ok_or_else(|| wrong("it names no role"))?;
    let (role, prefix) = rest.split_once(PREFIX).ok_or_else(|| wrong("it names no prefix"))?;
    Error::unless_within("prefix", prefix.len() / 2, PREFIX_MAX_BYTES)?;
    let prefix = hex::decode(prefix).ok_or_else(|| wrong("the prefix is not lower-case hex"))?;
    Ok(Who::Client { id: read_id(id)?, grant: Grant { role: role.parse()?, prefix } })
}

fn read_id(text: &str) -> Result<u64, Error> {
    hex::decode_array(text).map(u64::from_be_bytes).ok_or_else(|| wrong("the id is not 16 lower-case hex digits"))
}

fn wrong(why: &'static str) -> Error {
    Error::malformed("subject", why)
}
