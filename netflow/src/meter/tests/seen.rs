//! A slow reader that tells what is to be counted of a frame.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::{MacAddr, Segmenter};

use super::frames::Sent;
use super::*;

/// What is counted of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) layer2_octets: u64,
    pub(super) tcp_flags: u16,
    pub(super) ttl: Option<(u8, u8)>,
}

impl Sum {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.octets += other.octets;
        self.layer2_octets += other.layer2_octets;
        self.tcp_flags |= other.tcp_flags;
        self.ttl = match (self.ttl, other.ttl) {
            (Some((min, max)), Some((low, high))) => Some((min.min(low), max.max(high))),
            (one, other) => one.or(other),
        };
    }

    pub(super) fn of(record: &Record) -> Self {
        let counts = &record.counts;
        Self {
            packets: counts.packets,
            octets: counts.octets,
            layer2_octets: counts.layer2_octets,
            tcp_flags: counts.tcp_flags,
            ttl: Some((counts.min_ttl, counts.max_ttl)),
        }
    }
}

/// The sums of records, by their flows.
pub(super) fn sums<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeMap<Flow, Sum> {
    let mut sums = BTreeMap::<_, Sum>::new();
    for record in records {
        let sum = sums.entry(record.flow).or_default();
        sum.add(&Sum::of(record));
    }
    sums
}

/// The flow of a frame that passes at [`PLACE`], and what is to be counted of it, read octet by octet.
pub(super) fn seen(sent: &Sent) -> (Flow, Sum) {
    let frame = &sent.octets;
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let address = |at: usize| MacAddr::new(std::array::from_fn(|octet| frame[at + octet]));
    let mut begin = 14;
    while begin < 14 + 8 * 4 && [0x8100, 0x88a8].contains(&word(begin - 2)) {
        begin += 4;
    }
    let mut flow = Flow {
        src_mac: address(6),
        dst_mac: address(0),
        ..flow(Addresses::None, word(begin - 2))
    };
    let mut ttl = 0;
    let mut flags = 0;
    let packet = &frame[begin..];
    let mut len = packet.len();
    let mut transport = None;
    if flow.ethertype == 0x0800 && is_v4(packet) {
        len = len.min(u16::from_be_bytes([packet[2], packet[3]]).into());
        let at = |at: usize| Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|n| packet[at + n]));
        flow.addresses = Addresses::V4(at(12), at(16));
        (flow.tos, flow.protocol, ttl) = (packet[1], packet[9], packet[8]);
        if packet[6] & 0x1f == 0 && packet[7] == 0 {
            transport = Some(usize::from(packet[0] & 0xf) * 4);
        }
    } else if flow.ethertype == 0x86dd && packet.len() >= 40 && packet[0] >> 4 == 6 {
        let stated = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        let is_jumbo = stated == 0 && packet[6] == 0;
        if !is_jumbo {
            len = len.min(40 + stated);
        }
        let at = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|n| packet[at + n]));
        flow.addresses = Addresses::V6(at(8), at(24));
        flow.tos = packet[0] << 4 | packet[1] >> 4;
        ttl = packet[7];
        let end = if is_jumbo { 40 } else { len };
        (flow.protocol, transport) = upper_layer(&packet[..end]);
    }
    if let Some(transport) = transport
        && len >= transport + 4
    {
        let transport = &packet[transport..len];
        let ports = [0, 2].map(|at| u16::from_be_bytes([transport[at], transport[at + 1]]));
        match flow.protocol {
            6 | 17 | 33 | 132 | 136 => [flow.src_port, flow.dst_port] = ports,
            1 | 58 => flow.dst_port = ports[0],
            _ => {}
        }
        if flow.protocol == 6 {
            flags = transport.get(13).copied().unwrap_or_default();
        }
    }
    let mut sum = Sum {
        packets: 1,
        octets: len as u64,
        layer2_octets: frame.len() as u64,
        tcp_flags: flags.into(),
        ttl: Some((ttl, ttl)),
    };
    if let Some(cut) = sent.cut {
        // As those are cut that leave by a link.
        let segments = Segmenter::new(frame, frame.len(), cut).expect("it can be cut");
        let headers = usize::from(cut.header_len);
        let all = (0..segments.count()).map(|n| headers + segments.payload(n).len());
        sum.packets = segments.count() as u64;
        sum.layer2_octets = all.sum::<usize>() as u64;
        sum.octets = sum.layer2_octets - sum.packets * begin as u64;
    }
    (flow, sum)
}

fn is_v4(packet: &[u8]) -> bool {
    packet.len() >= 20 && packet[0] >> 4 == 4 && {
        let header = usize::from(packet[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        (20..=packet.len().min(total)).contains(&header)
    }
}

/// The protocol behind the extension headers of IPv6, of which there are eight at most, and where it begins, if that is here.
fn upper_layer(packet: &[u8]) -> (u8, Option<usize>) {
    let (mut protocol, mut at, mut is_later) = (packet[6], 40, false);
    for _ in 0..=8 {
        if is_later || ![0, 43, 44, 60].contains(&protocol) {
            return (protocol, (!is_later).then_some(at));
        }
        let rest = packet.get(at..).unwrap_or_default();
        let len = match rest {
            [_, len, _, _, ..] if protocol != 44 => (usize::from(*len) + 1) * 8,
            _ => 8,
        };
        if rest.len() < len {
            break;
        }
        is_later = protocol == 44 && (rest[2] != 0 || rest[3] & 0xf8 != 0);
        (protocol, at) = (rest[0], at + len);
    }
    (packet[6], None)
}
