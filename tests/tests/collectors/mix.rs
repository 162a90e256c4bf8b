//! The mix of frames that flows are told apart in: always the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use weft_packet::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use weft_packet::{MacAddr, ethertype, ip_protocol};

const HOP_BY_HOP: u8 = 0;
const GRE: u8 = 47;
const FRAGMENT: u8 = 44;
const SCTP: u8 = 132;

/// "More fragments" (RFC 791 §3.1).
const MORE: u16 = 0x2000;

/// What each flow begins and ends with, and has between.
const ROUNDS: usize = 24;

/// Frames from one VM to another: TCP, UDP, ICMP and what has no ports, in IPv4, in IPv6, whole and in fragments, with tags and
/// without; ARP, LLDP and what nobody knows. Short ones are padded as a NIC does.
pub(crate) fn frames(from: MacAddr, to: MacAddr) -> Vec<Vec<u8>> {
    let one = Ipv4Addr::new(192, 0, 2, 1);
    let two = Ipv4Addr::new(192, 0, 2, 2);
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let seven = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0x1234, 0x5678, 0x9abc, 7);
    let mut frames = Vec::new();
    for round in 0..ROUNDS {
        // From nothing, which is padded, to what fits the MTU.
        let payload = vec![round as u8; round * 59];
        let flags = match round {
            0 => 0x02,
            last if last == ROUNDS - 1 => 0x11,
            _ => 0x18,
        };
        let mut packets = Vec::new();
        for flow in 0..4 {
            let udp = udp(40_000 + flow, 9_000, &payload);
            packets.push(ipv4(one, two, ip_protocol::UDP, 0, 0, &udp));
            let tcp = tcp(50_000, 8_000 + flow, flags, &payload);
            packets.push(ipv4(two, one, ip_protocol::TCP, 0, 0, &tcp));
        }
        // Expedited forwarding is another flow of the same ports.
        let marked = udp(40_000, 9_000, b"voice");
        packets.push(ipv4(one, two, ip_protocol::UDP, 0xb8, 0, &marked));
        for kind in [0x0800, 0x0000, 0x0303] {
            let icmp = icmp(kind, &payload[..payload.len().min(64)]);
            packets.push(ipv4(one, two, ip_protocol::ICMP, 0, 0, &icmp));
        }
        packets.push(ipv4(one, two, GRE, 0, 0, &[0, 0, 0x65, 0x58, 1, 2]));
        let sctp = [udp(1_111, 2_222, &[])[..4].to_vec(), vec![0; 8]].concat();
        packets.push(ipv4(one, two, SCTP, 0, 0, &sctp));
        // The first fragment has ports; the others are of a flow without.
        let whole = udp(41_000, 9_100, &[round as u8; 1_000]);
        for (number, part) in whole.chunks(400).enumerate() {
            let more = if number < 2 { MORE } else { 0 };
            let fragment = (number * 400 / 8) as u16 | more;
            packets.push(ipv4(one, two, ip_protocol::UDP, 0, fragment, part));
        }

        packets.push(ipv6(
            six,
            seven,
            ip_protocol::UDP,
            0,
            &udp(40_000, 9_000, &payload),
        ));
        let segment = tcp(50_000, 8_000, flags, &payload);
        packets.push(ipv6(seven, six, ip_protocol::TCP, 0x20, &segment));
        for kind in [0x8000, 0x8100, 0x8700] {
            let icmp = icmp(kind, &[0; 20]);
            packets.push(ipv6(six, seven, ip_protocol::ICMPV6, 0, &icmp));
        }
        // Hop-by-hop options of padding alone (RFC 8200 §4.3).
        let padded = [
            &[ip_protocol::UDP, 0, 1, 4, 0, 0, 0, 0],
            &udp(40_001, 9_001, &payload)[..],
        ];
        packets.push(ipv6(six, seven, HOP_BY_HOP, 0, &padded.concat()));
        let whole = udp(41_000, 9_100, &[round as u8; 600]);
        for (number, part) in whole.chunks(400).enumerate() {
            let more = if number < 1 { 1 } else { 0 };
            let [high, low] = ((number * 400) as u16 | more).to_be_bytes();
            let header = [ip_protocol::UDP, 0, high, low, 0, 0, 0, round as u8];
            packets.push(ipv6(six, seven, FRAGMENT, 0, &[&header, part].concat()));
        }

        let plain: &[u8] = &[];
        for tag in [plain, &[0, 10], &[0x60, 20]] {
            frames.extend(
                packets
                    .iter()
                    .map(|(ethertype, packet)| frame(to, from, tag, *ethertype, packet)),
            );
            frames.push(frame(
                MacAddr::BROADCAST,
                from,
                tag,
                ethertype::ARP,
                &arp(from),
            ));
            frames.push(frame(to, from, tag, ethertype::ARP, &arp(from)));
            // LLDP, and an EtherType for experiments.
            frames.push(frame(to, from, tag, 0x88cc, &[0x02, 0x07, 0x04]));
            frames.push(frame(to, from, tag, 0x88b5, &payload));
        }
    }
    frames
}

