//! Which flow a packet is of, and what of it is counted.

use weft_packet::{Head, SegmentKind, Segmentation, ethertype};

use super::paths::assert_counted_apart;
use super::*;
use crate::key::Secret;

#[test]
fn a_packet_is_of_the_flow_that_it_says() {
    let flow_of = |ethertype, packet: &[u8]| read(&ethernet(ethertype, packet)).key.flow();
    let ports = |flow: Flow, protocol, src_port, dst_port| Flow {
        protocol,
        src_port,
        dst_port,
        ..flow
    };
    let udp = [0x03, 0xe8, 0, 53, 0, 8, 0, 0];
    let four_of = |protocol, fragment, transport: &[u8]| {
        flow_of(ethertype::IPV4, &v4(protocol, fragment, transport))
    };
    assert_eq!(four_of(6, 0, &tcp(2, 0)), ports(four(), 6, 1000, 80));
    assert_eq!(four_of(17, 0, &udp), ports(four(), 17, 1000, 53));
    assert_eq!(four_of(132, 0, &udp), ports(four(), 132, 1000, 53));
    assert_eq!(four_of(1, 0, &udp), ports(four(), 1, 0, 0x03e8));
    assert_eq!(four_of(47, 0, &udp), ports(four(), 47, 0, 0));
    // The first fragment has the ports, the others do not; nor has what is cut off before them.
    assert_eq!(four_of(17, 0x2000, &udp), ports(four(), 17, 1000, 53));
    assert_eq!(four_of(17, 0x0001, &udp), ports(four(), 17, 0, 0));
    assert_eq!(four_of(17, 0, &udp[..3]), ports(four(), 17, 0, 0));
    let six_of = |next, rest: &[u8]| flow_of(ethertype::IPV6, &v6(next, rest));
    assert_eq!(six_of(6, &tcp(2, 0)), ports(six(), 6, 1000, 80));
    assert_eq!(six_of(58, &[128, 0, 0, 0]), ports(six(), 58, 0, 0x8000));
    // Hop-by-hop options before UDP; a first and a later fragment of UDP; headers without an end.
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat();
    assert_eq!(six_of(0, &options), ports(six(), 17, 1000, 53));
    let first = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp].concat();
    assert_eq!(six_of(44, &first), ports(six(), 17, 1000, 53));
    let later = [&[17, 0, 0, 0x10, 0, 0, 0, 9][..], &udp].concat();
    assert_eq!(six_of(44, &later), ports(six(), 17, 0, 0));
    assert_eq!(six_of(43, &[17, 200, 0, 0]), ports(six(), 43, 0, 0));
    // What is no IP, or says so and is not.
    let none = |ethertype| flow(Addresses::None, ethertype);
    assert_eq!(flow_of(ethertype::ARP, &[0; 28]), none(ethertype::ARP));
    assert_eq!(flow_of(ethertype::IPV4, &[0x65; 40]), none(ethertype::IPV4));
    assert_eq!(flow_of(ethertype::IPV4, &[0x44; 40]), none(ethertype::IPV4));
    assert_eq!(flow_of(ethertype::IPV6, &[0x60; 39]), none(ethertype::IPV6));
    assert_eq!(flow_of(0x0026, &[0x42; 38]), none(0x0026));
}

#[test]
fn octets_are_those_of_the_packet_and_no_more() {
    let octets = |frame: &[u8]| {
        let packet = read(frame);
        (packet.octets, packet.layer2_octets)
    };
    let mut padded = ethernet(ethertype::IPV4, &v4(17, 0, &[0; 8]));
    padded.resize(60, 0);
    assert_eq!(octets(&padded), (28, 60));
    let mut claims = padded.clone();
    claims[16..18].copy_from_slice(&1500u16.to_be_bytes());
    assert_eq!(octets(&claims), (46, 60));
    let mut padded = ethernet(ethertype::IPV6, &v6(59, &[]));
    padded.resize(60, 0);
    assert_eq!(octets(&padded), (40, 60));
    let mut jumbo = ethernet(ethertype::IPV6, &v6(0, &[]));
    jumbo.resize(60, 0);
    assert_eq!(octets(&jumbo), (40 + 6, 60), "a length of 0 says nothing");
    assert_eq!(
        octets(&ethernet(ethertype::IPV6, &v6(59, &[0; 5]))),
        (45, 59)
    );
    assert_eq!(octets(&ethernet(ethertype::ARP, &[0; 46])), (46, 60));
}

