//! Virtio-net headers that ask for what cannot be.

use super::super::host::{PLAIN, exchange, frame, tcp_packet};
use super::{ATTACKER, PEER, beside_neighbours, dropped};
use crate::DropReason;
use crate::testing::GuestOptions;

/// A header by its fields: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
fn header(flags: u8, kind: u8, fields: [u16; 4]) -> [u8; 12] {
    let mut header = [0; 12];
    header[..2].copy_from_slice(&[flags, kind]);
    for (place, field) in header[2..10].chunks_mut(2).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    header
}

#[test]
fn every_field_that_contradicts_the_frame_is_a_counted_drop() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let tcp = tcp_packet(ATTACKER, PEER, 3000);
        let len = tcp.len() as u16;
        let mut fragment = tcp.clone();
        fragment[20] |= 0x20;
        let mut beyond = tcp.clone();
        beyond[16..18].copy_from_slice(&len.to_be_bytes());
        let mut options = tcp.clone();
        options[46] = 0xf0;
        let mut udp = tcp.clone();
        udp[23] = 17;
        let other = frame(ATTACKER, PEER, 3000, 0);
        let bad: [(&str, [u8; 12], &[u8]); 23] = [
            ("UFO", header(1, 3, [54, 1000, 34, 16]), &tcp),
            ("an unknown type", header(1, 2, [54, 1000, 34, 16]), &tcp),
            ("ECN alone", header(1, 0x80, [54, 1000, 34, 16]), &tcp),
            (
                "all bits of the type",
                header(1, 0xff, [54, 1000, 34, 16]),
                &tcp,
            ),
            (
                "no octets in a segment",
                header(1, 1, [54, 0, 34, 16]),
                &tcp,
            ),
            ("too many segments", header(1, 1, [54, 1, 34, 16]), &tcp),
            ("no checksum", header(0, 1, [54, 1000, 34, 16]), &tcp),
            ("the other IP", header(1, 4, [54, 1000, 34, 16]), &tcp),
            ("UDP that is TCP", header(1, 5, [54, 1000, 34, 16]), &tcp),
            ("TCP that is UDP", header(1, 1, [54, 1000, 34, 16]), &udp),
            ("no IP at all", header(1, 1, [54, 1000, 34, 16]), &other),
            ("a fragment", header(1, 1, [54, 1000, 34, 16]), &fragment),
            (
                "longer than the frame",
                header(1, 1, [54, 1000, 34, 16]),
                &beyond,
            ),
            (
                "a header that ends before it ends",
                header(1, 1, [54, 1000, 34, 16]),
                &options[..60],
            ),
            (
                "another sum to cut by",
                header(1, 1, [54, 1000, 14, 16]),
                &tcp,
            ),
            (
                "another field to cut by",
                header(1, 1, [54, 1000, 34, 6]),
                &tcp,
            ),
            (
                "a sum from the addresses",
                header(1, 0, [0, 0, 0, 16]),
                &tcp[..100],
            ),
            (
                "a sum from the last of them",
                header(1, 0, [0, 0, 13, 16]),
                &tcp[..100],
            ),
            (
                "a sum from behind the frame",
                header(1, 0, [0, 0, 100, 0]),
                &tcp[..100],
            ),
            (
                "a field over the end",
                header(1, 0, [0, 0, 34, 65]),
                &tcp[..100],
            ),
            (
                "a field beyond all",
                header(1, 0, [0, 0, 34, u16::MAX]),
                &tcp[..100],
            ),
            (
                "a start beyond all",
                header(1, 0, [0, 0, u16::MAX, u16::MAX]),
                &tcp[..100],
            ),
            (
                "a field behind the first octets",
                header(1, 0, [0, 0, 34, 900]),
                &tcp[..1400],
            ),
        ];
        for (n, (what, header, frame)) in bad.into_iter().enumerate() {
            attacker.send(header, frame);
            println!("{what}");
            dropped(host, DropReason::BadVnetHeader, n + 1);
        }
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..100);
    });
}

/// Neither is looked at (virtio 1.2 §5.1.6.2), and neither reaches anybody.
#[test]
fn what_a_driver_may_not_set_or_need_not_set_right_is_not_passed_on() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let plain = frame(ATTACKER, PEER, 100, 1);
        // DATA_VALID, RSC_INFO and what no specification has, with a header length and buffers that are none.
        let mut header = header(0xfe, 0, [u16::MAX; 4]);
        header[10..].copy_from_slice(&[0xff, 0xff]);
        attacker.send(header, &plain);
        let alone = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(peer.expect_frame(), (alone, plain));
        let tcp = tcp_packet(ATTACKER, PEER, 3000);
        attacker.send([1, 1, 0xff, 0xff, 0xe8, 3, 34, 0, 16, 0, 9, 9], &tcp);
        let (got, frame) = peer.expect_frame();
        assert_eq!(got, [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0, 2, 0]);
        assert!(frame == tcp);
    });
}

#[test]
fn requests_of_a_guest_that_may_not_ask_are_not_read() {
    beside_neighbours(|host| {
        let options = GuestOptions {
            features: PLAIN,
            ..GuestOptions::default()
        };
        let mut attacker = host.guest(ATTACKER, options);
        let mut peer = host.plain_guest(PEER);
        let tcp = tcp_packet(ATTACKER, PEER, 1000);
        attacker.send(header(1, 1, [54, 100, 34, 16]), &tcp);
        let alone = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(peer.expect_frame(), (alone, tcp));
    });
}

/// A packet that is to be cut is bounded by its own length, and so must the frame around it be: it is passed on uncut, and
/// every octet of it is copied.
#[test]
fn a_frame_to_be_cut_ends_with_its_packet() {
    beside_neighbours(|host| {
        let mut attacker = host.plain_guest(ATTACKER);
        let mut peer = host.guest(
            PEER,
            GuestOptions {
                buffers: vec![1 << 20],
                ..GuestOptions::default()
            },
        );
        let mut padded = tcp_packet(ATTACKER, PEER, 3000);
        let request = header(1, 1, [54, 1000, 34, 16]);
        attacker.send(request, &padded);
        assert!(peer.expect_frame().1 == padded);
        for (n, len) in [padded.len() + 1, 60_000].into_iter().enumerate() {
            padded.resize(len, 0);
            attacker.send(request, &padded);
            dropped(host, DropReason::BadVnetHeader, n + 1);
        }
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}
