//! The views: on captured frames, and against etherparse on arbitrary octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::captured::{self, octets};
use etherparse::{
    ArpPacketSlice, Ethernet2HeaderSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice,
    UdpHeaderSlice,
};
use proptest::prelude::*;
use weft_packet::{MacAddr, arp, ethernet, ethertype, ip_protocol, ipv4, ipv6, tcp, udp};

#[test]
fn a_datagram_over_ipv4() {
    let bytes = octets(captured::UDP_V4);
    let frame = ethernet::Frame::new_checked(&bytes[..]).expect("a frame");
    assert_eq!(frame.src(), MacAddr::new([2, 0, 0, 0, 0, 1]));
    assert_eq!(frame.dst(), MacAddr::new([2, 0, 0, 0, 0, 2]));
    assert_eq!(frame.ethertype(), ethertype::IPV4);
    let packet = ipv4::Packet::new_checked(frame.payload()).expect("a packet");
    assert_eq!(
        (packet.header_len(), packet.total_len(), packet.ttl()),
        (20, 33, 64)
    );
    assert_eq!(
        (packet.src(), packet.dst()),
        (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2))
    );
    assert_eq!(
        (packet.protocol(), packet.is_fragment()),
        (ip_protocol::UDP, false)
    );
    let datagram = udp::Datagram::new_checked(packet.payload()).expect("a datagram");
    assert_eq!(
        (datagram.dst_port(), datagram.length(), datagram.payload()),
        (9, 13, &b"weft!"[..])
    );
}

#[test]
fn a_segment_over_ipv6() {
    let bytes = octets(captured::TCP_V6);
    let frame = ethernet::Frame::new_checked(&bytes[..]).expect("a frame");
    assert_eq!(frame.ethertype(), ethertype::IPV6);
    let packet = ipv6::Packet::new_checked(frame.payload()).expect("a packet");
    assert_eq!((packet.src(), packet.dst()), (address(1), address(2)));
    assert_eq!(
        (
            packet.payload_len(),
            packet.hop_limit(),
            packet.flow_label()
        ),
        (37, 64, 0x17cef)
    );
    let upper = packet.upper_layer().expect("no extension headers");
    assert_eq!((upper.protocol, upper.offset), (ip_protocol::TCP, 40));
    let segment = tcp::Segment::new_checked(packet.payload()).expect("a segment");
    assert_eq!((segment.dst_port(), segment.header_len()), (7, 32));
    assert_eq!(segment.flags(), tcp::flag::PSH | tcp::flag::ACK);
    assert_eq!(segment.payload(), b"hello");

    fn address(host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host)
    }
}

#[test]
fn an_arp_request_there_and_back() {
    let bytes = octets(captured::ARP);
    let packet = arp::Packet::new_checked(&bytes[14..]).expect("an ARP packet");
    let repr = arp::Repr {
        operation: arp::operation::REQUEST,
        sender_mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::new(10, 0, 0, 1),
        target_mac: MacAddr::new([0; 6]),
        target_ip: Ipv4Addr::new(10, 0, 0, 2),
    };
    assert_eq!(arp::Repr::of(&packet), repr);
    assert_eq!(repr.octets(), bytes[14..]);
    assert!(arp::Packet::new_checked(&bytes[14..41]).is_err());
    let mut other = bytes[14..].to_vec();
    other[5] = 16;
    assert!(
        arp::Packet::new_checked(&other[..]).is_err(),
        "for addresses of another kind"
    );
}

#[test]
fn setters_write_where_accessors_read() {
    let mut bytes = [0; 60];
    let mut frame = ethernet::Frame::new_checked(&mut bytes[..]).expect("a frame");
    frame.set_dst(MacAddr::BROADCAST);
    frame.set_src(MacAddr::new([2, 0, 0, 0, 0, 1]));
    frame.set_ethertype(ethertype::ARP);
    frame.payload_mut()[0] = 7;
    assert!(frame.dst().is_broadcast());
    assert_eq!(
        (
            frame.src().octets()[5],
            frame.ethertype(),
            frame.payload()[0]
        ),
        (1, ethertype::ARP, 7)
    );
    assert_eq!(frame.payload().len(), 46);
}

