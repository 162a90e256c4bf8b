//! What a sender leaves to its NIC, through the switch: untouched where the destination takes it, carried out where not,
//! refused where it contradicts the frame. Sums are checked by an implementation that is not ours.

use etherparse::{SlicedPacket, TcpHeader, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use weft_datapath::engine::memory::VnetHeader;
use weft_datapath::testing::{self, Rig, access, one_switch};
use weft_datapath::{DropReason, Offloads, PortConfig, PortId};
use weft_vlan::Policy;

const DEPTH: usize = 1024;

fn port(id: u16, vlan: Policy) -> PortConfig {
    PortConfig {
        promiscuous: id == 3,
        ..testing::port(id, vlan)
    }
}

/// Port 1 sends, in VLAN 10; port 2 receives; port 3 sees everything, with tags.
fn rig(offloads: Offloads) -> Rig {
    let mut rig = Rig::new().expect("an eventfd");
    for id in 1..=3 {
        rig.attach(PortId(id), DEPTH).expect("an eventfd");
    }
    rig.port(PortId(2)).take_offloads(offloads);
    rig.apply(&one_switch([
        port(1, access(10)),
        port(2, access(10)),
        port(3, Policy::trunk_all()),
    ]));
    rig
}

/// A TCP packet over IPv4 whose checksum is still to be computed.
fn large_packet(payload: &[u8], options: usize) -> Vec<u8> {
    let mut tcp = TcpHeader::new(1000, 2000, 0xffff_f000, 65535);
    tcp.ack = true;
    tcp.psh = true;
    tcp.set_options_raw(&vec![1; options * 4]).expect("options");
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp_header(tcp);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("a valid packet");
    // What stands in the field until then: the sum of addresses, protocol and length (RFC 9293 §3.1).
    let length = (frame.len() - 34) as u32;
    let words = frame[26..34].chunks(2);
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = sum + 6 + length;
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[50..52]
        .copy_from_slice(&((folded & 0xffff) as u16 + (folded >> 16) as u16).to_be_bytes());
    frame
}

/// The header that asks for the checksum, and for segments of `size` octets unless that is 0.
fn request(size: u16) -> VnetHeader {
    let [low, high] = size.to_le_bytes();
    let kind = u8::from(size > 0);
    [1, kind, 0, 0, low, high, 34, 0, 16, 0, 0, 0]
}

fn sum_is_right(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).expect("a valid packet");
    let (Some(etherparse::NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (&packet.net, &packet.transport)
    else {
        return false;
    };
    let header = tcp.to_header();
    // Zero is sent as all ones, which is the same in one's complement (RFC 768, and Linux for TCP too).
    let expected = match header.calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()) {
        Ok(0) => 0xffff,
        Ok(sum) => sum,
        Err(_) => return false,
    };
    header.checksum == expected
        && ip.header().to_header().calc_header_checksum() == ip.header().header_checksum()
}

fn payload_of(frame: &[u8]) -> Vec<u8> {
    match SlicedPacket::from_ethernet(frame)
        .expect("a valid packet")
        .transport
    {
        Some(TransportSlice::Tcp(tcp)) => tcp.payload().to_vec(),
        other => panic!("not TCP: {other:?}"),
    }
}

fn send(rig: &mut Rig, header: VnetHeader, frame: &[u8]) {
    let sender = rig.port(PortId(1));
    sender.send_with(header, frame);
    while !sender.is_idle() {
        rig.worker.pass();
    }
    rig.audit();
}

/// Where the sum starts, and what is before it, are further behind in a frame with a tag.
#[test]
fn what_a_tagged_frame_leaves_open_is_behind_the_tag() {
    let all = Offloads::CHECKSUM.with(Offloads::TCP_V4);
    let mut rig = rig(all);
    rig.port(PortId(3)).take_offloads(all);
    let frame = large_packet(&[7; 5000], 0);
    send(&mut rig, request(1000), &frame);
    let seen = rig.port(PortId(3)).drain_with_headers();
    let tagged = [&frame[..12], &[0x81, 0, 0, 10], &frame[12..]].concat();
    let [low, high] = 1000u16.to_le_bytes();
    let header = [1, 1, 58, 0, low, high, 38, 0, 16, 0];
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0[..10], header);
    assert!(seen[0].1 == tagged);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn packets_are_cut_for_those_who_want_them_finished(
        payload in vec(any::<u8>(), 0..40_000),
        size in 400u16..1408,
        options in 0usize..=10,
        takes: bool,
    ) {
        let all = Offloads::CHECKSUM.with(Offloads::TCP_V4);
        let mut rig = rig(if takes { all } else { Offloads::NONE });
        let frame = large_packet(&payload, options);
        send(&mut rig, request(size), &frame);

        let got = rig.port(PortId(2)).drain_with_headers();
        let counters = rig.datapath.counters(PortId(2)).expect("attached");
        let segments = payload.len().div_ceil(size.into()).max(1);
        if takes {
            prop_assert_eq!(got.len(), 1);
            prop_assert_eq!(&got[0].1, &frame);
            prop_assert_eq!(got[0].0[0], 1, "the checksum is still to be computed");
            prop_assert_eq!(u16::from_le_bytes([got[0].0[4], got[0].0[5]]), if segments > 1 { size } else { 0 });
            prop_assert_eq!((counters.tx_segmented, counters.tx_checksums_completed), (0, 0));
        } else {
            prop_assert_eq!(got.len(), segments);
            prop_assert!(got.iter().all(|(header, frame)| header[..2] == [0, 0] && sum_is_right(frame)));
            let octets: Vec<u8> = got.iter().flat_map(|(_, frame)| payload_of(frame)).collect();
            prop_assert_eq!(&octets, &payload);
            let expected = if segments > 1 { (1, segments as u64, 0) } else { (0, 0, 1) };
            prop_assert_eq!((counters.tx_segmented, counters.tx_segments, counters.tx_checksums_completed), expected);
        }

        // Whoever watches gets the same segments with the tag, although the destination took the packet as it was.
        let seen = rig.port(PortId(3)).drain_with_headers();
        prop_assert_eq!(seen.len(), segments);
        prop_assert!(seen.iter().all(|(_, frame)| frame[12..16] == [0x81, 0, 0, 10] && sum_is_right(frame)));
        let octets: Vec<u8> = seen.iter().flat_map(|(_, frame)| payload_of(frame)).collect();
        prop_assert_eq!(&octets, &payload);
    }

    #[test]
    fn no_header_panics_and_every_refusal_is_counted(
        header: VnetHeader,
        payload in vec(any::<u8>(), 0..3000),
        garble in vec((0usize..3054, any::<u8>()), 0..4),
    ) {
        let mut rig = rig(Offloads::NONE);
        let mut frame = large_packet(&payload, 0);
        let len = frame.len();
        for (at, octet) in garble {
            // The addresses stay, so that the frame is for port 2.
            frame[12 + at % (len - 12)] = octet;
        }
        send(&mut rig, header, &frame);
        let sender = rig.datapath.counters(PortId(1)).expect("attached");
        prop_assert_eq!(sender.rx_frames, 1);
        for (_, frame) in rig.port(PortId(2)).drain_with_headers() {
            prop_assert!(frame.len() <= 1518);
        }
    }
}

