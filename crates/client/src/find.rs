//! Which cluster, and where.
//!
//! mDNS and remembered addresses are hints that complete each other: multicast gets lost on Wi-Fi, addresses change. Both are asked at once;
//! what is remembered counts when a node there proves the same cluster id. One cluster in sight is taken, two are refused and listed:
//! writing to the wrong one is worse than asking. Naming a cluster that was used before saves the browse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use discovery::{Discovery, Event, Peer, Scope, Sighting, State};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::cluster_id::{ClusterId, is_meant};
use crate::error::{Error, Kind};
use crate::login::Login;
use crate::pool::Pool;
use crate::remembered::{Memory, Remembered};

/// A node that is up answers within 1.2 s; two looks fit into this.
const BROWSE_MS: u64 = 3_000;
/// Of one look. For a second after its own news a node may not repeat them (RFC 6762, section 6), and answers with the rest: a name without
/// its text, or an IPv6 address alone. An engine does not ask again for what it was told in part, so after that second another one asks.
const LOOK_MS: u64 = 1_250;
/// A look that begins with less time left would see nobody.
const LOOK_SHORTEST_MS: u64 = 250;
/// After the first node: how long others are waited for, so that a second cluster is not overlooked.
const SETTLE_MS: u64 = 500;

/// What may be wrong when mDNS shows nothing.
const NOBODY_SEEN: &str =
    "check that rusty-kvd runs (with --interface lo only its own machine sees it, with --peers nobody), or name a node with --addr HOST";

/// A node in sight, in its own unproven words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub node_id: u64,
    pub name: String,
    pub cluster_name: String,
    /// None while it belongs to no cluster.
    pub cluster_id: Option<ClusterId>,
    pub state: String,
    pub addresses: Vec<Peer>,
}

pub struct Found {
    pub peers: Vec<Peer>,
    /// None if only nodes without a cluster are in sight.
    pub cluster: Option<ClusterId>,
}

/// Looks around for `time`; returns every node seen, sorted by cluster and name.
pub async fn discover(time: Duration) -> Result<Vec<Seen>, Error> {
    let mut seen = browse(time, time).await?;
    seen.sort_by(|a, b| (&a.cluster_name, a.cluster_id, &a.name, a.node_id).cmp(&(&b.cluster_name, b.cluster_id, &b.name, b.node_id)));
    Ok(seen)
}

/// Finds the one cluster that is meant, within `time`.
pub async fn find(wanted: Option<&str>, memory: Option<&Memory>, login: Option<&Login>, time: Duration) -> Result<Found, Error> {
    let mut known = memory.map(Memory::load).unwrap_or_default();
    if let Some(login) = login {
        known = with_own(known, login.cluster_id, &login.cluster_name, &login.peers);
    }
    let known: Vec<Remembered> = known.into_iter().filter(|cluster| is_meant(wanted, &cluster.name, Some(cluster.id))).collect();
    let browse_time = Duration::from_millis(BROWSE_MS).min(time);
    // Of several remembered under one name, those long gone prove nothing. Whoever has a login asks no multicast, where anybody can answer
    // anything, as long as nodes prove themselves where they were.
    if (wanted.is_some() || login.is_some())
        && let [cluster] = &prove_all(known.clone(), login, browse_time).await[..]
    {
        return Ok(Found { peers: cluster.peers.clone(), cluster: Some(cluster.id) });
    }
    let (proven, seen) = tokio::join!(prove_all(known, login, browse_time), browse(browse_time, Duration::from_millis(SETTLE_MS)));
    let seen = match seen {
        Err(_) if !proven.is_empty() => Vec::new(),
        seen => seen?,
    };
    let (proven, seen) = match login {
        Some(login) => only_own(login.cluster_id, proven, seen),
        None => (proven, seen),
    };
    choose(wanted, proven, seen)
}

/// Where the nodes of the user's own cluster were at login is remembered, too.
fn with_own(mut known: Vec<Remembered>, id: ClusterId, name: &str, peers: &[Peer]) -> Vec<Remembered> {
    match known.iter_mut().find(|cluster| cluster.id == id) {
        Some(own) => {
            let missing: Vec<Peer> = peers.iter().filter(|peer| !own.peers.contains(peer)).cloned().collect();
            own.peers.extend(missing);
        }
        None => known.push(Remembered { id, name: name.to_owned(), peers: peers.to_vec() }),
    }
    known
}

/// Whoever has logged in means that cluster, if it is in sight: no other could be used with the login, and anybody can announce another one just to
/// have the user refused. After a recovery the cluster has an id that no login knows; then all that is in sight is looked at.
fn only_own(id: ClusterId, mut proven: Vec<Remembered>, mut seen: Vec<Seen>) -> (Vec<Remembered>, Vec<Seen>) {
    if proven.iter().any(|cluster| cluster.id == id) || seen.iter().any(|node| node.cluster_id == Some(id)) {
        proven.retain(|cluster| cluster.id == id);
        seen.retain(|node| node.cluster_id == Some(id));
    }
    (proven, seen)
}

