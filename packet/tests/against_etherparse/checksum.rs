//! Checksums that a sender left to hardware: recognised where they stand, and completed to what etherparse computes.

use crate::captured::{self, octets};
use etherparse::{TcpHeader, UdpHeader};
use proptest::prelude::*;
use weft_packet::{
    MAX_TAGS, PartialChecksum, TPID_CTAG, TPID_STAG, Tag, TagEdit, complete, ethertype,
    ip_protocol, recognise,
};

/// Largest head that the data path reads.
const HEAD: usize = 128;

#[test]
fn what_linux_leaves_is_recognised() {
    for (frame, start, field, length) in [
        (captured::UDP_V4, 34, 40, 13),
        (captured::TCP_V4, 34, 50, 37),
        (captured::UDP_V6, 54, 60, 13),
        (captured::TCP_V6, 54, 70, 37),
    ] {
        let frame = octets(frame);
        let partial = recognise(&frame, frame.len()).expect("a partial checksum");
        assert_eq!(
            partial,
            PartialChecksum {
                start,
                field,
                length
            }
        );
        assert_eq!(
            complete(partial, [&frame[..]]),
            etherparse_checksum(&frame, partial)
        );
    }
}

#[test]
fn all_that_decides_must_lie_inside_the_head() {
    for frame in [
        captured::UDP_V4,
        captured::TCP_V4,
        captured::UDP_V6,
        captured::TCP_V6,
    ] {
        let frame = octets(frame);
        let partial = recognise(&frame, frame.len()).expect("a partial checksum");
        for seen in 0..=frame.len() {
            let expected = (seen >= usize::from(partial.field) + 2).then_some(partial);
            assert_eq!(
                recognise(&frame[..seen], frame.len()),
                expected,
                "{seen} octets"
            );
        }
    }
}

#[test]
fn what_pads_a_frame_is_not_summed() {
    let frame = octets(captured::UDP_V4);
    let partial = recognise(&frame, frame.len()).expect("a partial checksum");
    let padded = [&frame[..], &[0xab; 13]].concat();
    assert_eq!(recognise(&padded, padded.len()), Some(partial));
    assert_eq!(
        complete(partial, [&padded[..]]),
        etherparse_checksum(&frame, partial)
    );
}

