//! What a meter sees of one frame.

use weft_packet::{Head, Segmentation, ethertype, ip_protocol, ipv4, ipv6};

use crate::key::{Key, Place, PlaceWords};

/// Octets of a header, or of what is looked at of it, up to the TCP flags.
const TCP_FLAGS: usize = weft_packet::tcp::field::FLAGS;

/// Octets of an Ethernet header without tags.
const ETHERNET: usize = weft_packet::ethernet::HEADER_LEN;

/// Stream control, datagram congestion control and lightweight UDP have their ports where TCP and UDP have them (RFC 9260,
/// RFC 4340, RFC 3828).
const SCTP: u8 = 132;
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// A frame as far as it is metered, or several of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(crate) key: Key,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) layer2_octets: u32,
    pub(crate) tcp_flags: u8,
    pub(crate) min_ttl: u8,
    pub(crate) max_ttl: u8,
}

impl Packet {
    /// Reads a frame that is `len` octets long and begins with `bytes`, which hold at least its Ethernet header; `head` is asked for
    /// what they say. `cut` is how its sender wants it cut: it counts as the packets that it becomes.
    #[inline(always)]
    pub fn read(
        head: impl FnOnce() -> Option<Head>,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: &Place,
    ) -> Option<Self> {
        let place = PlaceWords::of(place);
        if cut.is_none()
            && let Some(plain) = Self::plain(bytes, len, place)
        {
            return Some(plain);
        }
        Some(Self::read_any(&head()?, bytes, len, cut, place))
    }

    /// The short way for what most packets are: TCP or UDP in IPv4 without options, whole, in an untagged frame.
    #[inline(always)]
    fn plain(bytes: &[u8], len: usize, place: PlaceWords) -> Option<Self> {
        const OCTETS: usize = ETHERNET + ipv4::HEADER_LEN + TCP_FLAGS + 1;
        let frame: &[u8; OCTETS] = bytes.first_chunk()?;
        let ip = &frame[ETHERNET..];
        let field = |range: std::ops::Range<usize>| {
            u16::from_be_bytes([ip[range.start], ip[range.start + 1]])
        };
        let protocol = ip[ipv4::field::PROTOCOL];
        let total = usize::from(field(ipv4::field::TOTAL_LEN));
        let is_plain = frame[12..15] == [0x08, 0x00, 0x45]
            && field(ipv4::field::FRAGMENT) & 0x3fff == 0
            && (protocol == ip_protocol::TCP || protocol == ip_protocol::UDP)
            && (ipv4::HEADER_LEN..=len - ETHERNET).contains(&total);
        if !is_plain {
            return None;
        }
        let ttl = ip[ipv4::field::TTL];
        Some(Self {
            key: Key::plain(place, frame.first_chunk().expect("it is shorter")),
            packets: 1,
            octets: total as u32,
            layer2_octets: len as u32,
            tcp_flags: if protocol == ip_protocol::TCP {
                frame[OCTETS - 1]
            } else {
                0
            },
            min_ttl: ttl,
            max_ttl: ttl,
        })
    }

    #[inline(never)]
    fn read_any(
        head: &Head,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: PlaceWords,
    ) -> Self {
        let header_len = usize::from(head.header_len);
        let mut packet = Self {
            key: Key::layer2(place, head.src, head.dst, head.ethertype),
            packets: 1,
            octets: len.saturating_sub(header_len) as u32,
            layer2_octets: len as u32,
            tcp_flags: 0,
            min_ttl: 0,
            max_ttl: 0,
        };
        let network = bytes.get(header_len..).unwrap_or_default();
        match head.ethertype {
            ethertype::IPV4 => packet.read_v4(network),
            ethertype::IPV6 => packet.read_v6(network),
            _ => {}
        }
        if let Some(cut) = cut {
            packet.cut(len, header_len, cut);
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
        self.set_ttl(ip.ttl());
        self.key.set_v4(ip.src(), ip.dst());
        self.key.set_protocol(ip.protocol(), ip.traffic_class());
        if ip.fragment_offset() == 0 {
            let transport = network.get(usize::from(ip.header_len())..);
            self.read_transport(ip.protocol(), transport.unwrap_or_default());
        }
    }

    #[inline(never)]
    fn read_v6(&mut self, network: &[u8]) {
        let Ok(ip) = ipv6::Packet::new_checked(network) else {
            return;
        };
        // A jumbogram does not say here how long it is (RFC 2675).
        if ip.payload_len() != 0 {
            let stated = ipv6::HEADER_LEN as u32 + u32::from(ip.payload_len());
            self.octets = self.octets.min(stated);
        }
        self.set_ttl(ip.hop_limit());
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
    fn set_ttl(&mut self, ttl: u8) {
        (self.min_ttl, self.max_ttl) = (ttl, ttl);
    }

    #[inline]
    fn read_transport(&mut self, protocol: u8, transport: &[u8]) {
        let Some(&[s0, s1, d0, d1]) = transport.first_chunk() else {
            return;
        };
        match protocol {
            ip_protocol::TCP => {
                self.tcp_flags = transport.get(TCP_FLAGS).copied().unwrap_or_default();
            }
            ip_protocol::UDP | SCTP | DCCP | UDP_LITE => {}
            // Type and code.
            ip_protocol::ICMP | ip_protocol::ICMPV6 => {
                self.key.set_ports(0, u16::from_be_bytes([s0, s1]));
                return;
            }
            _ => return,
        }
        self.key
            .set_ports(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    }

    #[inline(never)]
    fn cut(&mut self, len: usize, header_len: usize, cut: Segmentation) {
        let headers = usize::from(cut.header_len);
        let payload = len.saturating_sub(headers);
        let packets = payload.div_ceil(usize::from(cut.size).max(1)).max(1);
        self.packets = packets as u32;
        self.octets = (packets * headers.saturating_sub(header_len) + payload) as u32;
        self.layer2_octets = (packets * headers + payload) as u32;
    }

    /// Adds another of the same flow.
    #[inline]
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.octets += other.octets;
        self.layer2_octets += other.layer2_octets;
        self.tcp_flags |= other.tcp_flags;
        self.min_ttl = self.min_ttl.min(other.min_ttl);
        self.max_ttl = self.max_ttl.max(other.max_ttl);
    }
}
