//! Random frames.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use weft_packet::{SegmentKind, Segmentation};

use super::*;
use crate::Plain;

/// A frame as a poll thread has it.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) octets: Vec<u8>,
    pub(super) cut: Option<Segmentation>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for octet in &self.octets {
            write!(f, "{octet:02x}")?;
        }
        write!(f, " {:?}", self.cut)
    }
}

impl From<Vec<u8>> for Sent {
    fn from(octets: Vec<u8>) -> Self {
        Self { octets, cut: None }
    }
}

impl Sent {
    /// Notes it by the shortest way that it may go and is one for. Returns which one that is.
    pub(super) fn note(&self, notes: &mut Notes<'_>, place: Place, may: Way) -> Way {
        let (octets, len) = (&self.octets, self.octets.len());
        let goes = |way| may <= way && self.cut.is_none();
        let plain = Plain::read(octets, len).filter(|_| goes(Way::Plain));
        if plain.is_some_and(|plain| notes.note_plain(&plain, place, |_| {})) {
            return Way::Plain;
        }
        let mut way = Way::Usual;
        notes.note_other(|meter| {
            if goes(Way::Usual) && meter.note_usual(octets, len, place, |_| {}) {
                return;
            }
            way = Way::Any;
            let head = Head::parse(octets, len).expect("a frame that is forwarded parses");
            meter.note(&head, octets, len, self.cut, place, |_| {});
        });
        way
    }
}

/// The ways by which frames are noted, the shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Plain,
    Usual,
    Any,
}

pub(super) const WAYS: [Way; 3] = [Way::Plain, Way::Usual, Way::Any];

/// What of a frame may be otherwise than its sender means it.
#[derive(Clone, Debug)]
struct Flaws {
    /// The length that IP states.
    stated: Option<u16>,
    /// Octets behind the packet.
    padding: usize,
    /// Where it is cut off.
    end: Option<Index>,
    /// An octet among the first ones, and what is changed in it.
    octet: Option<(Index, u8)>,
}

fn flaws() -> impl Strategy<Value = Flaws> {
    (
        prop::option::weighted(0.1, prop_oneof![0..80u16, any::<u16>()]),
        prop_oneof![3 => Just(0), 1 => 1..50usize],
        prop::option::weighted(0.1, any::<Index>()),
        prop::option::weighted(0.2, (any::<Index>(), 1u8..)),
    )
        .prop_map(|(stated, padding, end, octet)| Flaws {
            stated,
            padding,
            end,
            octet,
        })
}

fn tags() -> impl Strategy<Value = Vec<u8>> {
    let tag = (select(vec![0x8100u16, 0x88a8]), 0..4u16)
        .prop_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    let count = prop_oneof![4 => Just(0), 4 => Just(1), 2 => Just(2), 1 => 3..9usize];
    count.prop_flat_map(move |count| {
        prop::collection::vec(tag.clone(), count).prop_map(|t| t.concat())
    })
}

/// A protocol and what IP carries of it. Of ports there are few, so that some frames are of one flow.
fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let protocol = select(vec![6u8, 6, 6, 17, 17, 1, 58, 132, 33, 136, 47, 59]);
    let flags = select(vec![0x02u8, 0x10, 0x18, 0x11, 0x04, 0xc2]);
    (protocol, 0..3u8, 0..3u8, flags, 0..60usize).prop_map(
        |(protocol, src, dst, flags, payload)| {
            let mut octets = vec![
                4,
                src,
                0,
                dst,
                0,
                8 + payload as u8,
                0,
                1,
                0,
                0,
                0,
                0,
                0x50,
                flags,
            ];
            octets.resize(20 + payload, 0x41);
            (protocol, octets)
        },
    )
}

/// A packet of IPv4, with options or without, whole or a fragment.
fn v4_packet() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![4 => Just(0), 1 => 1..=10usize];
    let fragment = prop_oneof![
        4 => select(vec![0u16, 0x4000]),
        1 => select(vec![0x2000u16, 0x0001, 0x2001, 0x1000, 0x1fff, 0x8000]),
    ];
    let (tos, ttl) = (select(vec![0u8, 0x28]), select(vec![1u8, 64, 255]));
    (options, fragment, tos, ttl, 0..2u8, transport()).prop_map(
        |(options, fragment, tos, ttl, host, (protocol, transport))| {
            let mut packet = v4(
                protocol,
                fragment,
                &[&vec![1; 4 * options][..], &transport].concat(),
            );
            packet[0] += options as u8;
            (packet[1], packet[8], packet[19]) = (tos, ttl, host);
            packet
        },
    )
}