#[test]
fn cut_off_frames_are_not_touched() {
    for frame in [
        captured::UDP_V4,
        captured::TCP_V4,
        captured::UDP_V6,
        captured::TCP_V6,
    ] {
        let frame = octets(frame);
        assert_eq!(recognise(&frame, frame.len() - 1), None);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_not_trusted() {
    // A UDP length between its header and what IPv4 leaves to it, in a frame that is padded beyond.
    for length in 0u16..20 {
        let mut frame = [&octets(captured::UDP_V4)[..], &[0; 20]].concat();
        frame[38..40].copy_from_slice(&length.to_be_bytes());
        let [high, low] = length.to_be_bytes();
        let pseudo_header = [&frame[26..34], &[0, 17, high, low]].concat();
        frame[40..42].copy_from_slice(&naive(&pseudo_header).to_be_bytes());
        let recognised = recognise(&frame, frame.len()).map(|partial| partial.length);
        assert_eq!(
            recognised,
            (8..=13).contains(&length).then_some(length.into()),
            "{length}"
        );
    }
    // An IPv4 length that leaves a TCP header whole, or not.
    for length in 0u16..=37 {
        let mut frame = octets(captured::TCP_V4);
        frame[16..18].copy_from_slice(&(20 + length).to_be_bytes());
        let [high, low] = length.to_be_bytes();
        let pseudo_header = [&frame[26..34], &[0, 6, high, low]].concat();
        frame[50..52].copy_from_slice(&naive(&pseudo_header).to_be_bytes());
        let recognised = recognise(&frame, frame.len()).map(|partial| partial.length);
        assert_eq!(
            recognised,
            (length >= 20).then_some(length.into()),
            "{length}"
        );
    }
}

#[test]
fn a_finished_checksum_is_none_of_ours() {
    for frame in [
        captured::UDP_V4,
        captured::TCP_V4,
        captured::UDP_V6,
        captured::TCP_V6,
    ] {
        let mut frame = octets(frame);
        let partial = recognise(&frame, frame.len()).expect("a partial checksum");
        let checksum = complete(partial, [&frame[..]]);
        store(&mut frame, partial, checksum);
        assert_eq!(recognise(&frame, frame.len()), None);
        store(&mut frame, partial, 0);
        assert_eq!(
            recognise(&frame, frame.len()),
            None,
            "UDP without a checksum"
        );
    }
}

#[test]
fn fragments_are_none_of_ours() {
    for fragment in [0x2000u16, 0x0001, 0x1fff, 0x3000] {
        let mut frame = octets(captured::UDP_V4);
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        assert_eq!(recognise(&frame, frame.len()), None, "{fragment:#06x}");
    }
    // "Do not fragment" and the reserved bit do not make a fragment.
    for flags in [0x0000u16, 0x4000, 0x8000] {
        let mut frame = octets(captured::UDP_V4);
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        assert!(recognise(&frame, frame.len()).is_some(), "{flags:#06x}");
    }
}

#[test]
fn ipv6_fragments_and_source_routes_are_none_of_ours() {
    let of = |kind, extension: [u8; 8]| {
        let mut frame = Frame::new(false, vec![(kind, extension.to_vec())]);
        // The builder writes what comes next.
        frame.extensions[0].1[0] = 0;
        let bytes = frame.octets();
        recognise(&bytes, bytes.len()).is_some()
    };
    assert!(
        of(ip_protocol::FRAGMENT, [0, 0, 0, 0, 1, 2, 3, 4]),
        "RFC 6946: an atomic fragment is whole"
    );
    assert!(
        !of(ip_protocol::FRAGMENT, [0, 0, 0, 1, 1, 2, 3, 4]),
        "the first of several"
    );
    assert!(
        !of(ip_protocol::FRAGMENT, [0, 0, 0, 8, 1, 2, 3, 4]),
        "the last of several"
    );
    assert!(
        of(ip_protocol::ROUTING, [0, 0, 2, 0, 0, 0, 0, 0]),
        "arrived"
    );
    assert!(
        !of(ip_protocol::ROUTING, [0, 0, 2, 1, 0, 0, 0, 0]),
        "on its way"
    );
}

#[test]
fn a_result_of_zero_is_sent_as_all_ones() {
    let mut frame = octets(captured::UDP_V4);
    let partial = recognise(&frame, frame.len()).expect("a partial checksum");
    // Adding the checksum itself to the payload makes the sum all ones, of which zero is the complement.
    let checksum = complete(partial, [&frame[..]]);
    let word = u16::from_be_bytes([frame[42], frame[43]]);
    let (sum, carry) = word.overflowing_add(checksum);
    frame[42..44].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    assert_eq!(complete(partial, [&frame[..]]), 0xffff);
    assert_eq!(etherparse_checksum(&frame, partial), 0xffff);
}

proptest! {
    #[test]
    fn every_frame_is_completed_as_etherparse_would(
        frame in any_frame(),
        padding in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(0usize..1500, 0..4),
    ) {
        let whole = [frame.octets(), padding].concat();
        let head = &whole[..whole.len().min(HEAD)];
        let expected = PartialChecksum {
            start: frame.start() as u16,
            field: frame.field() as u16,
            length: frame.transport().len() as u32,
        };
        let visible = frame.field() + 2 <= HEAD && frame.extensions.len() <= 8 && frame.tags.len() <= MAX_TAGS;
        prop_assert_eq!(recognise(head, whole.len()), visible.then_some(expected));

        let completed = complete(expected, pieces(&whole, cuts));
        prop_assert_eq!(completed, etherparse_checksum(&whole, expected));

        // A finished checksum that is taken for a partial one stays as it is.
        let mut finished = whole;
        store(&mut finished, expected, completed);
        prop_assert_eq!(sum_with_pseudo_header(&frame, &finished, expected), 0xffff);
        if recognise(&finished, finished.len()).is_some() {
            prop_assert_eq!(complete(expected, [&finished[..]]), completed);
        }
    }

    #[test]
    fn offsets_follow_a_tag_edit(frame in any_frame(), tci: u16) {
        let tag = Tag { tpid: TPID_CTAG, tci };
        let bytes = frame.octets();
        let head = &bytes[..bytes.len().min(HEAD - Tag::LEN)];
        if let Some(partial) = recognise(head, bytes.len()) {
            let mut out = [0; HEAD];
            let edit = TagEdit::Push(tag);
            let written = edit.apply(head, &mut out);
            let pushed = recognise(&out[..written], edit.edited_len(bytes.len()));
            let expected = (frame.tags.len() < MAX_TAGS).then_some(partial.after(edit));
            prop_assert_eq!(pushed, expected);
            prop_assert_eq!(partial.after(edit).after(TagEdit::Strip), partial);
        }
    }

    #[test]
    fn no_octets_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
        frame in any_frame(),
        spoilt in prop::collection::vec((0usize..160, any::<u8>()), 0..6),
        frame_len in 0usize..70_000,
    ) {
        let mut near = frame.octets();
        for (at, byte) in spoilt {
            let at = at % near.len();
            near[at] = byte;
        }
        for bytes in [bytes, near] {
            if let Some(partial) = recognise(&bytes, frame_len) {
                prop_assert!(usize::from(partial.field) + 2 <= bytes.len());
                prop_assert!(partial.start < partial.field);
                prop_assert!(usize::from(partial.start) + partial.length as usize <= frame_len);
                complete(partial, [&bytes[..]]);
            }
        }
    }

    #[test]
    fn no_request_panics(start: u16, field: u16, length: u32, bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        complete(PartialChecksum { start, field, length }, [&bytes[..], &[], &bytes[..]]);
    }
}

/// A frame whose checksum holds only the sum of the pseudo-header.
#[derive(Clone, Debug)]
struct Frame {
    tags: Vec<Tag>,
    v4: bool,
    src: [u8; 16],
    dst: [u8; 16],
    /// IPv4 options.
    options: Vec<u8>,
    /// IPv6 extension headers: what they are, and their octets.
    extensions: Vec<(u8, Vec<u8>)>,
    tcp: bool,
    tcp_options: Vec<u8>,
    payload: Vec<u8>,
}

impl Frame {
    fn new(v4: bool, extensions: Vec<(u8, Vec<u8>)>) -> Self {
        Self {
            tags: vec![],
            v4,
            src: [7; 16],
            dst: [9; 16],
            options: vec![],
            extensions,
            tcp: false,
            tcp_options: vec![],
            payload: vec![1, 2, 3],
        }
    }

    fn protocol(&self) -> u8 {
        if self.tcp {
            ip_protocol::TCP
        } else {
            ip_protocol::UDP
        }
    }

    fn start(&self) -> usize {
        14 + 4 * self.tags.len() + self.network().len()
    }

    fn field(&self) -> usize {
        self.start() + if self.tcp { 16 } else { 6 }
    }

    fn octets(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        self.tags.iter().for_each(|tag| frame.extend(tag.octets()));
        frame.extend(
            if self.v4 {
                ethertype::IPV4
            } else {
                ethertype::IPV6
            }
            .to_be_bytes(),
        );
        frame.extend(self.network());
        frame.extend(self.transport());
        let field = self.field();
        frame[field..field + 2].copy_from_slice(&naive(&self.pseudo_header()).to_be_bytes());
        frame
    }

    fn network(&self) -> Vec<u8> {
        if self.v4 {
            let words = 5 + self.options.len() as u8 / 4;
            let total = (usize::from(words) * 4 + self.transport().len()) as u16;
            let [high, low] = total.to_be_bytes();
            let fixed = [
                0x40 | words,
                0,
                high,
                low,
                0,
                0,
                0x40,
                0,
                64,
                self.protocol(),
                0,
                0,
            ];
            [&fixed, &self.src[..4], &self.dst[..4], &self.options].concat()
        } else {
            let mut next: Vec<u8> = self.extensions.iter().map(|&(kind, _)| kind).collect();
            next.push(self.protocol());
            let mut extensions = vec![];
            for ((_, octets), next) in self.extensions.iter().zip(&next[1..]) {
                extensions.push(*next);
                extensions.extend(&octets[1..]);
            }
            let [high, low] = ((extensions.len() + self.transport().len()) as u16).to_be_bytes();
            [
                &[0x60, 0, 0, 0, high, low, next[0], 64],
                &self.src[..],
                &self.dst,
                &extensions,
            ]
            .concat()
        }
    }

    /// With 0 for a checksum.
    fn transport(&self) -> Vec<u8> {
        if self.tcp {
            let mut header = TcpHeader::new(1, 2, 3, 4);
            header
                .set_options_raw(&self.tcp_options)
                .expect("at most 40 octets");
            [&header.to_bytes()[..], &self.payload].concat()
        } else {
            let header = UdpHeader {
                source_port: 1,
                destination_port: 2,
                length: 8 + self.payload.len() as u16,
                checksum: 0,
            };
            [&header.to_bytes()[..], &self.payload].concat()
        }
    }

    fn pseudo_header(&self) -> Vec<u8> {
        let length = (self.transport().len() as u32).to_be_bytes();
        let addresses = if self.v4 { 4 } else { 16 };
        [
            &self.src[..addresses],
            &self.dst[..addresses],
            &length,
            &[0, self.protocol()],
        ]
        .concat()
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let tag = (
        prop::sample::select(vec![TPID_CTAG, TPID_STAG]),
        any::<u16>(),
    );
    let tags = prop_oneof![
        4 => prop::collection::vec(tag.clone(), 0..3),
        1 => prop::collection::vec(tag, 0..10),
    ];
    let words =
        |most: usize| (0..=most, any::<u8>()).prop_map(|(words, octet)| vec![octet; words * 4]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 0..1400),
    ];
    (
        tags,
        any::<bool>(),
        any::<([u8; 16], [u8; 16])>(),
        words(10),
        extensions(),
        any::<bool>(),
        words(10),
        payload,
    )
        .prop_map(
            |(tags, v4, (src, dst), options, extensions, tcp, tcp_options, payload)| Frame {
                tags: tags
                    .into_iter()
                    .map(|(tpid, tci)| Tag { tpid, tci })
                    .collect(),
                v4,
                src,
                dst,
                options: if v4 { options } else { vec![] },
                extensions: if v4 { vec![] } else { extensions },
                tcp,
                tcp_options,
                payload,
            },
        )
}

/// Extension headers that do not hinder summing.
fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let options = (
        prop::sample::select(vec![
            ip_protocol::HOP_BY_HOP,
            ip_protocol::DESTINATION_OPTIONS,
        ]),
        0u8..3,
        any::<u8>(),
    )
        .prop_map(|(kind, length, octet)| {
            let mut octets = vec![octet; (usize::from(length) + 1) * 8];
            octets[1] = length;
            (kind, octets)
        });
    let arrived = any::<[u8; 4]>()
        .prop_map(|data| (ip_protocol::ROUTING, [&[0, 0, 2, 0], &data[..]].concat()));
    let atomic =
        any::<[u8; 4]>().prop_map(|id| (ip_protocol::FRAGMENT, [&[0, 0, 0, 0], &id[..]].concat()));
    prop::collection::vec(prop_oneof![options, arrived, atomic], 0..10)
}

