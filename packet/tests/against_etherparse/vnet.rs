//! Virtio-net headers: what is believed of them, and that what is believed can be carried out.

use crate::large::{NEEDS_CSUM, Packet, any_cut};
use proptest::prelude::*;
use weft_packet::vnet::{self, BadVnetHeader};
use weft_packet::{
    MAX_HEADERS, Offload, PartialChecksum, SegmentKind, Segmentation, Segmenter, TPID_CTAG, Tag,
    TagEdit, ip_protocol,
};

const TCP_V4: u8 = 1;
const UFO: u8 = 3;
const TCP_V6: u8 = 4;
const UDP_L4: u8 = 5;
const ECN: u8 = 0x80;

fn header(flags: u8, gso_type: u8, size: u16, start: u16, offset: u16) -> [u8; 12] {
    let [g0, g1] = size.to_le_bytes();
    let [s0, s1] = start.to_le_bytes();
    let [o0, o1] = offset.to_le_bytes();
    [flags, gso_type, 0, 0, g0, g1, s0, s1, o0, o1, 0, 0]
}

fn from_vnet(header: [u8; 12], frame: &[u8]) -> Result<Offload, BadVnetHeader> {
    Offload::from_vnet(&header, &frame[..frame.len().min(MAX_HEADERS)], frame.len())
}

fn only_checksum(start: u16, field: u16, length: u32) -> Offload {
    Offload {
        checksum: Some(PartialChecksum {
            start,
            field,
            length,
        }),
        segmentation: None,
    }
}

#[test]
fn a_finished_frame_of_any_length_is_finished() {
    for length in [0, 13, 14, 60, 300] {
        let frame = vec![0; length];
        // DATA_VALID and RSC_INFO are for drivers; no flag but one means anything to a device.
        for flags in (0..=u8::MAX).filter(|flags| flags & NEEDS_CSUM == 0) {
            let offload = from_vnet(header(flags, 0, 9, 7, 5), &frame).expect("nothing to do");
            assert!(offload.is_none());
        }
    }
}

#[test]
fn the_checksum_is_summed_to_the_end_of_the_frame() {
    let frame = [Packet::plain(true, false, 3).unfinished(), vec![0xab; 15]].concat();
    assert_eq!(frame.len(), 60);
    for flags in [NEEDS_CSUM, 0xff] {
        assert_eq!(
            from_vnet(header(flags, 0, 0, 34, 6), &frame),
            Ok(only_checksum(34, 40, 26))
        );
    }
}

#[test]
fn the_checksum_field_is_behind_the_tags_and_in_the_first_octets() {
    let of = |frame: &[u8], start, offset| from_vnet(header(1, 0, 0, start, offset), frame);
    let long = vec![0; 300];
    assert_eq!(of(&long, 13, 9), Err(BadVnetHeader::ChecksumStart));
    assert_eq!(of(&long, 14, 0), Ok(only_checksum(14, 14, 286)));
    assert_eq!(of(&long, 14, 176), Ok(only_checksum(14, 190, 286)));
    assert_eq!(of(&long, 14, 177), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long, 299, 0), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long, 0xffff, 0), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long, 0xffff, 0xffff), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long, 14, 0xffff), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long[..60], 14, 44), Ok(only_checksum(14, 58, 46)));
    assert_eq!(of(&long[..60], 14, 45), Err(BadVnetHeader::ChecksumField));
    assert_eq!(of(&long[..13], 14, 0), Err(BadVnetHeader::Runt));
    let request = header(1, 0, 0, 14, 45);
    assert_eq!(
        Offload::from_vnet(&request, &long, 60),
        Err(BadVnetHeader::ChecksumField),
        "what was seen beyond the frame does not count"
    );
    let mut tagged = vec![0; 60];
    tagged[12..14].copy_from_slice(&TPID_CTAG.to_be_bytes());
    assert_eq!(of(&tagged, 17, 9), Err(BadVnetHeader::ChecksumStart));
    assert_eq!(of(&tagged, 18, 9), Ok(only_checksum(18, 27, 42)));
}

#[test]
fn types_of_segmentation_that_are_not_offered() {
    let frame = Packet::plain(true, true, 500).unfinished();
    for gso_type in 1..=u8::MAX {
        let known = [TCP_V4, TCP_V6, UDP_L4, TCP_V4 | ECN, TCP_V6 | ECN].contains(&gso_type);
        let refused = from_vnet(header(1, gso_type, 100, 34, 16), &frame)
            == Err(BadVnetHeader::SegmentationType(gso_type));
        assert_eq!(refused, !known, "{gso_type:#x}");
    }
    assert!(from_vnet(header(0, UFO, 100, 34, 16), &frame).is_err());
}

