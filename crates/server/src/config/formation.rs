//! With whom a node without state forms a cluster.

use std::num::NonZeroU8;

use discovery::Peer;

use super::key::{EXPECT, MDNS, PEERS};
use super::network::is_loopback;
use super::settings::{Setting, Settings};

/// Voters of a cluster at most, this node included.
const CLUSTER_MAX_NODES: usize = 7;

/// How a node that belongs to no cluster comes to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formation {
    /// With exactly these, over these addresses. Neither empty nor more than six; none is this node on loopback.
    Peers(Vec<Peer>),
    /// With as many nodes as this, itself included, that mDNS shows.
    Expect(NonZeroU8),
    /// Not by itself: it starts blank and stays pending until it is told more.
    Pending,
}

pub fn formation(settings: &mut Settings, port: Option<u16>) -> Option<Formation> {
    let peers = peers(settings, port);
    let expect = match settings.optional(&EXPECT, Settings::whole) {
        Setting::Unset => None,
        Setting::Set(nodes) => Some(NonZeroU8::new(u8::try_from(nodes).expect("expect is at most 7")).expect("expect is at least 1")),
        Setting::Broken => return None,
    };
    match (peers?, expect) {
        (peers, None) if peers.is_empty() => Some(Formation::Pending),
        (peers, None) => Some(Formation::Peers(peers)),
        (peers, Some(nodes)) if peers.is_empty() => {
            if !settings.switch(&MDNS)? {
                let problem = format!("{} = {nodes} needs mDNS, but {} = false ({})", EXPECT.path, MDNS.path, settings.source(&MDNS));
                settings.fault(settings.source(&EXPECT), problem, "set network.mdns = true, or name the other nodes with peers");
                return None;
            }
            Some(Formation::Expect(nodes))
        }
        (_, Some(nodes)) => {
            let problem = format!("{} = {nodes} together with {} ({})", EXPECT.path, PEERS.path, settings.source(&PEERS));
            settings.fault(
                settings.source(&EXPECT),
                problem,
                "they are two ways to form a cluster: keep peers or expect, take the other out",
            );
            None
        }
    }
}

/// The peers, parsed. An empty list is one, too.
fn peers(settings: &mut Settings, port: Option<u16>) -> Option<Vec<Peer>> {
    let source = settings.source(&PEERS);
    let written = settings.list(&PEERS)?.to_vec();
    let mut peers: Vec<Peer> = Vec::new();
    for text in &written {
        let allowed = match text.parse::<Peer>() {
            Err(error) => error.to_string(),
            Ok(peer) if is_loopback(&peer) && Some(peer.port) == port => "only the other nodes: this address is this node's own".to_owned(),
            Ok(peer) if peers.contains(&peer) => "each of the other nodes once".to_owned(),
            Ok(peer) => {
                peers.push(peer);
                continue;
            }
        };
        settings.reject(&PEERS, &format!("\"{text}\""), source.clone(), allowed);
    }
    if written.len() >= CLUSTER_MAX_NODES {
        let problem = format!("{} names {} nodes", PEERS.path, written.len());
        settings.fault(source, problem, format!("allowed: at most {}, for a cluster of {CLUSTER_MAX_NODES}", CLUSTER_MAX_NODES - 1));
        return None;
    }
    (peers.len() == written.len()).then_some(peers)
}