#[test]
fn a_contradiction_is_dropped_and_named() {
    let mut rig = rig(Offloads::NONE);
    let frame = large_packet(&[7; 3000], 0);
    let bad: [VnetHeader; 6] = [
        // UFO, which is not offered.
        [1, 3, 0, 0, 200, 0, 34, 0, 16, 0, 0, 0],
        // Segments of no octets.
        [1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
        // Segmentation without the checksum.
        [0, 1, 0, 0, 200, 0, 34, 0, 16, 0, 0, 0],
        // IPv6, which the packet is not.
        [1, 4, 0, 0, 200, 0, 34, 0, 16, 0, 0, 0],
        // A checksum beyond the frame, and one in the addresses.
        [1, 0, 0, 0, 0, 0, 0xff, 0xff, 16, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0],
    ];
    for header in bad {
        send(&mut rig, header, &frame);
    }
    let sender = rig.datapath.counters(PortId(1)).expect("attached");
    assert_eq!(sender.rx_drops[DropReason::BadVnetHeader as usize], 6);
    assert!(rig.port(PortId(2)).drain().is_empty());
    // A large packet that asks for nothing is too long for the link.
    send(&mut rig, [0; 12], &frame);
    let sender = rig.datapath.counters(PortId(1)).expect("attached");
    assert_eq!(sender.rx_drops[DropReason::TooLong as usize], 1);
}
