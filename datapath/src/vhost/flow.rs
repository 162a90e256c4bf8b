//! Which frames belong together, so that they stay on one queue and in order.

use weft_packet::Tag;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A number that is the same for all frames of a flow: of TCP and UDP by addresses and ports, of other packets and fragments,
/// whose later ones have no ports, by addresses, of anything else by the addresses of Ethernet.
pub(super) fn number(head: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5u32;
    let mut add = |octets: &[u8]| {
        for octet in octets {
            hash = (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
        }
    };
    match packet(head) {
        Some((addresses, ports)) => {
            add(addresses);
            add(ports);
        }
        None => add(head.get(..12).unwrap_or_default()),
    }
    (hash >> 8) as usize
}

/// The addresses of an IP packet and, where it has them, the ports of its transport header.
fn packet(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let word = |at: usize| Some(u16::from_be_bytes(*head.get(at..)?.first_chunk()?));
    let mut at = 12;
    while Tag::is_tpid(word(at)?) {
        at += Tag::LEN;
    }
    let kind = word(at)?;
    let ip = head.get(at + 2..)?;
    let (addresses, protocol, transport) = match kind {
        IPV4 => {
            // More fragments, or an offset (RFC 791 §3.1).
            let is_fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x3fff != 0;
            let protocol = if is_fragment { 0 } else { *ip.get(9)? };
            (ip.get(12..20)?, protocol, usize::from(ip[0] & 0xf) * 4)
        }
        IPV6 => (ip.get(8..40)?, *ip.get(6)?, 40),
        _ => return None,
    };
    let ports = match protocol {
        TCP | UDP => ip.get(transport..transport + 4),
        _ => None,
    };
    Some((addresses, ports.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    /// Frames of a flow that differ in what changes from frame to frame.
    fn pings() -> Vec<Vec<u8>> {
        let ping = |number: u16| {
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .icmpv4_echo_request(7, number);
            let mut frame = Vec::new();
            builder
                .write(&mut frame, &number.to_be_bytes())
                .expect("a packet");
            frame
        };
        (0..50).map(ping).collect()
    }

    fn datagram(port: u16, six: bool) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let builder = if six {
            builder.ipv6([1; 16], [2; 16], 64)
        } else {
            builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut frame = Vec::new();
        let written = builder.udp(port, 53).write(&mut frame, &port.to_be_bytes());
        written.expect("a packet");
        frame
    }

    fn tagged(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x81, 0, 0, 30], &frame[12..]].concat()
    }

    fn kinds(frames: impl Iterator<Item = Vec<u8>>) -> usize {
        let numbers: std::collections::BTreeSet<_> = frames
            .map(|frame| number(&frame[..64.min(frame.len())]))
            .collect();
        numbers.len()
    }

    #[test]
    fn a_flow_has_one_number_and_flows_have_many() {
        assert_eq!(kinds(pings().into_iter()), 1);
        assert_eq!(kinds(pings().iter().map(|frame| tagged(frame))), 1);
        for six in [false, true] {
            assert!(kinds((0..50).map(|port| datagram(port, six))) > 40);
            assert!(kinds((0..50).map(|port| tagged(&datagram(port, six)))) > 40);
            assert_eq!(kinds((0..50).map(|_| datagram(9, six))), 1);
        }
        // A fragment has no ports; what stands there is payload.
        let fragments = (0..50).map(|port| {
            let mut frame = datagram(port, false);
            frame[20] = 0x20;
            frame
        });
        assert_eq!(kinds(fragments), 1);
    }

    #[test]
    fn no_head_panics() {
        for frame in [
            datagram(1, false),
            datagram(1, true),
            tagged(&datagram(1, true)),
            vec![0x81; 64],
        ] {
            (0..frame.len()).for_each(|len| {
                number(&frame[..len]);
            });
        }
    }
}
