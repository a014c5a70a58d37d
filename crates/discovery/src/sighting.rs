//! One node seen: its record and the addresses it claims, as far as they may be used.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mdns_sd::{ResolvedService, ScopedIp};

use crate::interfaces::Scope;
use crate::record::{Malformed, Record, hex};

/// Most addresses kept of one node; more are dropped, IPv4 first kept.
const ADDRESSES_LIMIT: usize = 8;

/// A node that somebody claims to be at these addresses. At least one address; IPv4 first, link-local IPv6 last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    pub record: Record,
    pub addresses: Vec<SocketAddr>,
}

/// Why an announcement of our service type is not used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("its record: {0}")]
    Record(#[from] Malformed),
    #[error("its instance name is not the id in its record")]
    Name,
    #[error("it has port 0")]
    Port,
    #[error("no address of it is within reach of this node's interfaces")]
    Unreachable,
}

/// An address and the interface, name and index, on which it was heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub ip: IpAddr,
    pub interface: String,
    pub index: u32,
}

impl Sighting {
    /// Reads what the engine resolved under the instance name `instance`.
    pub(crate) fn read(scope: &Scope, instance: &str, service: &ResolvedService) -> Result<Sighting, Refusal> {
        let record = Record::parse(|key| service.get_property_val(key).flatten())?;
        // The name is the id: so a goodbye, which carries the name alone, tells who left.
        if hex(instance, 16) != Some(record.node_id.into()) {
            return Err(Refusal::Name);
        }
        if service.port == 0 {
            return Err(Refusal::Port);
        }
        let addresses = usable(scope, service.port, service.addresses.iter().flat_map(heard));
        if addresses.is_empty() { Err(Refusal::Unreachable) } else { Ok(Sighting { record, addresses }) }
    }
}

fn heard(address: &ScopedIp) -> Vec<Heard> {
    let ip = address.to_ip_addr();
    let on = match address {
        ScopedIp::V4(v4) => v4.interface_ids(),
        ScopedIp::V6(v6) => std::slice::from_ref(v6.scope_id()),
        _ => &[],
    };
    on.iter().map(|id| Heard { ip, interface: id.name.clone(), index: id.index }).collect()
}

fn usable(scope: &Scope, port: u16, heard: impl Iterator<Item = Heard>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = heard
        .filter(|heard| scope.admits(&heard.interface, heard.ip))
        .filter_map(|heard| match heard.ip {
            IpAddr::V4(ip) => Some((ip, port).into()),
            // A link-local address means something only together with the interface.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => (heard.index != 0).then(|| SocketAddrV6::new(ip, port, 0, heard.index).into()),
            IpAddr::V6(ip) => Some((ip, port).into()),
        })
        .collect();
    addresses.sort_by_key(|address| (rank(address.ip()), *address));
    addresses.dedup();
    addresses.truncate(ADDRESSES_LIMIT);
    addresses
}

fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if !Ipv6Addr::is_unicast_link_local(&ip) => 1,
        IpAddr::V6(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(scope: Scope, heard: &[(&str, u32, &str)]) -> Vec<String> {
        let heard =
            heard.iter().map(|(interface, index, ip)| Heard { ip: ip.parse().unwrap(), interface: interface.to_string(), index: *index });
        usable(&scope, 50051, heard).iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn ipv4_first_link_local_last_and_only_with_its_interface() {
        let heard = [
            ("wlan0", 3, "fe80::7"),
            ("wlan0", 0, "fe80::8"),
            ("wlan0", 3, "fd00::7"),
            ("wlan0", 3, "192.168.1.7"),
            ("eth0", 2, "192.168.1.7"),
        ];
        assert_eq!(addresses(Scope::Lan, &heard), ["192.168.1.7:50051", "[fd00::7]:50051", "[fe80::7%3]:50051"]);
    }

    #[test]
    fn a_stranger_cannot_send_us_to_ourselves() {
        let heard = [("eth0", 2, "127.0.0.1"), ("eth0", 2, "::1"), ("eth0", 2, "0.0.0.0"), ("eth0", 2, "224.0.0.251")];
        for scope in [Scope::Lan, Scope::Loopback, Scope::Everywhere, Scope::Named(vec!["eth0".into()])] {
            assert!(addresses(scope.clone(), &heard).is_empty(), "{scope:?}");
        }
    }

    #[test]
    fn a_stranger_cannot_fill_memory_with_addresses() {
        let ips: Vec<String> = (1..=200).map(|n| format!("192.168.1.{n}")).collect();
        let heard: Vec<(&str, u32, &str)> = ips.iter().map(|ip| ("eth0", 2, ip.as_str())).collect();
        assert_eq!(addresses(Scope::Lan, &heard).len(), ADDRESSES_LIMIT);
    }
}