/// What pads a frame stands where ports and flags would, and is neither.
#[test]
fn nothing_is_read_behind_the_packet() {
    for (protocol, len) in [(17, 0), (17, 3), (6, 3)] {
        let mut frame = ethernet(ethertype::IPV4, &v4(protocol, 0, &vec![0x41; len]));
        frame.resize(60, 0x41);
        let packet = read(&frame);
        assert_eq!(packet.key.flow(), Flow { protocol, ..four() });
        assert_eq!(packet.tcp_flags, 0);
        assert_counted_apart(&[frame.clone(), frame], "IPv4");
        let mut frame = ethernet(ethertype::IPV6, &v6(protocol, &vec![0x41; len]));
        frame.resize(80, 0x41);
        assert_eq!(read(&frame).key.flow(), Flow { protocol, ..six() });
    }
    // Ports, and no flags yet.
    let mut frame = ethernet(ethertype::IPV4, &v4(6, 0, &tcp(0x12, 0)[..8]));
    frame.resize(60, 0x41);
    let packet = read(&frame);
    assert_eq!((packet.key.flow().src_port, packet.tcp_flags), (1000, 0));
    assert_counted_apart(&[frame.clone(), frame], "TCP");
}

#[test]
fn what_is_to_be_cut_counts_as_its_pieces() {
    let packet = v4(6, 0, &tcp(0x19, 2500));
    let mut frame = ethernet(ethertype::IPV4, &packet);
    let cut = Segmentation {
        kind: SegmentKind::TcpV4,
        ecn: false,
        size: 1000,
        header_len: 54,
    };
    // What pads the frame is in no piece.
    for padding in [0, 1000] {
        frame.resize(54 + 2500 + padding, 0);
        let head = Head::parse(&frame, frame.len()).unwrap();
        // The meter sees the first octets only.
        let packet = Packet::read(&head, &frame[..64], frame.len(), Some(cut), PLACE);
        assert_eq!(packet.packets, 3);
        assert_eq!(packet.octets, 3 * 40 + 2500);
        assert_eq!(packet.layer2_octets, 3 * 54 + 2500);
        assert_eq!(packet.tcp_flags, 0x19);
    }
}

#[test]
fn every_field_tells_flows_apart() {
    let base = numbered(1).key;
    let mut others = Vec::new();
    for (ingress, egress, direction, vlan) in [
        (4, 7, Direction::Ingress, 10),
        (3, 8, Direction::Ingress, 10),
        (3, 7, Direction::Egress, 10),
        (3, 7, Direction::Ingress, 11),
    ] {
        let place = Place::new(end(ingress), end(egress), direction).in_vlan(vlan);
        let mut packet = v4(17, 0, &[0; 8]);
        packet[16..20].copy_from_slice(&1u32.to_be_bytes());
        let frame = ethernet(ethertype::IPV4, &packet);
        let head = Head::parse(&frame, frame.len()).unwrap();
        others.push(Packet::read(&head, &frame, frame.len(), None, place).key);
    }
    others.push(numbered(2).key);
    let second = End { life: 2, ..end(3) };
    let later = Place::new(second, end(7), Direction::Ingress).in_vlan(10);
    let mut packet = v4(17, 0, &[0; 8]);
    packet[16..20].copy_from_slice(&1u32.to_be_bytes());
    let frame = ethernet(ethertype::IPV4, &packet);
    let head = Head::parse(&frame, frame.len()).unwrap();
    others.push(Packet::read(&head, &frame, frame.len(), None, later).key);
    for other in &others {
        assert_ne!(*other, base);
        assert_ne!(other.hash(&Secret::new(7)), base.hash(&Secret::new(7)));
    }
    assert_ne!(base.hash(&Secret::new(7)), base.hash(&Secret::new(8)));
}