#[test]
fn segmentation_that_contradicts_the_frame() {
    let frame = Packet::plain(true, true, 500).unfinished();
    let of = |header| from_vnet(header, &frame);
    let right = Segmentation {
        kind: SegmentKind::TcpV4,
        ecn: true,
        size: 100,
        header_len: 54,
    };
    assert_eq!(
        of(header(1, TCP_V4 | ECN, 100, 34, 16)),
        Ok(Offload {
            segmentation: Some(right),
            ..only_checksum(34, 50, 520)
        })
    );
    for (request, reason) in [
        (header(0, TCP_V4, 100, 34, 16), BadVnetHeader::NoChecksum),
        (header(2, TCP_V4, 100, 34, 16), BadVnetHeader::NoChecksum),
        (header(0, UDP_L4, 100, 34, 6), BadVnetHeader::NoChecksum),
        (header(1, TCP_V4, 0, 34, 16), BadVnetHeader::ZeroSize),
        (header(1, TCP_V6, 100, 34, 16), BadVnetHeader::OtherPacket),
        (header(1, UDP_L4, 100, 34, 6), BadVnetHeader::OtherPacket),
        (header(1, TCP_V4, 100, 36, 16), BadVnetHeader::OtherChecksum),
        (header(1, TCP_V4, 100, 36, 14), BadVnetHeader::OtherChecksum),
        (header(1, TCP_V4, 100, 34, 6), BadVnetHeader::OtherChecksum),
        (header(1, TCP_V4, 1, 34, 16), BadVnetHeader::TooManySegments),
    ] {
        assert_eq!(of(request), Err(reason), "{request:?}");
    }
    // 500 octets are 250 segments of 2.
    assert!(of(header(1, TCP_V4, 2, 34, 16)).is_ok());
    for size in [500, 501, u16::MAX] {
        assert_eq!(
            of(header(1, TCP_V4, size, 34, 16)),
            Ok(only_checksum(34, 50, 520)),
            "it fits into one segment"
        );
    }
}

#[test]
fn packets_that_cannot_be_cut() {
    let request = header(1, TCP_V4, 100, 34, 16);
    let spoilt = |at: usize, octets: &[u8]| {
        let mut frame = Packet::plain(true, true, 500).unfinished();
        frame[at..at + octets.len()].copy_from_slice(octets);
        from_vnet(request, &frame).map(|_| ())
    };
    assert_eq!(spoilt(0, &[]), Ok(()));
    assert_eq!(spoilt(12, &[0x08, 0x06]), Err(BadVnetHeader::OtherPacket));
    assert_eq!(spoilt(14, &[0x65]), Err(BadVnetHeader::Headers), "version");
    assert_eq!(
        spoilt(14, &[0x44]),
        Err(BadVnetHeader::Headers),
        "IP header length"
    );
    assert_eq!(
        spoilt(16, &[0, 0]),
        Err(BadVnetHeader::Headers),
        "no length"
    );
    assert_eq!(
        spoilt(16, &[0, 39]),
        Err(BadVnetHeader::Headers),
        "no whole TCP header"
    );
    assert_eq!(
        spoilt(16, &[2, 29]),
        Err(BadVnetHeader::CutOff),
        "one octet too many"
    );
    assert_eq!(spoilt(20, &[0x20, 0]), Err(BadVnetHeader::Fragment));
    assert_eq!(spoilt(20, &[0, 1]), Err(BadVnetHeader::Fragment));
    assert_eq!(spoilt(23, &[17]), Err(BadVnetHeader::OtherPacket));
    assert_eq!(
        spoilt(46, &[0x40]),
        Err(BadVnetHeader::Headers),
        "TCP header length"
    );
}