#[test]
fn a_walk_ends_after_eight_extension_headers() {
    for extensions in 0..12 {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, ip_protocol::DESTINATION_OPTIONS, 64];
        bytes.resize(40, 0);
        bytes.extend([ip_protocol::DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(extensions));
        let last = if extensions == 0 { 6 } else { bytes.len() - 8 };
        bytes[last] = ip_protocol::TCP;
        bytes[5] = (bytes.len() - 40) as u8;
        let upper = ipv6::Packet::new_checked(&bytes[..])
            .expect("a packet")
            .upper_layer();
        let expected =
            (extensions <= ipv6::MAX_EXTENSIONS).then_some((ip_protocol::TCP, 40 + 8 * extensions));
        assert_eq!(
            upper.map(|upper| (upper.protocol, upper.offset)),
            expected,
            "{extensions} headers"
        );
    }
}

#[test]
fn a_walk_does_not_look_behind_the_first_fragment() {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 16, ip_protocol::FRAGMENT, 64];
    bytes.resize(40, 0);
    bytes.extend([ip_protocol::DESTINATION_OPTIONS, 0, 0, 8, 0, 0, 0, 1]);
    bytes.extend([0xff; 8]);
    let upper = ipv6::Packet::new_checked(&bytes[..])
        .expect("a packet")
        .upper_layer()
        .expect("a fragment header");
    assert_eq!(
        (upper.protocol, upper.offset),
        (ip_protocol::DESTINATION_OPTIONS, 48)
    );
    assert_eq!((upper.is_fragment, upper.fragment_offset), (true, 8));
}

/// Octets of which the first make the header likely to be one.
fn octets_from(first: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (first, prop::collection::vec(any::<u8>(), 0..100))
        .prop_map(|(first, rest)| [first, rest].concat())
}

