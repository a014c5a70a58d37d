//! Looking for nodes for a bounded time, without announcing anything: how a client starts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::browse::Event;
use crate::discovery::{Discovery, engine_error};
use crate::error::Error;
use crate::interfaces::Scope;
use crate::sighting::Sighting;

/// Browses until `enough` holds for the nodes seen so far, at most for `limit`; returns them sorted by node id, at least one.
/// Nobody seen at all is [`Error::Silence`].
///
/// A node that is up answers within some 100 ms, or 1.2 s if it has announced itself in the last second.
pub async fn find(scope: Scope, limit: Duration, enough: impl Fn(&[Sighting]) -> bool) -> Result<Vec<Sighting>, Error> {
    let discovery = Discovery::start(scope.clone())?;
    let mut browser = discovery.browse();
    let mut nodes: BTreeMap<u64, Sighting> = BTreeMap::new();
    let collect = async {
        while let Some(event) = browser.next().await {
            match event {
                Event::Seen(sighting) => nodes.insert(sighting.record.node_id, sighting),
                Event::Gone(node_id) => nodes.remove(&node_id),
            };
            let seen: Vec<Sighting> = nodes.values().cloned().collect();
            if enough(&seen) {
                return true;
            }
        }
        false
    };
    let ended = tokio::time::timeout(limit, collect).await == Ok(false);
    if !nodes.is_empty() {
        return Ok(nodes.into_values().collect());
    }
    if ended {
        return Err(engine_error(&scope, mdns_sd::Error::DaemonShutdown));
    }
    Err(Error::Silence { interfaces: scope.interfaces(), waited: limit })
}