/// Puts the hints together. Pure.
fn choose(wanted: Option<&str>, proven: Vec<Remembered>, seen: Vec<Seen>) -> Result<Found, Error> {
    let mut clusters: BTreeMap<ClusterId, Remembered> = proven.into_iter().map(|cluster| (cluster.id, cluster)).collect();
    let mut unformed: Vec<Peer> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for node in seen {
        if !is_meant(wanted, &node.cluster_name, node.cluster_id) {
            others.push(node.cluster_name);
            continue;
        }
        match node.cluster_id {
            None => unformed.extend(node.addresses),
            Some(id) => {
                let cluster = clusters.entry(id).or_insert_with(|| Remembered { id, name: node.cluster_name, peers: Vec::new() });
                let fresh: Vec<Peer> = node.addresses.into_iter().filter(|peer| !cluster.peers.contains(peer)).collect();
                // What was just seen is better than what is remembered.
                cluster.peers.splice(0..0, fresh);
            }
        }
    }
    let mut clusters: Vec<Remembered> = clusters.into_values().collect();
    match (clusters.len(), unformed.is_empty()) {
        (0, true) => Err(not_in_sight(wanted, others)),
        (0, false) => Ok(Found { peers: unformed, cluster: None }),
        (1, _) => Ok(clusters.pop().map(|cluster| Found { peers: cluster.peers, cluster: Some(cluster.id) }).expect("there is one")),
        _ => Err(several(&clusters)),
    }
}

/// The error of not knowing which of these is meant.
pub fn several(clusters: &[Remembered]) -> Error {
    let shown: Vec<String> = clusters
        .iter()
        .map(|cluster| {
            format!("\"{}\" ({}) at {}", cluster.name, cluster.id.short(), cluster.peers.first().map(Peer::to_string).unwrap_or_default())
        })
        .collect();
    let message = format!("{} clusters are in sight: {}", clusters.len(), shown.join(", "));
    Error::new(Kind::Usage, message, "say which one with --cluster NAME (or the beginning of its id), or with --addr")
}

/// The error if no node in sight belongs to the cluster that is meant, only to `others`.
pub fn not_in_sight(wanted: Option<&str>, mut others: Vec<String>) -> Error {
    others.sort();
    others.dedup();
    let wanted = wanted.unwrap_or_default();
    let seen = if others.is_empty() { "nothing".into() } else { format!("\"{}\"", others.join("\", \"")) };
    let message = format!("cluster \"{wanted}\" is not in sight, only {seen}");
    Error::new(Kind::NotExecuted, message, "check the name with `rusty-kv discover`, or name a node with --addr HOST")
}

async fn browse(limit: Duration, settle: Duration) -> Result<Vec<Seen>, Error> {
    let failed = |error: discovery::Error| Error::new(Kind::NotExecuted, error.to_string(), NOBODY_SEEN);
    let mut nodes: BTreeMap<u64, Seen> = BTreeMap::new();
    let mut until = Instant::now() + limit;
    let end = until;
    loop {
        let discovery = Discovery::start(Scope::Everywhere).map_err(failed)?;
        let mut browser = discovery.browse();
        let look_end = Instant::now() + Duration::from_millis(LOOK_MS);
        while let Ok(Some(event)) = timeout_at(until.min(look_end), browser.next()).await {
            match event {
                Event::Gone(node_id) => drop(nodes.remove(&node_id)),
                Event::Seen(sighting) => {
                    let node = seen(sighting);
                    if node.addresses.is_empty() && nodes.contains_key(&node.node_id) {
                        continue;
                    }
                    if until == end && !node.addresses.is_empty() {
                        until = end.min(Instant::now() + settle);
                    }
                    nodes.insert(node.node_id, node);
                }
            }
        }
        // Only an engine that failed has ended before.
        sleep_until(until.min(look_end)).await;
        if until < Instant::now() + Duration::from_millis(LOOK_SHORTEST_MS) {
            break;
        }
    }
    if nodes.is_empty() {
        return Err(failed(discovery::Error::Silence { interfaces: Scope::Everywhere.interfaces(), waited: limit }));
    }
    Ok(nodes.into_values().collect())
}

fn seen(sighting: Sighting) -> Seen {
    let record = sighting.record;
    let cluster_id = record.cluster_id.filter(|_| record.state == State::Formed).map(ClusterId);
    let peer = |address: &SocketAddr| Peer { host: address.ip().to_string(), port: address.port() };
    Seen {
        node_id: record.node_id,
        name: record.node_name.to_string(),
        cluster_name: record.cluster_name.to_string(),
        cluster_id,
        state: record.state.to_string(),
        addresses: sighting.addresses.iter().filter(|address| !needs_zone(address)).map(peer).collect(),
    }
}

