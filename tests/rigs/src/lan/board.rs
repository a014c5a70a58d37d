//! One board of a LAN: a network of its own with one Ethernet interface, whose cable leads to the bridge.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use super::cable::{Cable, Weather};
use super::frame::Mac;
use super::namespace::Namespace;
use super::tap::open_tap;

/// Called as on a Raspberry Pi.
const INTERFACE: &str = "eth0";

#[derive(Debug)]
pub struct Board {
    pub network: Namespace,
    pub address: Ipv4Addr,
    pub(super) mac: Mac,
    weather: Arc<Mutex<Weather>>,
}

impl Board {
    /// The board and its cable, which somebody must carry frames through.
    pub(super) fn plug_in(number: u8, address: Ipv4Addr, bridge: &Namespace) -> io::Result<(Board, Cable)> {
        let network = Namespace::new()?;
        let port = format!("port{number}");
        // The second bit: assigned by whoever runs this network.
        let mac = [0x02, 0, 0, 0, 0, number];
        let cable = Cable { board: open_tap(&network, INTERFACE)?, bridge: open_tap(bridge, &port)?, weather: Arc::default() };
        let mac_text = mac.map(|byte| format!("{byte:02x}")).join(":");
        network.ip(&format!("link set {INTERFACE} address {mac_text}\nlink set {INTERFACE} up\n"))?;
        bridge.ip(&format!("link set {port} master {} up\n", super::BRIDGE))?;
        let board = Board { network, address, mac, weather: cable.weather.clone() };
        board.take_address()?;
        Ok((board, cable))
    }

    /// As when DHCP gives out other addresses: the old ones, those of IPv6 too, are gone at once.
    pub fn move_to(&mut self, address: Ipv4Addr) {
        self.address = address;
        self.network
            .ip(&format!("addr flush dev {INTERFACE}\n"))
            .and_then(|()| self.take_address())
            .expect("an interface takes an address");
    }

    /// How the network is at this board's cable.
    pub fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().expect("no cable has panicked")
    }

    fn take_address(&self) -> io::Result<()> {
        self.network.ip(&format!("addr add {}/{} brd + dev {INTERFACE}\n", self.address, super::PREFIX_BITS))
    }
}