proptest! {
    #[test]
    fn ethernet_agrees(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let view = ethernet::Frame::new_checked(&bytes[..]);
        let oracle = Ethernet2HeaderSlice::from_slice(&bytes);
        prop_assert_eq!(view.is_ok(), oracle.is_ok());
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!(view.dst().octets(), oracle.destination());
            prop_assert_eq!(view.src().octets(), oracle.source());
            prop_assert_eq!(view.ethertype(), oracle.ether_type().0);
            prop_assert_eq!(view.payload(), &bytes[14..]);
        }
    }

    #[test]
    fn arp_agrees(bytes in octets_from(Just(vec![0, 1, 8, 0, 6, 4]))) {
        let view = arp::Packet::new_checked(&bytes[..]);
        let oracle = ArpPacketSlice::from_slice(&bytes);
        prop_assert_eq!(view.is_ok(), oracle.is_ok());
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!(view.operation(), oracle.operation().0);
            prop_assert_eq!(&view.sender_mac().octets()[..], oracle.sender_hw_addr());
            prop_assert_eq!(&view.sender_ip().octets()[..], oracle.sender_protocol_addr());
            prop_assert_eq!(&view.target_mac().octets()[..], oracle.target_hw_addr());
            prop_assert_eq!(&view.target_ip().octets()[..], oracle.target_protocol_addr());
            prop_assert_eq!(&arp::Repr::of(&view).octets()[..], &bytes[..28]);
        }
    }

    #[test]
    fn ipv4_agrees(bytes in octets_from((0u8..=255).prop_map(|octet| vec![octet & 0x4f | 0x40]))) {
        let view = ipv4::Packet::new_checked(&bytes[..]);
        let oracle = Ipv4HeaderSlice::from_slice(&bytes);
        if let Ok(oracle) = &oracle {
            // etherparse leaves it to the reader of the payload to compare the two lengths.
            let contradicts = usize::from(oracle.total_len()) < oracle.slice().len();
            prop_assert_eq!(view.is_err(), contradicts);
        } else {
            prop_assert!(view.is_err());
        }
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!(usize::from(view.header_len()), oracle.slice().len());
            prop_assert_eq!(view.traffic_class(), oracle.dcp().value() << 2 | oracle.ecn().value());
            prop_assert_eq!(view.total_len(), oracle.total_len());
            prop_assert_eq!(view.is_fragment(), oracle.is_fragmenting_payload());
            prop_assert_eq!(view.fragment_offset(), u32::from(oracle.fragments_offset().byte_offset()));
            prop_assert_eq!((view.ttl(), view.protocol()), (oracle.ttl(), oracle.protocol().0));
            prop_assert_eq!((view.src(), view.dst()), (oracle.source_addr(), oracle.destination_addr()));
            let end = bytes.len().min(view.total_len().into());
            prop_assert_eq!(view.payload(), &bytes[oracle.slice().len()..end]);
        }
    }

    #[test]
    fn ipv6_agrees(bytes in octets_from((0u8..=15).prop_map(|octet| vec![0x60 | octet]))) {
        let view = ipv6::Packet::new_checked(&bytes[..]);
        let oracle = Ipv6HeaderSlice::from_slice(&bytes);
        prop_assert_eq!(view.is_ok(), oracle.is_ok());
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!(view.traffic_class(), oracle.traffic_class());
            prop_assert_eq!(view.flow_label(), oracle.flow_label().value());
            prop_assert_eq!(view.payload_len(), oracle.payload_length());
            prop_assert_eq!((view.next_header(), view.hop_limit()), (oracle.next_header().0, oracle.hop_limit()));
            prop_assert_eq!((view.src(), view.dst()), (oracle.source_addr(), oracle.destination_addr()));
            if let Some(upper) = view.upper_layer() {
                prop_assert!(upper.offset <= bytes.len());
            }
        }
    }

    #[test]
    fn udp_agrees(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let view = udp::Datagram::new_checked(&bytes[..]);
        let oracle = UdpHeaderSlice::from_slice(&bytes);
        // etherparse leaves it to the reader of the payload to look at the length.
        prop_assert_eq!(view.is_ok(), oracle.as_ref().is_ok_and(|oracle| oracle.length() >= 8));
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!((view.src_port(), view.dst_port()), (oracle.source_port(), oracle.destination_port()));
            prop_assert_eq!((view.length(), view.checksum()), (oracle.length(), oracle.checksum()));
            prop_assert_eq!(view.payload(), &bytes[8..bytes.len().min(view.length().into())]);
        }
    }

    #[test]
    fn tcp_agrees(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let view = tcp::Segment::new_checked(&bytes[..]);
        let oracle = TcpHeaderSlice::from_slice(&bytes);
        prop_assert_eq!(view.is_ok(), oracle.is_ok());
        if let (Ok(view), Ok(oracle)) = (view, oracle) {
            prop_assert_eq!((view.src_port(), view.dst_port()), (oracle.source_port(), oracle.destination_port()));
            prop_assert_eq!(view.sequence(), oracle.sequence_number());
            prop_assert_eq!(view.acknowledgement(), oracle.acknowledgment_number());
            prop_assert_eq!(usize::from(view.header_len()), oracle.slice().len());
            prop_assert_eq!(view.flags() & tcp::flag::SYN != 0, oracle.syn());
            prop_assert_eq!(view.flags() & tcp::flag::FIN != 0, oracle.fin());
            prop_assert_eq!(view.flags() & tcp::flag::RST != 0, oracle.rst());
            prop_assert_eq!(view.flags() & tcp::flag::ACK != 0, oracle.ack());
            prop_assert_eq!(view.checksum(), oracle.checksum());
            prop_assert_eq!(view.payload(), &bytes[oracle.slice().len()..]);
        }
    }
}
