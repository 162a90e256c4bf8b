//! A number by which the packets of a port channel are spread over its links.

use crate::{Head, ethertype, ipv4, ipv6};

/// Source and destination address of an IP packet in one number, the same both ways: their exclusive or, folded to 32 bits.
/// `head` is that of the frame that `bytes` begins with. `None` for frames of other protocols, and where the addresses lie
/// beyond `bytes`.
///
/// It looks at addresses only, so that all fragments of a packet take one way.
pub fn ip_spread(head: &Head, bytes: &[u8]) -> Option<u32> {
    let packet = bytes.get(usize::from(head.header_len)..)?;
    let version = packet.first()? >> 4;
    let addresses = match (head.ethertype, version) {
        (ethertype::IPV4, 4) => packet.get(ipv4::field::SOURCE.start..ipv4::HEADER_LEN)?,
        (ethertype::IPV6, 6) => packet.get(ipv6::field::SOURCE.start..ipv6::HEADER_LEN)?,
        _ => return None,
    };
    let words = addresses.chunks_exact(4);
    Some(words.fold(0, |sum, word| {
        sum ^ u32::from_be_bytes([word[0], word[1], word[2], word[3]])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, tags: usize, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn spread(frame: &[u8]) -> Option<u32> {
        ip_spread(&Head::parse(frame, frame.len()).unwrap(), frame)
    }

    #[test]
    fn both_directions_have_one_number() {
        let mut packet = vec![0x45; 20];
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 7]);
        let there = spread(&frame(ethertype::IPV4, 1, &packet));
        packet[12..20].copy_from_slice(&[10, 0, 0, 7, 10, 0, 0, 1]);
        assert_eq!(there, Some(6));
        assert_eq!(spread(&frame(ethertype::IPV4, 0, &packet)), there);
        let mut packet = vec![0x60; 40];
        packet[8..40].fill(0);
        packet[23] = 1;
        packet[39] = 3;
        assert_eq!(spread(&frame(ethertype::IPV6, 2, &packet)), Some(2));
    }

    #[test]
    fn other_frames_have_none() {
        assert_eq!(spread(&frame(ethertype::ARP, 0, &[0x45; 28])), None);
        assert_eq!(spread(&frame(ethertype::IPV4, 0, &[0x45; 19])), None);
        assert_eq!(spread(&frame(ethertype::IPV4, 0, &[0x65; 40])), None);
        assert_eq!(spread(&frame(ethertype::IPV6, 0, &[0x60; 39])), None);
    }
}
