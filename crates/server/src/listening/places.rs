//! How many callers there may be, of each kind and from each address.
//!
//! Invariants:
//! - a caller beyond a bound is closed at once, so that it goes to another node: one left in the kernel's queue would wait for ever;
//! - nodes never compete with clients: from the address of a known node a handshake has places of its own, and a node's connection counts
//!   against its own bound. A flood of clients costs no heartbeat;
//! - this board itself is not counted by address: whoever is on it can do worse.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes under way with callers from the addresses of known nodes.
pub const NODE_HANDSHAKES_MAX: usize = 32;
/// Connections of nodes: each of six others has two, and some that are being given up.
pub const NODE_CONNECTIONS_MAX: usize = 64;
/// Connections of callers without a certificate, who want to be let in: whoever is in already does not wait behind them.
pub const STRANGERS_MAX: usize = 128;

/// All places of one node.
#[derive(Debug)]
pub struct Places {
    node_handshakes: Arc<Semaphore>,
    nodes: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    by_address: Addresses,
}

/// Places by address, so many at each.
#[derive(Debug)]
struct Addresses {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    each_max: usize,
}

/// One place taken; free again when it is dropped.
#[derive(Debug)]
pub enum Place {
    Counted(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
    At(#[allow(dead_code, reason = "held for its drop")] AtAddress),
}

#[derive(Debug)]
pub struct AtAddress {
    address: IpAddr,
    all: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Places {
    pub fn new(clients_max: usize, per_address_max: usize) -> Places {
        Places {
            node_handshakes: Arc::new(Semaphore::new(NODE_HANDSHAKES_MAX)),
            nodes: Arc::new(Semaphore::new(NODE_CONNECTIONS_MAX)),
            clients: Arc::new(Semaphore::new(clients_max)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            by_address: Addresses { taken: Arc::default(), each_max: per_address_max },
        }
    }

    /// For a handshake with whoever calls from a known node's address.
    pub fn node_handshake(&self) -> Option<Place> {
        take(&self.node_handshakes)
    }

    pub fn node(&self) -> Option<Place> {
        take(&self.nodes)
    }

    pub fn client(&self) -> Option<Place> {
        take(&self.clients)
    }

    pub fn stranger(&self) -> Option<Place> {
        take(&self.strangers)
    }

    /// One of those that an address may hold, from the connection's first moment on.
    pub fn at(&self, address: IpAddr) -> Option<Place> {
        self.by_address.take(address)
    }
}

impl Addresses {
    fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap();
        let held = taken.get(&address).copied().unwrap_or(0);
        if held >= self.each_max && !address.is_loopback() {
            return None;
        }
        taken.insert(address, held + 1);
        Some(Place::At(AtAddress { address, all: self.taken.clone() }))
    }
}

impl Drop for AtAddress {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap();
        let left = all.get_mut(&self.address).map(|held| {
            *held -= 1;
            *held
        });
        if left == Some(0) {
            all.remove(&self.address);
        }
    }
}

fn take(places: &Arc<Semaphore>) -> Option<Place> {
    places.clone().try_acquire_owned().ok().map(Place::Counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_so_many_places_and_gets_them_back() {
        let places = Places::new(8, 2);
        let camera: IpAddr = "192.168.1.7".parse().unwrap();
        let held = [places.at(camera).unwrap(), places.at(camera).unwrap()];
        assert!(places.at(camera).is_none());
        assert!(places.at("192.168.1.8".parse().unwrap()).is_some());
        assert!(places.at("::ffff:192.168.1.7".parse().unwrap()).is_none(), "the same address in another dress");
        drop(held);
        assert!(places.at(camera).is_some());
    }

    #[test]
    fn this_board_is_not_counted_by_address() {
        let places = Places::new(8, 1);
        let held: Vec<_> = (0..5).map(|_| places.at("127.0.0.1".parse().unwrap())).collect();
        assert!(held.iter().all(Option::is_some));
    }

    #[test]
    fn nobody_takes_a_place_of_another_kind() {
        let places = Places::new(1, 64);
        let _client = places.client().unwrap();
        let _strangers: Vec<_> = (0..STRANGERS_MAX).map(|_| places.stranger().unwrap()).collect();
        assert!(places.client().is_none() && places.stranger().is_none());
        assert!(places.node_handshake().is_some() && places.node().is_some());
        let places = Places::new(1, 64);
        let _strangers: Vec<_> = (0..STRANGERS_MAX).map(|_| places.stranger().unwrap()).collect();
        assert!(places.client().is_some(), "whoever is in does not wait behind those who want to be");
    }

    #[test]
    fn nodes_have_their_places_and_no_more() {
        let places = Places::new(1, 64);
        let handshakes: Vec<_> = (0..NODE_HANDSHAKES_MAX).map(|_| places.node_handshake().unwrap()).collect();
        assert!(places.node_handshake().is_none());
        drop(handshakes);
        assert!(places.node_handshake().is_some());
        let nodes: Vec<_> = (0..NODE_CONNECTIONS_MAX).map(|_| places.node().unwrap()).collect();
        assert!(places.node().is_none());
        drop(nodes);
        assert!(places.node().is_some());
    }

    #[test]
    fn what_is_free_again_leaves_no_trace() {
        let places = Places::new(1, 1);
        drop(places.at("192.168.1.7".parse().unwrap()).unwrap());
        assert!(places.by_address.taken.lock().unwrap().is_empty());
    }
}