/// A packet of IPv6, with extension headers or without.
fn v6_packet() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop_oneof![
        // A kind, and its length in units of eight octets beyond the first.
        3 => (select(vec![0u8, 43, 60]), 0..3u8).prop_map(|(kind, len)| (kind, len, 0u16)),
        2 => select(vec![0u16, 1, 8, 0x0e09]).prop_map(|offset| (44, 0, offset)),
    ];
    let extensions = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(extension, 1..11),
    ];
    (
        extensions,
        select(vec![0u8, 0x28]),
        select(vec![1u8, 64]),
        0..2u8,
        transport(),
    )
        .prop_map(|(extensions, class, hops, host, (protocol, transport))| {
            let nexts = extensions.iter().skip(1).map(|(kind, ..)| *kind);
            let mut rest = Vec::new();
            for ((_, len, offset), next) in extensions.iter().zip(nexts.chain([protocol])) {
                rest.extend([next, *len]);
                rest.extend(offset.to_be_bytes());
                rest.resize(rest.len() + 4 + 8 * usize::from(*len), 0);
            }
            rest.extend(transport);
            let first = extensions.first().map_or(protocol, |(kind, ..)| *kind);
            let mut packet = v6(first, &rest);
            (packet[0], packet[1]) = (0x60 | class >> 4, packet[1] & 0xf | class << 4);
            (packet[7], packet[39]) = (hops, host);
            packet
        })
}

/// What most frames are: TCP or UDP without anything special, untagged or with one tag, of few flows.
pub(super) fn usual_frame() -> impl Strategy<Value = Sent> {
    let transport = (0..2u8, select(vec![0x02u8, 0x10, 0x11]), 0..30usize);
    let ttl = select(vec![63u8, 64]);
    (any::<bool>(), any::<bool>(), any::<bool>(), ttl, transport).prop_map(
        |(is_v4, is_tcp, is_tagged, ttl, (port, flags, payload))| {
            let mut transport = tcp(flags, payload);
            transport[1] = port;
            let protocol = if is_tcp { 6 } else { 17 };
            let mut frame = if is_v4 {
                ethernet(0x0800, &v4(protocol, 0, &transport))
            } else {
                ethernet(0x86dd, &v6(protocol, &transport))
            };
            frame[if is_v4 { 22 } else { 21 }] = ttl;
            if is_tagged {
                frame.splice(12..12, [0x81, 0, 0, 10]);
            }
            frame.into()
        },
    )
}

/// Any frame that has a whole Ethernet header.
pub(super) fn frame() -> impl Strategy<Value = Sent> {
    let other = (
        select(vec![0x0806u16, 0x88cc, 0x9100, 0x0026, 0x0800, 0x86dd]),
        0..90usize,
    );
    let packet = prop_oneof![
        5 => v4_packet().prop_map(|packet| (0x0800u16, packet)),
        4 => v6_packet().prop_map(|packet| (0x86dd, packet)),
        1 => other.prop_map(|(kind, len)| (kind, vec![0x45; len])),
    ];
    (tags(), packet, flaws(), 0..2u8).prop_map(|(tags, (kind, mut packet), flaws, host)| {
        let at = if kind == 0x0800 { 2 } else { 4 };
        if let (Some(stated), Some(field)) = (flaws.stated, packet.get_mut(at..at + 2)) {
            field.copy_from_slice(&stated.to_be_bytes());
        }
        let mut frame = ethernet(kind, &packet);
        frame[11] = host;
        frame.splice(12..12, tags);
        frame.resize(frame.len() + flaws.padding, 0x41);
        if let Some((at, change)) = flaws.octet {
            let first = frame.len().min(64);
            frame[at.index(first)] ^= change;
        }
        if let Some(end) = flaws.end {
            // Shorter ones are not forwarded.
            frame.truncate(46 + end.index(frame.len()));
        }
        frame.resize(frame.len().max(46), 0);
        frame.into()
    })
}

/// A frame that its sender wants to be cut.
pub(super) fn large_frame() -> impl Strategy<Value = Sent> {
    let flags = select(vec![0x10u8, 0x18, 0x11]);
    let padding = prop_oneof![3 => Just(0), 1 => 1..3000usize];
    (
        tags(),
        any::<bool>(),
        flags,
        0..3000usize,
        1..2000u16,
        padding,
        0..2u8,
    )
        .prop_map(|(tags, is_v4, flags, payload, size, padding, host)| {
            let segment = tcp(flags, payload);
            let (kind, ethertype, mut packet) = if is_v4 {
                (SegmentKind::TcpV4, 0x0800, v4(6, 0, &segment))
            } else {
                (SegmentKind::TcpV6, 0x86dd, v6(6, &segment))
            };
            let address = if is_v4 { 19 } else { 39 };
            packet[address] = host;
            let mut octets = ethernet(ethertype, &packet);
            octets.splice(12..12, tags);
            let header_len = (octets.len() - payload) as u16;
            octets.resize(octets.len() + padding, 0x41);
            let cut = Segmentation {
                kind,
                ecn: false,
                // So that it does not become more than can be cut.
                size: size.max(payload as u16 / 50 + 1),
                header_len,
            };
            Sent {
                octets,
                cut: Some(cut),
            }
        })
}
