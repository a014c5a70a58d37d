//! Which network interfaces a node announces on and listens to.
//!
//! A board often carries interfaces that reach no other board: container bridges, VPN tunnels, virtual machines. An address from there is
//! worse than none, because a peer that dials it waits for a timeout, or reaches a stranger's container. One rule decides, for the
//! interfaces we use and for each address heard: [`Scope::admits`].
//!
//! The engine looks at the interfaces every 5 seconds. When one comes up later (Wi-Fi) or DHCP changes an address, the node is announced
//! again there with the new address; readers drop the old one a second after they hear of the new. When an interface loses its link,
//! what was heard on it is reported as gone.
//!
//! Limit: as it starts, the engine joins the multicast group on every interface, then leaves it on those outside the scope. The kernel
//! tells the routers there (a few IGMP and MLD packets); no name, question or answer is sent outside the scope.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where to announce and to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// This machine only, at 127.0.0.1: several nodes on one machine.
    Loopback,
    /// These interfaces, whatever they are.
    Named(Vec<String>),
    /// Every interface that may reach another board.
    Lan,
    /// `Lan` and `Loopback`: a client looking for any node it can reach.
    Everywhere,
}

impl Scope {
    /// The scope of a list of interface names as the user gives it: none is the LAN, only `lo` is loopback.
    pub fn from_names(names: Vec<String>) -> Scope {
        if names.is_empty() {
            Scope::Lan
        } else if names.iter().all(|name| is_loopback(name)) {
            Scope::Loopback
        } else {
            Scope::Named(names)
        }
    }

    /// Whether `address`, ours on `interface` or heard over it, may be used.
    pub fn admits(&self, interface: &str, address: IpAddr) -> bool {
        if address.is_unspecified() || address.is_multicast() {
            return false;
        }
        // IPv4 alone on loopback: one address for each node, and it exists where IPv6 is switched off.
        let loopback = is_loopback(interface) && address.is_ipv4() && address.is_loopback();
        let lan = !is_loopback(interface) && !address.is_loopback();
        match self {
            Scope::Loopback => loopback,
            Scope::Named(names) => names.iter().any(|name| name == interface) && (loopback || lan),
            Scope::Lan => lan && !is_virtual(interface),
            Scope::Everywhere => loopback || (lan && !is_virtual(interface)),
        }
    }

    /// The interfaces of this scope that have an address now, for messages: `eth0, wlan0`, or what is missing.
    pub fn interfaces(&self) -> String {
        let up: BTreeSet<String> = if_addrs::get_if_addrs()
            .unwrap_or_default()
            .into_iter()
            .filter(|interface| interface.is_oper_up() && self.admits(&interface.name, interface.ip()))
            .map(|interface| interface.name)
            .collect();
        let missing = match self {
            Scope::Named(names) => names.iter().filter(|name| !up.contains(*name)).map(|name| format!("{name} (not up)")).collect(),
            _ => Vec::new(),
        };
        let all: Vec<String> = up.into_iter().chain(missing).collect();
        if all.is_empty() { "none is up".to_string() } else { all.join(", ") }
    }
}

/// Beginnings of the names of interfaces made by software.
const VIRTUAL_PREFIXES: [&str; 18] = [
    "docker",
    "br-",
    "veth",
    "podman",
    "cni",
    "flannel",
    "cali",
    "kube",
    "lxc",
    "lxd",
    "virbr",
    "vnet",
    "tun",
    "tap",
    "wg",
    "tailscale",
    "zt",
    "dummy",
];

fn is_virtual(interface: &str) -> bool {
    VIRTUAL_PREFIXES.iter().any(|prefix| interface.starts_with(prefix))
}

/// `lo` on Linux, `lo0` on macOS.
fn is_loopback(interface: &str) -> bool {
    matches!(interface, "lo" | "lo0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LO: (&str, &str) = ("lo", "127.0.0.1");
    const LO_V6: (&str, &str) = ("lo", "::1");
    const ETH: (&str, &str) = ("eth0", "192.168.1.5");
    const WIFI_V6: (&str, &str) = ("wlan0", "fe80::1");
    const DOCKER: (&str, &str) = ("docker0", "172.17.0.1");
    const LYING: (&str, &str) = ("eth0", "127.0.0.1");
    const ALL: [(&str, &str); 6] = [LO, LO_V6, ETH, WIFI_V6, DOCKER, LYING];

    fn admitted(scope: Scope) -> Vec<(&'static str, &'static str)> {
        ALL.into_iter().filter(|(interface, address)| scope.admits(interface, address.parse().unwrap())).collect()
    }

    fn named(names: &[&str]) -> Scope {
        Scope::from_names(names.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn each_scope_has_its_interfaces() {
        assert_eq!(admitted(Scope::Loopback), [LO]);
        assert_eq!(admitted(Scope::Lan), [ETH, WIFI_V6]);
        assert_eq!(admitted(Scope::Everywhere), [LO, ETH, WIFI_V6]);
        assert_eq!(admitted(named(&["docker0"])), [DOCKER]);
        assert_eq!(admitted(named(&["eth0", "lo"])), [LO, ETH]);
    }

    #[test]
    fn names_as_the_user_gives_them() {
        assert_eq!(named(&[]), Scope::Lan);
        assert_eq!(named(&["lo"]), Scope::Loopback);
        assert_eq!(named(&["lo", "eth0"]), Scope::Named(vec!["lo".into(), "eth0".into()]));
    }

    #[test]
    fn software_made_interfaces_are_not_the_lan() {
        let address = "10.1.2.3".parse().unwrap();
        for name in ["docker0", "br-5f2a", "veth12", "virbr0", "cni0", "flannel.1", "tun0", "tap1", "wg0", "tailscale0"] {
            assert!(!Scope::Lan.admits(name, address), "{name}");
        }
        for name in ["eth0", "end0", "wlan0", "enp1s0", "br0", "usb0"] {
            assert!(Scope::Lan.admits(name, address), "{name}");
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        assert_eq!(named(&["absent0"]).interfaces(), "absent0 (not up)");
        assert_eq!(Scope::Loopback.interfaces(), "lo");
    }
}
