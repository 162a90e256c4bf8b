//! What a meter sees of one frame.

use weft_packet::{Head, Segmentation, ethertype, ip_protocol, ipv4, ipv6};

use crate::key::{Key, Place, SHORT};
use crate::plain::Plain;

/// Octets of a header, or of what is looked at of it, up to the TCP flags.
const TCP_FLAGS: usize = weft_packet::tcp::field::FLAGS;

/// The extension header that comes first, if it comes.
const HOP_BY_HOP: u8 = 0;

/// Stream control, datagram congestion control and lightweight UDP have their ports where TCP and UDP have them (RFC 9260,
/// RFC 4340, RFC 3828).
pub const SCTP: u8 = 132;
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// Whether flows of an IP protocol have ports.
pub const fn has_ports(protocol: u8) -> bool {
    matches!(
        protocol,
        ip_protocol::TCP | ip_protocol::UDP | SCTP | DCCP | UDP_LITE
    )
}

/// A frame as far as it is metered, or several of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Packet {
    pub(crate) key: Key,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) layer2_octets: u32,
    pub(crate) tcp_flags: u8,
    /// Time to live, or hop limit, of all of them.
    pub(crate) ttl: u8,
}

impl Packet {
    /// Becomes a plain packet with this key. What it has of a key of IPv6 stays: nobody asks for it.
    #[inline(always)]
    pub(crate) fn set_plain(&mut self, short: &[u64; SHORT], plain: &Plain) {
        self.key.short = *short;
        self.packets = 1;
        (self.octets, self.layer2_octets, self.tcp_flags, self.ttl) = plain.counts();
    }

    /// Counts those that follow it in its flow: packets, octets, octets of frames, and flags.
    #[inline(always)]
    pub(crate) const fn add(&mut self, (packets, octets, layer2, flags): (u32, u32, u32, u8)) {
        self.packets += packets;
        self.octets += octets;
        self.layer2_octets += layer2;
        self.tcp_flags |= flags;
    }

    /// Reads any frame, which is `len` octets long and begins with `bytes`. `cut` is how its sender wants it cut: it counts as the
    /// packets that it becomes.
    #[inline(never)]
    pub(crate) fn read(
        head: &Head,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: Place,
    ) -> Self {
        let header_len = usize::from(head.header_len);
        let mut packet = Self {
            key: Key::layer2(place, head.src, head.dst, head.ethertype),
            packets: 1,
            octets: len.saturating_sub(header_len) as u32,
            layer2_octets: len as u32,
            tcp_flags: 0,
            ttl: 0,
        };
        let network = bytes.get(header_len..).unwrap_or_default();
        match head.ethertype {
            ethertype::IPV4 => packet.read_v4(network),
            ethertype::IPV6 => packet.read_v6(network),
            _ => {}
        }
        if let Some(cut) = cut {
            packet.cut(header_len, cut);
        }
        packet
    }

    #[inline]
    fn read_v4(&mut self, network: &[u8]) {
        let Ok(ip) = ipv4::Packet::new_checked(network) else {
            return;
        };
        // What pads a short frame is no part of the packet; what the packet claims beyond the frame is not there.
        self.octets = self.octets.min(ip.total_len().into());
        self.ttl = ip.ttl();
        self.key.set_v4(ip.src(), ip.dst());
        self.key.set_protocol(ip.protocol(), ip.traffic_class());
        if ip.fragment_offset() == 0 {
            // What pads the frame is not read for ports.
            let packet = &network[..network.len().min(ip.total_len().into())];
            let transport = packet.get(usize::from(ip.header_len())..);
            self.read_transport(ip.protocol(), transport.unwrap_or_default());
        }
    }

    #[inline(never)]
    fn read_v6(&mut self, network: &[u8]) {
        let Ok(ip) = ipv6::Packet::new_checked(network) else {
            return;
        };
        // A jumbogram does not say here how long it is, but in options behind this header (RFC 2675).
        let stated = ipv6::HEADER_LEN + usize::from(ip.payload_len());
        let is_jumbo = ip.payload_len() == 0 && ip.next_header() == HOP_BY_HOP;
        let end = if is_jumbo { usize::MAX } else { stated };
        let network = &network[..network.len().min(end)];
        if !is_jumbo {
            self.octets = self.octets.min(stated as u32);
        }
        self.ttl = ip.hop_limit();
        self.key.set_v6(ip.src(), ip.dst());
        match ip.upper_layer() {
            Some(upper) => {
                self.key.set_protocol(upper.protocol, ip.traffic_class());
                if upper.fragment_offset == 0 {
                    let transport = network.get(upper.offset..);
                    self.read_transport(upper.protocol, transport.unwrap_or_default());
                }
            }
            // Extension headers without an end in sight.
            None => self.key.set_protocol(ip.next_header(), ip.traffic_class()),
        }
    }

    #[inline]
    fn read_transport(&mut self, protocol: u8, transport: &[u8]) {
        let Some(&[s0, s1, d0, d1]) = transport.first_chunk() else {
            return;
        };
        if protocol == ip_protocol::TCP {
            self.tcp_flags = transport.get(TCP_FLAGS).copied().unwrap_or_default();
        }
        let (first, second) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        if has_ports(protocol) {
            self.key.set_ports(first, second);
        } else if matches!(protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) {
            // Type and code.
            self.key.set_ports(0, first);
        }
    }

    #[inline(never)]
    fn cut(&mut self, header_len: usize, cut: Segmentation) {
        let headers = usize::from(cut.header_len);
        // What pads the frame is in none of them.
        let payload = (header_len + self.octets as usize).saturating_sub(headers);
        let packets = payload.div_ceil(usize::from(cut.size).max(1)).max(1);
        self.packets = packets as u32;
        self.octets = (packets * headers.saturating_sub(header_len) + payload) as u32;
        self.layer2_octets = (packets * headers + payload) as u32;
    }
}
