//! Frames that a sender leaves to be cut into segments, and the segments, each written by etherparse from its fields.

use etherparse::{IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header};
use etherparse::{TcpHeader, UdpHeader};
use proptest::prelude::*;
use weft_packet::{MAX_HEADERS, MAX_SEGMENTS, TPID_CTAG, TPID_STAG, Tag, ethertype, ip_protocol};

/// The flag of a virtio-net header that asks for a checksum (virtio 1.2 §5.1.6).
pub(crate) const NEEDS_CSUM: u8 = 1;

/// A packet of any length in an Ethernet frame.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) tags: Vec<Tag>,
    pub(crate) v4: bool,
    pub(crate) tcp: bool,
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) ip_options: Vec<u8>,
    /// IPv6 extension headers: what they are, and their octets, of which the first is not looked at.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) sequence: u32,
    /// CWR to FIN.
    pub(crate) flags: u8,
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// A small one without anything that can be left out.
    pub(crate) fn plain(v4: bool, tcp: bool, payload: usize) -> Self {
        Self {
            tags: vec![],
            v4,
            tcp,
            src: [7; 16],
            dst: [9; 16],
            identification: 0xffff,
            dont_fragment: true,
            ip_options: vec![],
            extensions: vec![],
            sequence: 0xffff_fff0,
            flags: 0xff,
            tcp_options: vec![],
            payload: (0..payload).map(|octet| octet as u8).collect(),
        }
    }

    /// The packets that carry `size` octets of the payload each: a slow and obvious way to segment.
    pub(crate) fn cut(&self, size: usize) -> Vec<Self> {
        let mut segments = vec![];
        let template = Self {
            payload: vec![],
            ..self.clone()
        };
        let mut sequence = self.sequence;
        let mut identification = self.identification;
        let mut rest = &self.payload[..];
        while !rest.is_empty() {
            let (payload, after) = rest.split_at(size.min(rest.len()));
            let mut flags = self.flags;
            if !segments.is_empty() {
                flags &= 0b0111_1111;
            }
            if !after.is_empty() {
                flags &= 0b1111_0110;
            }
            segments.push(Self {
                identification,
                sequence,
                flags,
                payload: payload.to_vec(),
                ..template.clone()
            });
            sequence = sequence.wrapping_add(payload.len() as u32);
            identification = identification.wrapping_add(1);
            rest = after;
        }
        segments
    }

    /// Where the IP header starts.
    pub(crate) fn network(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Where the transport header starts.
    pub(crate) fn start(&self) -> usize {
        self.network() + self.internet_header().len()
    }

    /// Where the checksum is.
    pub(crate) fn field(&self) -> usize {
        self.start() + if self.tcp { 16 } else { 6 }
    }

    pub(crate) fn header_len(&self) -> usize {
        self.start() + self.transport_header().len()
    }

    /// Whether the headers are such as offload can read.
    pub(crate) fn is_within_limits(&self) -> bool {
        self.header_len() <= MAX_HEADERS && self.extensions.len() <= 8
    }

    /// The frame, all checksums right.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        self.tags.iter().for_each(|tag| frame.extend(tag.octets()));
        let ethertype = if self.v4 {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        };
        frame.extend(ethertype.to_be_bytes());
        frame.extend(self.internet_header());
        frame.extend(self.transport_header());
        frame.extend(&self.payload);
        frame
    }

    /// What a sender hands over: the frame with the sum of the pseudo-header for a checksum.
    pub(crate) fn unfinished(&self) -> Vec<u8> {
        let mut frame = self.octets();
        let length = (frame.len() - self.start()) as u32;
        let addresses = if self.v4 { 4 } else { 16 };
        let sum = [
            &self.src[..addresses],
            &self.dst[..addresses],
            &length.to_be_bytes(),
            &[0, self.protocol()],
        ]
        .concat()
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let field = self.field();
        frame[field..field + 2].copy_from_slice(&(sum as u16).to_be_bytes());
        frame
    }

    /// The virtio-net header that goes with it.
    pub(crate) fn vnet_header(&self, size: u16) -> [u8; 12] {
        let gso_type = match (self.tcp, self.v4) {
            (true, true) => 1,
            (true, false) => 4,
            (false, _) => 5,
        };
        let ecn = if self.tcp && self.flags & 0x80 != 0 {
            0x80
        } else {
            0
        };
        let mut header = [NEEDS_CSUM, gso_type | ecn, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // A hint that is wrong.
        header[2..4].copy_from_slice(&0xfedcu16.to_le_bytes());
        header[4..6].copy_from_slice(&size.to_le_bytes());
        header[6..8].copy_from_slice(&(self.start() as u16).to_le_bytes());
        header[8] = (self.field() - self.start()) as u8;
        header
    }

    fn protocol(&self) -> u8 {
        if self.tcp {
            ip_protocol::TCP
        } else {
            ip_protocol::UDP
        }
    }

    fn internet_header(&self) -> Vec<u8> {
        let transport = self.transport_header().len() + self.payload.len();
        if self.v4 {
            let mut header = Ipv4Header {
                total_len: (20 + self.ip_options.len() + transport) as u16,
                identification: self.identification,
                dont_fragment: self.dont_fragment,
                time_to_live: 64,
                protocol: IpNumber(self.protocol()),
                source: self.src[..4].try_into().expect("4 octets"),
                destination: self.dst[..4].try_into().expect("4 octets"),
                options: Ipv4Options::try_from(&self.ip_options[..]).expect("at most 40 octets"),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            return header.to_bytes().to_vec();
        }
        let mut kinds: Vec<u8> = self.extensions.iter().map(|&(kind, _)| kind).collect();
        kinds.push(self.protocol());
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .zip(&kinds[1..])
            .flat_map(|((_, octets), &next)| [&[next], &octets[1..]].concat())
            .collect();
        let header = Ipv6Header {
            traffic_class: 3,
            flow_label: Ipv6FlowLabel::try_new(0xabcde).expect("20 bits"),
            payload_length: (extensions.len() + transport) as u16,
            next_header: IpNumber(kinds[0]),
            hop_limit: 64,
            source: self.src,
            destination: self.dst,
        };
        [&header.to_bytes()[..], &extensions].concat()
    }

    fn transport_header(&self) -> Vec<u8> {
        let v4 = |address: &[u8; 16]| [address[0], address[1], address[2], address[3]];
        if self.tcp {
            let flag = |bit: u8| self.flags & 1 << bit != 0;
            let mut header = TcpHeader {
                fin: flag(0),
                syn: flag(1),
                rst: flag(2),
                psh: flag(3),
                ack: flag(4),
                urg: flag(5),
                ece: flag(6),
                cwr: flag(7),
                acknowledgment_number: 4,
                ..TcpHeader::new(1, 2, self.sequence, 3)
            };
            header
                .set_options_raw(&self.tcp_options)
                .expect("at most 40 octets");
            let checksum = if self.v4 {
                header.calc_checksum_ipv4_raw(v4(&self.src), v4(&self.dst), &self.payload)
            } else {
                header.calc_checksum_ipv6_raw(self.src, self.dst, &self.payload)
            };
            // The same number in one's complement: the crate sends all ones with TCP as it must with UDP.
            header.checksum = match checksum.expect("the payload is not too long") {
                0 => 0xffff,
                checksum => checksum,
            };
            header.to_bytes().to_vec()
        } else {
            let mut header = UdpHeader {
                source_port: 1,
                destination_port: 2,
                length: 8 + self.payload.len() as u16,
                checksum: 0,
            };
            header.checksum = if self.v4 {
                header.calc_checksum_ipv4_raw(v4(&self.src), v4(&self.dst), &self.payload)
            } else {
                header.calc_checksum_ipv6_raw(self.src, self.dst, &self.payload)
            }
            .expect("the payload is not too long");
            header.to_bytes().to_vec()
        }
    }
}

/// A packet of any kind, and a segment size that cuts it into no more segments than are allowed.
pub(crate) fn any_cut() -> impl Strategy<Value = (Packet, u16)> {
    (any_packet(), 1u16..2000, any::<bool>()).prop_map(|(packet, size, even)| {
        let least = packet.payload.len().div_ceil(MAX_SEGMENTS) as u16;
        // Otherwise a last segment as long as the others would be rare.
        let size = if even {
            (packet.payload.len() as u16 / size.min(9)).max(1)
        } else {
            size
        };
        (packet, size.max(least))
    })
}

pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    let tag = (
        prop::sample::select(vec![TPID_CTAG, TPID_STAG]),
        any::<u16>(),
    )
        .prop_map(|(tpid, tci)| Tag { tpid, tci });
    let words =
        |most: usize| (0..=most, any::<u8>()).prop_map(|(words, octet)| vec![octet; words * 4]);
    let payload = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..200),
        3 => prop::collection::vec(any::<u8>(), 0..5000),
        1 => (60_000usize..65_000, any::<u8>())
            .prop_map(|(length, octet)| (0..length).map(|n| (n * 31) as u8 ^ octet).collect()),
    ];
    (
        prop::collection::vec(tag, 0..3),
        any::<[bool; 3]>(),
        any::<([u8; 16], [u8; 16])>(),
        words(10),
        extensions(),
        (any::<u16>(), any::<u32>(), any::<u8>()),
        words(10),
        payload,
    )
        .prop_map(
            |(
                tags,
                [v4, tcp, dont_fragment],
                (src, dst),
                ip_options,
                extensions,
                (identification, sequence, flags),
                tcp_options,
                payload,
            )| Packet {
                tags,
                v4,
                tcp,
                src,
                dst,
                identification,
                dont_fragment,
                ip_options: if v4 { ip_options } else { vec![] },
                extensions: if v4 { vec![] } else { extensions },
                sequence,
                flags,
                tcp_options: if tcp { tcp_options } else { vec![] },
                payload,
            },
        )
}

/// Extension headers that do not hinder segmentation, in the order of RFC 8200 §4.1.
fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let options = |kind| {
        (0u8..5).prop_map(move |length| {
            // Padding (RFC 8200 §4.2).
            let mut octets = vec![0; (usize::from(length) + 1) * 8];
            octets[1] = length;
            (kind, octets)
        })
    };
    let arrived = any::<[u8; 4]>()
        .prop_map(|data| (ip_protocol::ROUTING, [&[0, 0, 2, 0], &data[..]].concat()));
    (
        prop::option::of(options(ip_protocol::HOP_BY_HOP)),
        prop::option::of(arrived),
        prop::option::of(options(ip_protocol::DESTINATION_OPTIONS)),
    )
        .prop_map(|(first, second, third)| [first, second, third].into_iter().flatten().collect())
}
