//! Segments, octet for octet those that etherparse writes, and as it reads them.

use crate::large::{Packet, any_cut};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use weft_packet::vnet::BadVnetHeader;
use weft_packet::{
    MAX_HEADERS, MAX_SEGMENTS, Offload, PartialChecksum, SegmentKind, Segmentation, Segmenter,
    complete,
};

/// The segments as a destination gets them: headers, payload, and the checksum completed.
fn segments(frame: &[u8], segmentation: Segmentation) -> Vec<Vec<u8>> {
    let head = &frame[..frame.len().min(MAX_HEADERS)];
    let segmenter = Segmenter::new(head, frame.len(), segmentation).expect("it can be cut");
    (0..segmenter.count())
        .map(|n| {
            let mut out = [0xee; MAX_HEADERS];
            let (length, partial) = segmenter.header(n, &mut out).expect("there is room");
            assert_eq!(length, usize::from(segmentation.header_len));
            assert!(out[length..].iter().all(|&octet| octet == 0xee));
            let payload = &frame[segmenter.payload(n)];
            assert!(payload.len() <= segmentation.size.into());
            let checksum = complete(partial, [&out[..length], payload]);
            let mut segment = [&out[..length], payload].concat();
            store(&mut segment, partial, checksum);
            segment
        })
        .collect()
}

fn store(frame: &mut [u8], partial: PartialChecksum, checksum: u16) {
    let field = usize::from(partial.field);
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn segmentation(packet: &Packet, size: u16) -> Segmentation {
    Segmentation {
        kind: match (packet.tcp, packet.v4) {
            (true, true) => SegmentKind::TcpV4,
            (true, false) => SegmentKind::TcpV6,
            (false, _) => SegmentKind::Udp,
        },
        ecn: false,
        size,
        header_len: packet.header_len() as u16,
    }
}

/// The payload of a segment, which is whole and right in all that it says of itself.
fn read(segment: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ethernet(segment).expect("a frame");
    let net = sliced.net.expect("an IP header");
    let transport = sliced.transport.expect("a transport header");
    match &net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert!(!ip.is_payload_fragmented());
        }
        NetSlice::Ipv6(ip) => assert!(!ip.is_payload_fragmented()),
        other => panic!("{other:?}"),
    }
    // etherparse has zero with TCP where the crate has all ones, the same number in one's complement.
    let same = |a: u16, b: u16| a == b || (a == 0xffff && b == 0);
    match &transport {
        TransportSlice::Tcp(tcp) => {
            let (header, payload) = (tcp.to_header(), tcp.payload());
            let checksum = match &net {
                NetSlice::Ipv4(ip) => header.calc_checksum_ipv4(&ip.header().to_header(), payload),
                NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), payload),
                other => panic!("{other:?}"),
            };
            assert!(same(header.checksum, checksum.expect("not too long")));
            payload.to_vec()
        }
        TransportSlice::Udp(udp) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            assert_eq!(usize::from(header.length), 8 + payload.len());
            let checksum = match &net {
                NetSlice::Ipv4(ip) => header.calc_checksum_ipv4(&ip.header().to_header(), payload),
                NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), payload),
                other => panic!("{other:?}"),
            };
            assert_eq!(header.checksum, checksum.expect("not too long"));
            payload.to_vec()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_and_numbers_of_three_segments() {
    let packet = Packet::plain(true, true, 25);
    let cut = segments(&packet.unfinished(), segmentation(&packet, 10));
    let of = |range: std::ops::Range<usize>| -> Vec<&[u8]> {
        cut.iter().map(|segment| &segment[range.clone()]).collect()
    };
    assert_eq!(of(16..18), [[0, 50], [0, 50], [0, 45]], "total length");
    assert_eq!(of(18..20), [[0xff, 0xff], [0, 0], [0, 1]], "identification");
    assert_eq!(
        of(38..42),
        [
            [0xff, 0xff, 0xff, 0xf0],
            [0xff, 0xff, 0xff, 0xfa],
            [0, 0, 0, 4]
        ],
        "sequence number"
    );
    // CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    assert_eq!(of(47..48), [[0b1111_0110], [0b0111_0110], [0b0111_1111]]);
}