#[test]
fn ipv6_packets_that_cannot_be_cut() {
    let of = |kind, extension: [u8; 8]| {
        let packet = Packet {
            extensions: vec![(kind, extension.to_vec())],
            ..Packet::plain(false, true, 500)
        };
        from_vnet(packet.vnet_header(100), &packet.unfinished()).map(|_| ())
    };
    let (fragment, routing) = (ip_protocol::FRAGMENT, ip_protocol::ROUTING);
    assert_eq!(of(routing, [0, 0, 2, 0, 0, 0, 0, 0]), Ok(()));
    assert_eq!(
        of(routing, [0, 0, 2, 1, 0, 0, 0, 0]),
        Err(BadVnetHeader::SourceRoute)
    );
    assert_eq!(
        of(fragment, [0, 0, 0, 0, 0, 0, 0, 0]),
        Ok(()),
        "RFC 6946: an atomic fragment is whole"
    );
    for last in [1, 8] {
        assert_eq!(
            of(fragment, [0, 0, 0, last, 0, 0, 0, 0]),
            Err(BadVnetHeader::Fragment)
        );
    }
}

#[test]
fn headers_end_in_the_first_octets() {
    // 54 + 136 octets and a UDP header make 198, and with 8 octets less 190.
    for (length, fits) in [(16, false), (15, true)] {
        let mut octets = vec![0; (length + 1) * 8];
        octets[1] = length as u8;
        let packet = Packet {
            extensions: vec![(ip_protocol::DESTINATION_OPTIONS, octets)],
            ..Packet::plain(false, false, 500)
        };
        let frame = packet.unfinished();
        assert_eq!(packet.is_within_limits(), fits);
        for seen in [MAX_HEADERS, frame.len()] {
            let offload = Offload::from_vnet(&packet.vnet_header(100), &frame[..seen], frame.len());
            assert_eq!(offload.is_ok(), fits, "{} octets", packet.header_len());
            let segmentation = Segmentation {
                kind: SegmentKind::Udp,
                ecn: false,
                size: 100,
                header_len: packet.header_len() as u16,
            };
            let segmenter = Segmenter::new(&frame[..seen], frame.len(), segmentation);
            assert_eq!(segmenter.is_some(), fits);
        }
    }
    let packet = Packet::plain(true, true, 500);
    let frame = packet.unfinished();
    for seen in 0..frame.len() {
        let offload = Offload::from_vnet(&packet.vnet_header(100), &frame[..seen], frame.len());
        assert_eq!(offload.is_ok(), seen >= 54, "{seen} octets seen");
    }
}

#[test]
fn a_header_as_it_is_written() {
    let offload = Offload {
        segmentation: Some(Segmentation {
            kind: SegmentKind::TcpV6,
            ecn: true,
            size: 0x0102,
            header_len: 74,
        }),
        ..only_checksum(54, 70, 4000)
    };
    let tag = Tag::new(TPID_CTAG, 10, 0);
    assert_eq!(
        vnet::write(offload, TagEdit::Push(tag)),
        [1, 0x84, 78, 0, 2, 1, 58, 0, 16, 0, 1, 0]
    );
    assert_eq!(
        vnet::write(only_checksum(54, 70, 4000), TagEdit::Strip),
        [1, 0, 0, 0, 0, 0, 50, 0, 16, 0, 1, 0]
    );
    let nothing = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(vnet::write(Offload::default(), TagEdit::Keep), nothing);
    let contradiction = Offload {
        checksum: None,
        ..offload
    };
    assert_eq!(vnet::write(contradiction, TagEdit::Keep), nothing);
}

fn any_edit() -> impl Strategy<Value = TagEdit> {
    let tag = any::<u16>().prop_map(|tci| Tag {
        tpid: TPID_CTAG,
        tci,
    });
    prop_oneof![
        Just(TagEdit::Keep),
        Just(TagEdit::Strip),
        tag.clone().prop_map(TagEdit::Push),
        tag.prop_map(TagEdit::Replace),
    ]
}

