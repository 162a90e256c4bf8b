//! Usual packets, plain or not: TCP or UDP, whole, in IPv4 without options or in IPv6 without extension headers, in a frame with at
//! most one tag. They are read at once, and any other one field by field.

use weft_packet::{
    MacAddr, TPID_CTAG, Tag, ethernet, ethertype, ip_protocol, ipv4, ipv6, tcp, udp,
};

use crate::key::{Key, Place};
use crate::packet::Packet;

/// Octets of TCP's header up to its flags.
const UP_TO_FLAGS: usize = tcp::field::FLAGS + 1;

/// Octets of an IP header with ports behind it.
const V4: usize = ipv4::HEADER_LEN + 4;
const V6: usize = ipv6::HEADER_LEN + 4;

/// Reads a frame that begins with these octets and has `len`, if its packet is usual.
#[inline]
pub(crate) fn read(frame: &[u8], len: usize, place: Place) -> Option<Packet> {
    let link = frame.first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let mut kind = [link[12], link[13]];
    let mut header_len = ethernet::HEADER_LEN;
    if kind == TPID_CTAG.to_be_bytes() {
        let tagged = frame.first_chunk::<{ ethernet::HEADER_LEN + Tag::LEN }>()?;
        kind = [tagged[16], tagged[17]];
        header_len += Tag::LEN;
    }
    let network = frame.get(header_len..)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *link;
    let (src, dst) = (
        MacAddr::new([s0, s1, s2, s3, s4, s5]),
        MacAddr::new([d0, d1, d2, d3, d4, d5]),
    );
    let mut key = Key::layer2(place, src, dst, u16::from_be_bytes(kind));
    let (octets, protocol, ttl, transport) = match u16::from_be_bytes(kind) {
        ethertype::IPV4 => {
            let ip = network.first_chunk::<V4>()?;
            // Version and header length, and neither a fragment nor one to come.
            if ip[0] != 0x45 || ip[6] & 0x3f != 0 || ip[7] != 0 {
                return None;
            }
            key.set_v4(octets(ip, 12).into(), octets(ip, 16).into());
            key.set_protocol(ip[9], ip[1]);
            key.set_ports(word(ip, 20), word(ip, 22));
            (word(ip, 2).into(), ip[9], ip[8], ipv4::HEADER_LEN)
        }
        ethertype::IPV6 => {
            let ip = network.first_chunk::<V6>()?;
            if ip[0] >> 4 != 6 {
                return None;
            }
            key.set_v6(octets(ip, 8).into(), octets(ip, 24).into());
            key.set_protocol(ip[6], ip[0] << 4 | ip[1] >> 4);
            key.set_ports(word(ip, 40), word(ip, 42));
            let octets = ipv6::HEADER_LEN + usize::from(word(ip, 4));
            (octets, ip[6], ip[7], ipv6::HEADER_LEN)
        }
        _ => return None,
    };
    let (least, tcp_flags) = match protocol {
        ip_protocol::TCP => (UP_TO_FLAGS, *network.get(transport + tcp::field::FLAGS)?),
        ip_protocol::UDP => (udp::HEADER_LEN, 0),
        _ => return None,
    };
    // A jumbogram states no length, and is not usual.
    let is_whole = transport + least <= octets && octets <= len.saturating_sub(header_len);
    is_whole.then_some(Packet {
        key,
        packets: 1,
        octets: octets as u32,
        layer2_octets: len as u32,
        tcp_flags,
        ttl,
    })
}

#[inline]
fn octets<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header[at..].first_chunk().copied().unwrap_or([0; N])
}

#[inline]
fn word(header: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(octets(header, at))
}