/// A packet of a flow, of `octets` octets of payload, for those who need one flow only.
pub(crate) fn datagram(from: MacAddr, to: MacAddr, src_port: u16, octets: usize) -> Vec<u8> {
    let (one, two) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let udp = udp(src_port, 9_000, &vec![7; octets]);
    let (ethertype, packet) = ipv4(one, two, ip_protocol::UDP, 0, 0, &udp);
    frame(to, from, &[], ethertype, &packet)
}

/// Addresses, a tag (IEEE 802.1Q-2018 §9.6) if there is one, and padding up to 60 octets.
fn frame(to: MacAddr, from: MacAddr, tag: &[u8], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = [to.octets(), from.octets()].concat();
    if !tag.is_empty() {
        frame.extend([0x81, 0x00]);
        frame.extend(tag);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ipv4(
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    tos: u8,
    fragment: u16,
    payload: &[u8],
) -> (u16, Vec<u8>) {
    let mut packet = vec![0x45, tos];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    let mut sum = Sum::new();
    sum.add_bytes(&packet);
    packet[10..12].copy_from_slice(&sum.checksum().to_be_bytes());
    packet.extend(payload);
    let is_whole = fragment == 0;
    if let Some(at) = checksum_of(protocol).filter(|_| is_whole) {
        let length = payload.len() as u16;
        let sum = if protocol == ip_protocol::ICMP {
            Sum::new()
        } else {
            pseudo_header_v4(src, dst, protocol, length)
        };
        complete(&mut packet[20..], at, sum);
    }
    (ethertype::IPV4, packet)
}

fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next: u8, class: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 255]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    if let Some(at) = checksum_of(next) {
        let sum = pseudo_header_v6(src, dst, next, payload.len() as u32);
        complete(&mut packet[40..], at, sum);
    }
    (ethertype::IPV6, packet)
}

/// Where a protocol has its checksum.
fn checksum_of(protocol: u8) -> Option<usize> {
    match protocol {
        ip_protocol::TCP => Some(16),
        ip_protocol::UDP => Some(6),
        ip_protocol::ICMP | ip_protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

fn complete(payload: &mut [u8], at: usize, mut sum: Sum) {
    sum.add_bytes(payload);
    payload[at..at + 2].copy_from_slice(&sum.checksum().to_be_bytes());
}

fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut datagram: Vec<u8> = [src, dst, length, 0]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect();
    datagram.extend(payload);
    datagram
}

fn tcp(src: u16, dst: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment: Vec<u8> = [src, dst].into_iter().flat_map(u16::to_be_bytes).collect();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// A message of this type and code.
fn icmp(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0; 6]);
    message.extend(payload);
    message
}

/// A question for an address that nobody has.
fn arp(from: MacAddr) -> Vec<u8> {
    let mut question = vec![0, 1, 8, 0, 6, 4, 0, 1];
    question.extend(from.octets());
    question.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 99]);
    question
}
