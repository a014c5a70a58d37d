//! What is read of an Ethernet frame: who sent it, and whether it speaks of an address.

use std::net::Ipv4Addr;

/// A hardware address.
pub type Mac = [u8; 6];

const HEAD_BYTES: usize = 14;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const PROTOCOL_UDP: u8 = 17;
const MDNS_PORT: [u8; 2] = 5353u16.to_be_bytes();

/// All zero for what is no frame.
pub fn source(frame: &[u8]) -> Mac {
    frame.get(6..12).and_then(|mac| mac.try_into().ok()).unwrap_or_default()
}

/// Whether it asks where `address` is, goes to it, comes from it, or announces it by mDNS over IPv4.
pub fn names(frame: &[u8], address: Ipv4Addr) -> bool {
    let (Some(kind), Some(packet)) = (frame.get(12..HEAD_BYTES), frame.get(HEAD_BYTES..)) else { return false };
    let address = &address.octets()[..];
    if kind == TYPE_ARP {
        return packet.get(14..18) == Some(address) || packet.get(24..28) == Some(address);
    }
    if kind != TYPE_IPV4 || packet.len() < 20 {
        return false;
    }
    let head_bytes = usize::from(packet[0] & 0x0f) * 4;
    let is_mdns = || packet[9] == PROTOCOL_UDP && packet.get(head_bytes + 2..head_bytes + 4) == Some(&MDNS_PORT);
    let announced = || packet.get(head_bytes..).is_some_and(|datagram| datagram.windows(4).any(|bytes| bytes == address));
    &packet[12..16] == address || &packet[16..20] == address || (is_mdns() && announced())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
    const OTHER: [u8; 4] = [10, 0, 0, 1];

    fn frame(kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 7], &kind, packet].concat()
    }

    fn ipv4(from: [u8; 4], to: [u8; 4], port: u16, text: &[u8]) -> Vec<u8> {
        let head = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0][..], &from, &to].concat();
        frame(TYPE_IPV4, &[&head[..], &[0, 0], &port.to_be_bytes(), &[0; 4], text].concat())
    }

    #[test]
    fn the_sender_is_read() {
        assert_eq!(source(&frame(TYPE_ARP, &[])), [2, 0, 0, 0, 0, 7]);
        assert_eq!(source(b"short"), [0; 6]);
    }

    #[test]
    fn an_address_is_named_by_packets_questions_and_announcements() {
        let octets = ADDRESS.octets();
        let question = [&[0; 24][..], &octets].concat();
        for named in [
            ipv4(octets, OTHER, 80, b""),
            ipv4(OTHER, octets, 80, b""),
            ipv4(OTHER, OTHER, 5353, &[b"A ", &octets[..]].concat()),
            frame(TYPE_ARP, &question),
        ] {
            assert!(names(&named, ADDRESS), "{named:?}");
        }
        for silent in [
            ipv4(OTHER, OTHER, 80, &octets),
            ipv4(OTHER, OTHER, 5353, b"nothing of that kind"),
            frame(TYPE_ARP, &[0; 28]),
            frame([0x86, 0xdd], &question),
            vec![0; 5],
        ] {
            assert!(!names(&silent, ADDRESS), "{silent:?}");
        }
    }
}