/// A link-local IPv6 address is of no use without its interface, for which a URL has no place.
fn needs_zone(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

async fn prove_all(known: Vec<Remembered>, login: Option<&Login>, time: Duration) -> Vec<Remembered> {
    let mut proving: JoinSet<Option<Remembered>> = known.into_iter().map(|cluster| prove(cluster, login.cloned(), time)).collect();
    let mut proven = Vec::new();
    while let Some(joined) = proving.join_next().await {
        proven.extend(joined.expect("asking a node does not panic"));
    }
    proven
}

/// Asks all remembered addresses of a cluster at once; those that answer for it come first. None if none does.
async fn prove(cluster: Remembered, login: Option<Login>, time: Duration) -> Option<Remembered> {
    let pool = Arc::new(Pool::new(Vec::new(), None, Some(cluster.id), None, 1).with_login(login));
    let mut dialling = JoinSet::new();
    for peer in cluster.peers.iter().cloned() {
        let pool = pool.clone();
        dialling.spawn(async move { pool.dial(&peer, 0).await.ok().filter(|node| node.cluster().is_some()).map(|_| peer) });
    }
    let first = async {
        while let Some(joined) = dialling.join_next().await {
            if let Ok(Some(peer)) = joined {
                return Some(peer);
            }
        }
        None
    };
    let first = timeout(time, first).await.ok().flatten()?;
    let mut peers = vec![first.clone()];
    peers.extend(cluster.peers.iter().filter(|peer| **peer != first).cloned());
    Some(Remembered { peers, ..cluster })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_node(n: u64, cluster: &str, id: Option<u8>) -> Seen {
        Seen {
            node_id: n,
            name: format!("pi{n}"),
            cluster_name: cluster.into(),
            cluster_id: id.map(|id| ClusterId([id; 16])),
            state: "formed".into(),
            addresses: vec![format!("10.0.0.{n}").parse().unwrap()],
        }
    }

    fn remembered(id: u8, name: &str, peer: &str) -> Remembered {
        Remembered { id: ClusterId([id; 16]), name: name.into(), peers: vec![peer.parse().unwrap()] }
    }

    fn shown(found: &Found) -> Vec<String> {
        found.peers.iter().map(Peer::to_string).collect()
    }

    #[test]
    fn one_cluster_in_sight_is_taken_with_what_is_remembered_of_it() {
        let found =
            choose(None, vec![remembered(1, "home", "pi7")], vec![seen_node(1, "home", Some(1)), seen_node(2, "home", None)]).unwrap();
        assert_eq!(found.cluster, Some(ClusterId([1; 16])));
        assert_eq!(shown(&found), ["10.0.0.1:50051", "pi7:50051"]);
    }

    #[test]
    fn two_clusters_are_refused_and_listed_remembered_or_seen() {
        for (proven, seen) in [
            (vec![], vec![seen_node(1, "home", Some(1)), seen_node(2, "shed", Some(2))]),
            (vec![remembered(2, "shed", "pi7")], vec![seen_node(1, "home", Some(1))]),
        ] {
            let Err(error) = choose(None, proven, seen) else { panic!("one was taken") };
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.message.contains("\"home\" (01010101)") && error.message.contains("\"shed\" (02020202)"), "{error}");
        }
    }

    #[test]
    fn the_named_cluster_is_taken_and_two_of_one_name_need_an_id() {
        let seen = vec![seen_node(1, "home", Some(1)), seen_node(2, "shed", Some(2)), seen_node(3, "shed", Some(3))];
        assert_eq!(shown(&choose(Some("home"), vec![], seen.clone()).unwrap()), ["10.0.0.1:50051"]);
        assert_eq!(choose(Some("shed"), vec![], seen.clone()).err().map(|error| error.kind), Some(Kind::Usage));
        assert_eq!(shown(&choose(Some("0303"), vec![], seen.clone()).unwrap()), ["10.0.0.3:50051"]);
        let Err(error) = choose(Some("barn"), vec![], seen) else { panic!("one was taken") };
        assert_eq!(error.message, "cluster \"barn\" is not in sight, only \"home\", \"shed\"");
    }

    #[test]
    fn whoever_has_logged_in_is_not_held_up_by_what_others_announce() {
        let own = ClusterId([1; 16]);
        let others = || vec![seen_node(2, "home", Some(2)), seen_node(3, "home", None), seen_node(4, "home", Some(1))];
        let (proven, seen) = only_own(own, vec![remembered(1, "home", "pi7"), remembered(3, "home", "pi8")], others());
        assert_eq!(shown(&choose(None, proven, seen).unwrap()), ["10.0.0.4:50051", "pi7:50051"]);
        let (proven, seen) = only_own(ClusterId([9; 16]), vec![], others());
        assert!(choose(None, proven, seen).is_err(), "none of them is its own: which is meant must be said");
    }

    #[test]
    fn addresses_of_the_login_complete_those_remembered() {
        let (own, peers) = (ClusterId([1; 16]), ["pi7", "pi9"].map(|peer| peer.parse().unwrap()));
        let known = with_own(vec![remembered(1, "home", "pi7"), remembered(2, "shed", "pi8")], own, "home", &peers);
        assert_eq!(known.iter().map(|cluster| cluster.peers.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(with_own(vec![], own, "home", &peers)[0].peers, peers);
    }

    #[test]
    fn nodes_without_a_cluster_are_better_than_nothing() {
        let found = choose(None, vec![], vec![seen_node(1, "home", None), seen_node(2, "home", None)]).unwrap();
        assert_eq!((found.cluster, shown(&found).len()), (None, 2));
    }
}