fn pieces(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.iter_mut()
        .for_each(|cut| *cut = (*cut).min(bytes.len()));
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

fn store(frame: &mut [u8], partial: PartialChecksum, checksum: u16) {
    let field = usize::from(partial.field);
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 1071 §4.1, word by word.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// What a receiver sums, which is all ones for a checksum that is right.
fn sum_with_pseudo_header(frame: &Frame, bytes: &[u8], partial: PartialChecksum) -> u16 {
    let start = usize::from(partial.start);
    naive(
        &[
            &frame.pseudo_header()[..],
            &bytes[start..start + partial.length as usize],
        ]
        .concat(),
    )
}

/// The checksum as etherparse computes it, from the addresses in the frame.
fn etherparse_checksum(frame: &[u8], partial: PartialChecksum) -> u16 {
    let start = usize::from(partial.start);
    let transport = &frame[start..start + partial.length as usize];
    let mut network = 12;
    while Tag::is_tpid(u16::from_be_bytes([frame[network], frame[network + 1]])) {
        network += 4;
    }
    let network = &frame[network + 2..];
    fn address<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
        bytes[at..at + N].try_into().expect("N octets")
    }
    let checksum = if partial.field - partial.start == 16 {
        let (header, payload) = TcpHeader::from_slice(transport).expect("a TCP header");
        match network[0] >> 4 {
            4 => header.calc_checksum_ipv4_raw(address(network, 12), address(network, 16), payload),
            _ => header.calc_checksum_ipv6_raw(address(network, 8), address(network, 24), payload),
        }
    } else {
        let (header, payload) = UdpHeader::from_slice(transport).expect("a UDP header");
        match network[0] >> 4 {
            4 => header.calc_checksum_ipv4_raw(address(network, 12), address(network, 16), payload),
            _ => header.calc_checksum_ipv6_raw(address(network, 8), address(network, 24), payload),
        }
    }
    .expect("the payload is not too long");
    // etherparse leaves a TCP checksum of zero, which is the same number in one's complement.
    if checksum == 0 { 0xffff } else { checksum }
}
