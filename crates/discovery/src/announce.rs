//! How a node appears in DNS: names, and which of the host's addresses it may claim.
//!
//! Instance and host name come from the node id, so two boards flashed with one host name never fight over a record. For the same reason
//! nothing is probed for before it is announced (RFC 6762, section 8.1, would take 750 ms): the id is 64 random bits.

use std::net::SocketAddr;

use mdns_sd::{IfKind, IfPredicate, ServiceInfo};

use crate::record::Record;

/// The service type that nodes announce.
pub(crate) const SERVICE_TYPE: &str = "_rusty-kv._tcp.local.";

/// The announcement of `record` by a node whose listener is bound to `listen`: it claims the addresses which that listener answers on.
pub(crate) fn service_info(record: &Record, listen: SocketAddr) -> mdns_sd::Result<ServiceInfo> {
    let instance = instance_name(record.node_id);
    let host = format!("rusty-kv-{instance}.local.");
    let txt = record.to_txt();
    let mut info = ServiceInfo::new(SERVICE_TYPE, &instance, &host, (), listen.port(), &txt[..])?.enable_addr_auto();
    info.set_requires_probe(false);
    info.set_interfaces(vec![IfKind::Predicate(IfPredicate::new(move |interface| answers(listen, interface.ip())))]);
    Ok(info)
}

/// Lower case throughout: the engine looks its own services up by lower-cased name when it repeats an announcement.
pub(crate) fn instance_name(node_id: u64) -> String {
    format!("{node_id:016x}")
}

/// Whether a listener bound to `listen` accepts connections to `address`.
fn answers(listen: SocketAddr, address: std::net::IpAddr) -> bool {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.is_ipv4(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => true,
        _ => listen.ip() == address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_the_listener_answers_are_claimed() {
        for (listen, address, claimed) in [
            ("0.0.0.0:1", "192.168.1.5", true),
            ("0.0.0.0:1", "fd00::5", false),
            ("[::]:1", "192.168.1.5", true),
            ("[::]:1", "fd00::5", true),
            ("192.168.1.5:1", "192.168.1.5", true),
            ("192.168.1.5:1", "10.0.0.5", false),
        ] {
            assert_eq!(answers(listen.parse().unwrap(), address.parse().unwrap()), claimed, "{listen} {address}");
        }
    }
}