/// What is accepted stays within the frame and the octets that were seen of it.
fn carry_out(offload: Offload, head: &[u8], frame_len: usize) -> Result<(), TestCaseError> {
    let seen = head.len().min(frame_len).min(MAX_HEADERS);
    if let Some(partial) = offload.checksum {
        prop_assert!(partial.start >= 14);
        prop_assert!(partial.start <= partial.field);
        prop_assert!(usize::from(partial.field) + 2 <= seen);
        prop_assert_eq!(
            usize::from(partial.start) + partial.length as usize,
            frame_len
        );
    }
    let Some(segmentation) = offload.segmentation else {
        return Ok(());
    };
    let partial = offload.checksum.expect("every segment has one");
    let header_len = usize::from(segmentation.header_len);
    prop_assert!(header_len <= seen);
    let segmenter = Segmenter::new(head, frame_len, segmentation).expect("it was accepted");
    prop_assert!((2..=256).contains(&segmenter.count()));
    let mut end = header_len;
    for n in 0..segmenter.count() {
        let payload = segmenter.payload(n);
        prop_assert_eq!(payload.start, end);
        prop_assert!(!payload.is_empty() && payload.len() <= segmentation.size.into());
        end = payload.end;
        let mut out = [0; MAX_HEADERS];
        let (length, part) = segmenter.header(n, &mut out).expect("there is room");
        prop_assert_eq!(length, header_len);
        prop_assert_eq!((part.start, part.field), (partial.start, partial.field));
        let all = length + payload.len();
        prop_assert_eq!(usize::from(part.start) + part.length as usize, all);
    }
    prop_assert!(end <= frame_len);
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((mut packet, size) in any_cut(), edit in any_edit()) {
        if matches!(edit, TagEdit::Strip | TagEdit::Replace(_)) && packet.tags.is_empty() {
            packet.tags.push(Tag::new(TPID_CTAG, 10, 0));
        }
        let frame = packet.unfinished();
        let offloads = [
            from_vnet(packet.vnet_header(size), &frame),
            from_vnet(header(1, 0, 0, packet.start() as u16, 6), &frame),
            Ok(Offload::default()),
        ];
        let mut edited = vec![0; frame.len() + 4];
        let length = edit.apply(&frame, &mut edited);
        edited.truncate(length);
        let change = edit.length_change() as i16;
        for offload in offloads.into_iter().flatten() {
            let read = from_vnet(vnet::write(offload, edit), &edited);
            let moved = Offload {
                checksum: offload.checksum.map(|partial| partial.after(edit)),
                segmentation: offload.segmentation.map(|segmentation| Segmentation {
                    header_len: segmentation.header_len.wrapping_add_signed(change),
                    ..segmentation
                }),
            };
            // A tag may push headers out of the first octets.
            let visible = moved.segmentation.is_none_or(|s| usize::from(s.header_len) <= MAX_HEADERS)
                && moved.checksum.is_none_or(|c| usize::from(c.field) + 2 <= MAX_HEADERS);
            prop_assert_eq!(read.ok(), visible.then_some(moved));
        }
    }

    #[test]
    fn no_request_leads_out_of_the_frame(
        request: [u8; 12],
        (packet, size) in any_cut(),
        spoilt_request in prop::collection::vec((0usize..12, any::<u8>()), 0..3),
        spoilt in prop::collection::vec((12usize..160, any::<u8>()), 0..4),
        seen in prop_oneof![Just(MAX_HEADERS), 0usize..300],
        frame_len in prop_oneof![3 => Just(None), 1 => (0usize..300).prop_map(Some), 1 => (0usize..70_000).prop_map(Some)],
    ) {
        let mut frame = packet.unfinished();
        for (at, octet) in spoilt {
            let at = at % frame.len();
            frame[at] = octet;
        }
        let mut near = packet.vnet_header(size);
        for (at, octet) in spoilt_request {
            near[at] = octet;
        }
        let head = &frame[..seen.min(frame.len())];
        let frame_len = frame_len.unwrap_or(frame.len());
        for request in [request, near] {
            if let Ok(offload) = Offload::from_vnet(&request, head, frame_len) {
                carry_out(offload, head, frame_len)?;
            }
        }
    }

    #[test]
    fn no_octets_panic(
        request: [u8; 12],
        kind in prop::sample::select(vec![SegmentKind::TcpV4, SegmentKind::TcpV6, SegmentKind::Udp]),
        size: u16,
        header_len: u16,
        head in prop::collection::vec(any::<u8>(), 0..300),
        frame_len: usize,
    ) {
        if let Ok(offload) = Offload::from_vnet(&request, &head, frame_len) {
            carry_out(offload, &head, frame_len)?;
        }
        let segmentation = Segmentation { kind, ecn: false, size, header_len };
        prop_assert!(Segmenter::new(&head, frame_len, segmentation).is_none_or(|s| s.count() > 0));
        let checksum = Some(PartialChecksum { start: size, field: header_len, length: 0 });
        for edit in [TagEdit::Keep, TagEdit::Strip, TagEdit::Push(Tag::new(TPID_CTAG, 1, 0))] {
            vnet::write(Offload { checksum, segmentation: Some(segmentation) }, edit);
        }
    }
}
