//! What a meter sees of one frame.

use weft_packet::{Head, Segmentation, ethertype, ip_protocol, ipv4, ipv6};

use crate::key::{Key, Place};

/// Octets of a header, or of what is looked at of it, up to the TCP flags.
const TCP_FLAGS: usize = weft_packet::tcp::field::FLAGS;

/// Octets of an Ethernet header without tags.
const ETHERNET: usize = weft_packet::ethernet::HEADER_LEN;

/// Stream control, datagram congestion control and lightweight UDP have their ports where TCP and UDP have them (RFC 9260,
/// RFC 4340, RFC 3828).
const SCTP: u8 = 132;
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// Octets that are looked at of a plain packet: up to the TCP flags.
const PLAIN: usize = ETHERNET + ipv4::HEADER_LEN + TCP_FLAGS + 1;

/// What is counted of a plain packet.
struct Counted {
    octets: u32,
    tcp_flags: u8,
    ttl: u8,
}

impl Counted {
    /// Of a plain packet; `None` where it is not as long as it says.
    #[inline(always)]
    fn of(frame: &[u8; PLAIN], len: usize) -> Option<Self> {
        let total = u16::from_be_bytes([frame[16], frame[17]]);
        let is_there = (ipv4::HEADER_LEN..=len - ETHERNET).contains(&usize::from(total));
        is_there.then(|| Self {
            octets: total.into(),
            tcp_flags: if frame[23] == ip_protocol::TCP {
                frame[PLAIN - 1]
            } else {
                0
            },
            ttl: frame[22],
        })
    }
}

/// The plain packet before: whoever agrees with it in all that tells flows apart is of its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Likeness {
    place: Place,
    words: [u64; WORDS],
}

/// Words of eight octets that a plain packet's flow stands in.
const WORDS: usize = 5;

/// What of them tells flows apart, and what says that the packet is plain: addresses, EtherType, version and header length, type of
/// service, fragmentation, protocol, IP addresses, ports.
const TELLING: [u64; WORDS] = [
    u64::MAX,
    u64::MAX,
    u64::from_le_bytes([0, 0, 0, 0, 0x3f, 0xff, 0, 0xff]),
    u64::from_le_bytes([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]),
];

impl Likeness {
    pub(crate) const NONE: Self = Self {
        place: Place::NONE,
        words: [0; WORDS],
    };

    #[inline(always)]
    fn words(frame: &[u8; PLAIN]) -> [u64; WORDS] {
        std::array::from_fn(|word| {
            let octets = frame[word * 8..].first_chunk().copied();
            u64::from_le_bytes(octets.unwrap_or_default()) & TELLING[word]
        })
    }

    /// Of a packet that was read; nobody is like one that is not plain.
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8], packet: &Packet, place: Place) -> Self {
        match bytes.first_chunk() {
            Some(frame) if packet.is_plain => Self {
                place,
                words: Self::words(frame),
            },
            _ => Self::NONE,
        }
    }

    /// Counts a frame to a packet that it is like. Returns whether it is.
    #[inline(always)]
    pub(crate) fn add(&self, packet: &mut Packet, bytes: &[u8], len: usize, place: Place) -> bool {
        let Some(frame) = bytes.first_chunk() else {
            return false;
        };
        let pairs = self.words.iter().zip(Self::words(frame));
        let differs = pairs.fold(0, |differs, (own, other)| differs | (own ^ other));
        if differs != 0 || self.place != place {
            return false;
        }
        let Some(counted) = Counted::of(frame, len) else {
            return false;
        };
        packet.packets += 1;
        packet.octets += counted.octets;
        packet.layer2_octets += len as u32;
        packet.tcp_flags |= counted.tcp_flags;
        packet.min_ttl = packet.min_ttl.min(counted.ttl);
        packet.max_ttl = packet.max_ttl.max(counted.ttl);
        true
    }
}

/// A frame as far as it is metered, or several of one flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Packet {
    pub(crate) key: Key,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) layer2_octets: u32,
    pub(crate) tcp_flags: u8,
    pub(crate) min_ttl: u8,
    pub(crate) max_ttl: u8,
    is_plain: bool,
}

impl Packet {
    /// Reads a frame that is `len` octets long and begins with `bytes`, which hold at least its Ethernet header; `head` is asked for
    /// what they say. `cut` is how its sender wants it cut: it counts as the packets that it becomes.
    #[inline(always)]
    pub(crate) fn read(
        head: impl FnOnce() -> Option<Head>,
        bytes: &[u8],
        len: usize,
        cut: Option<Segmentation>,
        place: Place,
    ) -> Option<Self> {
        if cut.is_none()
            && let Some(plain) = Self::plain(bytes, len, place)
        {
            return Some(plain);
        }
        Some(Self::read_any(&head()?, bytes, len, cut, place))
    }

    /// The short way for what most packets are: TCP or UDP in IPv4 without options, whole, in an untagged frame.
    #[inline(always)]
    fn plain(bytes: &[u8], len: usize, place: Place) -> Option<Self> {
        let frame: &[u8; PLAIN] = bytes.first_chunk()?;
        let protocol = frame[23];
        let fragment = u16::from_be_bytes([frame[20], frame[21]]);
        let is_plain = frame[12..15] == [0x08, 0x00, 0x45]
            && fragment & 0x3fff == 0
            && (protocol == ip_protocol::TCP || protocol == ip_protocol::UDP);
        if !is_plain {
            return None;
        }
        let counted = Counted::of(frame, len)?;
        Some(Self {
            key: Key::plain(place, frame.first_chunk()?),
            packets: 1,
            octets: counted.octets,
            layer2_octets: len as u32,
            tcp_flags: counted.tcp_flags,
            min_ttl: counted.ttl,
            max_ttl: counted.ttl,
            is_plain: true,
        })
    }

    #[inline(never)]
    fn read_any(
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
            min_ttl: 0,
            max_ttl: 0,
            is_plain: false,
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
}