#[test]
fn without_rest_the_last_segment_is_as_long() {
    let packet = Packet::plain(false, false, 30);
    let cut = segments(&packet.unfinished(), segmentation(&packet, 10));
    let lengths: Vec<_> = cut.iter().map(|segment| &segment[58..60]).collect();
    assert_eq!(lengths, [[0, 18]; 3]);
}

#[test]
fn beyond_the_last_segment_there_is_nothing() {
    let packet = Packet::plain(true, true, 25);
    let frame = [packet.unfinished(), vec![0xab; 9]].concat();
    let segmenter =
        Segmenter::new(&frame, frame.len(), segmentation(&packet, 10)).expect("it can be cut");
    assert_eq!(segmenter.count(), 3);
    for n in [3, 4, 256, usize::MAX] {
        assert_eq!(segmenter.header(n, &mut [0; 192]), None);
        assert!(segmenter.payload(n).is_empty());
        assert!(frame.get(segmenter.payload(n)).is_some());
    }
    let mut short = [0xee; 53];
    assert_eq!(segmenter.header(0, &mut short), None);
    assert_eq!(short, [0xee; 53]);
}

#[test]
fn one_segment_may_be_all() {
    for payload in [0, 10] {
        let packet = Packet::plain(true, false, payload);
        let cut = segments(&packet.unfinished(), segmentation(&packet, 10));
        assert_eq!(cut, [packet.octets()]);
    }
}

#[test]
fn what_the_frame_contradicts_is_not_cut() {
    let packet = Packet::plain(true, true, 300);
    let frame = packet.unfinished();
    let right = segmentation(&packet, 10);
    let of = |segmentation| Segmenter::new(&frame, frame.len(), segmentation).map(|s| s.count());
    assert_eq!(of(right), Some(30));
    assert_eq!(of(Segmentation { size: 2, ..right }), Some(150));
    assert_eq!(of(Segmentation { size: 1, ..right }), None, "300 segments");
    assert_eq!(of(Segmentation { size: 0, ..right }), None);
    for header_len in [0, 53, 55, u16::MAX] {
        assert_eq!(
            of(Segmentation {
                header_len,
                ..right
            }),
            None
        );
    }
    for kind in [SegmentKind::TcpV6, SegmentKind::Udp] {
        assert_eq!(of(Segmentation { kind, ..right }), None);
    }
    for length in 0..54 {
        assert!(Segmenter::new(&frame[..length], frame.len(), right).is_none());
    }
    assert!(Segmenter::new(&frame, frame.len() - 1, right).is_none());
}

proptest! {
    #[test]
    fn every_packet_is_cut_as_etherparse_would(
        (packet, size) in any_cut(),
        padding in prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(any::<u8>(), 1..20)],
    ) {
        let is_padded = !padding.is_empty();
        let frame = [packet.unfinished(), padding].concat();
        let head = &frame[..frame.len().min(MAX_HEADERS)];
        let offload = Offload::from_vnet(&packet.vnet_header(size), head, frame.len());
        if !packet.is_within_limits() {
            prop_assert!(offload.is_err());
            return Ok(());
        }
        let expected = packet.cut(size.into());
        if is_padded && expected.len() > 1 {
            prop_assert_eq!(offload, Err(BadVnetHeader::Trailer));
            return Ok(());
        }
        let offload = offload.expect("it can be done");
        let partial = offload.checksum.expect("every segment has one");
        prop_assert_eq!(
            (usize::from(partial.start), usize::from(partial.field)),
            (packet.start(), packet.field())
        );
        prop_assert!(expected.len() <= MAX_SEGMENTS);
        let Some(segmentation) = offload.segmentation else {
            prop_assert!(expected.len() <= 1);
            return Ok(());
        };
        let cut = segments(&frame, segmentation);
        prop_assert_eq!(cut.len(), expected.len());
        for (segment, expected) in cut.iter().zip(&expected) {
            prop_assert_eq!(segment, &expected.octets());
        }
        let payload: Vec<u8> = cut.iter().flat_map(|segment| read(segment)).collect();
        prop_assert_eq!(payload, packet.payload);
    }
}
