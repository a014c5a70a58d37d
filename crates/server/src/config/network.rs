//! Where a node is heard.
//!
//! - Beyond loopback it listens only as a member of a closed cluster, or if `security.insecure` says so.
//! - Whoever has nodes form an open cluster beyond this machine without that gets an error, not a node that nobody reaches.
//! - A node that listens on loopback only announces itself there only.

use std::net::IpAddr;

use discovery::{Peer, Scope};

use super::fault::Source;
use super::formation::Formation;
use super::key::{EXPECT, INSECURE, INTERFACES, MDNS, PEERS};
use super::settings::Settings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub listen: Listen,
    /// Where mDNS speaks and listens. `None`: nowhere, also always with [`Formation::Peers`].
    pub mdns: Option<Scope>,
    /// The same two for a member of a closed cluster.
    pub listen_when_closed: Listen,
    pub mdns_when_closed: Option<Scope>,
}

/// On which addresses a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1 and ::1.
    Loopback,
    /// 0.0.0.0 and ::.
    Any,
}

pub fn network(settings: &mut Settings, formation: Option<&Formation>) -> Option<Network> {
    let named = settings.list(&INTERFACES)?.to_vec();
    let formation = formation?;
    let scope = Scope::from_names(named);
    let is_kept_here = scope == Scope::Loopback;
    let are_peers_here = scope == Scope::Lan && matches!(formation, Formation::Peers(peers) if peers.iter().all(is_loopback));
    let beyond = asks_beyond_this_machine(settings, formation, &scope);

    if is_kept_here && let Some((source, problem)) = beyond {
        let advice = format!(
            "{} = lo ({}) keeps this node to itself: name peers on 127.0.0.1, or take lo out",
            INTERFACES.path,
            settings.source(&INTERFACES)
        );
        settings.fault(source, problem, advice);
        return None;
    }
    let listen = match (settings.switch(&INSECURE)?, beyond) {
        (false, Some((source, problem))) => {
            let advice = "nodes that find each other without a token form an open cluster, and that listens on loopback only. Either take it out and use \
                          `rusty-kv cluster create` on one board and `rusty-kv cluster join` on the others; or --interface lo, to stay on this \
                          machine; or --insecure (security.insecure = true), on a network where everybody may read and change the data";
            settings.fault(source, problem, advice);
            return None;
        }
        (false, None) => Listen::Loopback,
        (true, _) if is_kept_here || are_peers_here => Listen::Loopback,
        (true, _) => Listen::Any,
    };
    let is_spoken = settings.switch(&MDNS)? && !matches!(formation, Formation::Peers(_));
    let mdns = is_spoken.then(|| if listen == Listen::Loopback { Scope::Loopback } else { scope.clone() });
    let listen_when_closed = if is_kept_here { Listen::Loopback } else { Listen::Any };
    let mdns_when_closed = settings.switch(&MDNS)?.then_some(scope);
    Some(Network { listen, mdns, listen_when_closed, mdns_when_closed })
}

/// What is set that makes sense only if other machines reach this node, with where it is set.
fn asks_beyond_this_machine(settings: &Settings, formation: &Formation, scope: &Scope) -> Option<(Source, String)> {
    if let Formation::Peers(peers) = formation
        && let Some(peer) = peers.iter().find(|peer| !is_loopback(peer))
    {
        return Some((settings.source(&PEERS), format!("{} names {peer}, another machine", PEERS.path)));
    }
    match (scope, formation) {
        (Scope::Lan, Formation::Expect(nodes)) if nodes.get() > 1 => {
            Some((settings.source(&EXPECT), format!("{} = {nodes} looks for nodes on other machines", EXPECT.path)))
        }
        _ => None,
    }
}

/// Whether this address is this machine wherever it is dialled.
pub(super) fn is_loopback(peer: &Peer) -> bool {
    peer.host.eq_ignore_ascii_case("localhost") || peer.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
