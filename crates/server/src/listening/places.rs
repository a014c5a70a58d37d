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

/// Handshakes under way with callers from unknown addresses: each costs a signature, about a millisecond on a small board.
pub const HANDSHAKES_MAX: usize = 64;
/// From one of them: who begins handshakes and never ends them takes no more.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;
/// With callers from the addresses of known nodes.
pub const NODE_HANDSHAKES_MAX: usize = 32;
/// Connections of nodes: each of six others has two, and some that are being given up.
pub const NODE_CONNECTIONS_MAX: usize = 64;

/// All places of one node.
#[derive(Debug)]
pub struct Places {
    handshakes: Arc<Semaphore>,
    node_handshakes: Arc<Semaphore>,
    nodes: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    greeted_by_address: Addresses,
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
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            node_handshakes: Arc::new(Semaphore::new(NODE_HANDSHAKES_MAX)),
            nodes: Arc::new(Semaphore::new(NODE_CONNECTIONS_MAX)),
            clients: Arc::new(Semaphore::new(clients_max)),
            greeted_by_address: Addresses { taken: Arc::default(), each_max: HANDSHAKES_PER_ADDRESS_MAX },
            by_address: Addresses { taken: Arc::default(), each_max: per_address_max },
        }
    }

    /// For a handshake.
    pub fn handshake(&self, address: IpAddr, of_known_node: bool) -> Option<Vec<Place>> {
        if of_known_node {
            return Some(vec![take(&self.node_handshakes)?]);
        }
        Some(vec![self.greeted_by_address.take(address)?, take(&self.handshakes)?])
    }

    pub fn node(&self) -> Option<Place> {
        take(&self.nodes)
    }

    pub fn client(&self) -> Option<Place> {
        take(&self.clients)
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
    fn clients_take_no_place_of_a_node() {
        let places = Places::new(1, 64);
        let address = |number: usize| IpAddr::from([10, 0, 0, number as u8]);
        let _all: Vec<_> = (0..HANDSHAKES_MAX).map(|number| places.handshake(address(number), false).unwrap()).collect();
        let _client = places.client().unwrap();
        assert!(places.handshake(address(200), false).is_none() && places.client().is_none());
        assert!(places.handshake(address(0), true).is_some() && places.node().is_some());
    }

    #[test]
    fn nodes_have_their_places_and_no_more() {
        let places = Places::new(1, 64);
        let address = IpAddr::from([10, 0, 0, 1]);
        let handshakes: Vec<_> = (0..NODE_HANDSHAKES_MAX).map(|_| places.handshake(address, true).unwrap()).collect();
        assert!(places.handshake(address, true).is_none());
        drop(handshakes);
        assert!(places.handshake(address, true).is_some());
        let nodes: Vec<_> = (0..NODE_CONNECTIONS_MAX).map(|_| places.node().unwrap()).collect();
        assert!(places.node().is_none());
        drop(nodes);
        assert!(places.node().is_some());
    }

    #[test]
    fn one_address_does_not_take_all_handshakes() {
        let places = Places::new(1, 64);
        let (flood, camera) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = (0..HANDSHAKES_PER_ADDRESS_MAX).map(|_| places.handshake(flood, false).unwrap()).collect();
        assert!(places.handshake(flood, false).is_none());
        assert!(places.handshake(camera, false).is_some());
        drop(held);
        assert!(places.handshake(flood, false).is_some());
    }

    #[test]
    fn what_was_refused_holds_nothing() {
        let places = Places::new(1, 1);
        let camera: IpAddr = "192.168.1.7".parse().unwrap();
        drop(places.at(camera).unwrap());
        assert!(places.by_address.taken.lock().unwrap().is_empty());
        let held: Vec<_> = (0..HANDSHAKES_MAX).map(|number| places.handshake([10, 0, 1, number as u8].into(), false).unwrap()).collect();
        assert!(places.handshake(camera, false).is_none());
        drop(held);
        assert!(places.greeted_by_address.taken.lock().unwrap().is_empty());
    }
}
