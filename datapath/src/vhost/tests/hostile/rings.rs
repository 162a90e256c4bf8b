//! Descriptors, indices and heads that cannot be, and those that change after they were looked at.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::host::{PLAIN, exchange, frame, mac};
use super::{
    ATTACKER, OTHER_PEER, PEER, Stop, beside_neighbours, dropped, fails_the_port, without_buffers,
};
use crate::testing::front_end::{Region, request};
use crate::testing::guest::{Descriptor, INDIRECT, MEMORY, NEXT, Posted, USER, WRITE};
use crate::testing::{Guest, GuestOptions, wait};
use crate::vhost::features::OFFERED;
use crate::{DropReason, VhostState};

/// Buffers that are as they should be.
const BUFFER: u64 = 200 << 20;
const OTHER_BUFFER: u64 = 201 << 20;

/// Indirect tables.
const TABLE: u64 = 202 << 20;

/// Where one region of memory ends and the next begins.
const BORDER: u64 = 204 << 20;

/// Chains that cannot be, for the device to write or to read. Those of several descriptors are linked.
fn bad_chains(guest: &Guest, way: u16) -> Vec<(&'static str, Vec<Descriptor>)> {
    let one = |address, len, flags| Descriptor {
        address,
        len,
        flags: flags ^ way,
        next: 0,
    };
    // Tables lie behind each other; `next` is the entry that follows.
    let mut tables = TABLE;
    let mut table = |entries: &[(u64, u32, u16, u16)]| {
        let octets: Vec<u8> = entries
            .iter()
            .flat_map(|&(address, len, flags, next)| {
                let descriptor = Descriptor {
                    next,
                    ..one(address, len, flags)
                };
                descriptor.octets()
            })
            .collect();
        let at = tables;
        tables += octets.len() as u64;
        guest.write(at, &octets);
        Descriptor {
            address: at,
            len: octets.len() as u32,
            flags: INDIRECT,
            next: 0,
        }
    };
    let good = (BUFFER, 100, NEXT, 1);
    let nested = table(&[(BUFFER, 100, 0, 0)]);
    let (nested_at, nested_len) = (nested.address, nested.len);
    let long: Vec<_> = (1..=65).map(|next| (BUFFER, 100, NEXT, next)).collect();
    vec![
        ("behind the memory", vec![one(MEMORY, 100, 0)]),
        ("over the end of the memory", vec![one(MEMORY - 99, 100, 0)]),
        ("around the address space", vec![one(u64::MAX - 50, 100, 0)]),
        ("at the last address", vec![one(u64::MAX, 1, 0)]),
        ("in the front-end's addresses", vec![one(USER, 100, 0)]),
        ("over two regions", vec![one(BORDER - 50, 100, 0)]),
        ("no octets", vec![one(BUFFER, 0, 0)]),
        ("no octets nowhere", vec![one(u64::MAX, 0, 0)]),
        ("2^32 - 1 octets", vec![one(BUFFER, u32::MAX, 0)]),
        ("the other way", vec![one(BUFFER, 100, WRITE)]),
        (
            "the other way in the middle",
            vec![one(BUFFER, 100, NEXT), one(OTHER_BUFFER, 100, WRITE)],
        ),
        (
            "outside after a good one",
            vec![one(BUFFER, 100, NEXT), one(MEMORY, 100, 0)],
        ),
        (
            "more than a chain may hold",
            vec![one(BUFFER, 100_000, NEXT), one(OTHER_BUFFER, 100_000, 0)],
        ),
        (
            "a link out of the ring",
            vec![Descriptor {
                next: 64,
                ..one(BUFFER, 100, NEXT)
            }],
        ),
        (
            "a table with no entry",
            vec![Descriptor { len: 0, ..nested }],
        ),
        ("half an entry", vec![Descriptor { len: 8, ..nested }]),
        (
            "an entry and a half",
            vec![Descriptor { len: 24, ..nested }],
        ),
        (
            "a table outside",
            vec![Descriptor {
                address: MEMORY - 8,
                ..nested
            }],
        ),
        (
            "a table over two regions",
            vec![Descriptor {
                address: BORDER - 8,
                ..nested
            }],
        ),
        (
            "a table and a link",
            vec![
                Descriptor {
                    flags: INDIRECT | NEXT,
                    ..nested
                },
                one(BUFFER, 100, 0),
            ],
        ),
        (
            "a table in a table",
            vec![table(&[good, (nested_at, nested_len, INDIRECT, 0)])],
        ),
        (
            "a table that holds itself",
            vec![table(&[(TABLE + 3 * 16, 16, INDIRECT, 0)])],
        ),
        (
            "a circle in a table",
            vec![table(&[good, (BUFFER, 100, NEXT, 0)])],
        ),
        (
            "a link out of a table",
            vec![table(&[good, (BUFFER, 100, NEXT, 2)])],
        ),
        ("more than a table may hold", vec![table(&long)]),
        (
            "outside in a table",
            vec![table(&[good, (MEMORY - 1, 100, 0, 0)])],
        ),
        (
            "no octets in a table",
            vec![table(&[good, (BUFFER, 0, 0, 0)])],
        ),
    ]
}

/// Makes a circle of descriptors available.
fn post_circle(guest: &mut Guest, queue: usize, count: usize) {
    let way = if queue == 0 { WRITE } else { 0 };
    let taken = guest.take_descriptors(queue, count);
    for n in 0..count {
        let descriptor = Descriptor {
            address: BUFFER,
            len: 100,
            flags: NEXT | way,
            next: taken[(n + 1) % count],
        };
        guest.write_descriptor(queue, taken[n], descriptor);
    }
    guest.offer(queue, taken[0], Posted::default());
}

/// The same memory in two regions that touch.
fn share_in_two(guest: &Guest) {
    let low = Region {
        len: BORDER,
        ..guest.region()
    };
    let high = Region {
        guest: BORDER,
        len: MEMORY - BORDER,
        user: USER + BORDER,
        offset: BORDER,
    };
    let shared = guest
        .front_end()
        .share(&[(low, guest.file()), (high, guest.file())]);
    shared.expect("accepted");
}

#[test]
fn what_is_sent_from_bad_descriptors_is_a_counted_drop() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        share_in_two(&attacker);
        let mut count = 0;
        for (what, chain) in bad_chains(&attacker, 0) {
            attacker.post_descriptors(1, &chain);
            count += 1;
            wait(what, || attacker.unseen(1) > 0);
            let (_, written) = attacker.reclaim(1).expect("it came back");
            assert_eq!(written, 0, "{what}");
            dropped(host, DropReason::BadDescriptor, count);
        }
        for len in [1, 2, 33] {
            post_circle(&mut attacker, 1, len);
            count += 1;
        }
        // Less than the header, in one buffer and in several, and a header with no frame behind it.
        let short = |len, flags| Descriptor {
            address: BUFFER,
            len,
            flags,
            next: 0,
        };
        for chain in [
            vec![short(11, 0)],
            vec![short(5, NEXT), short(6, 0)],
            vec![short(12, NEXT), short(1, WRITE)],
            vec![short(5, NEXT), short(7, 0)],
        ] {
            attacker.post_descriptors(1, &chain);
            count += 1;
        }
        dropped(host, DropReason::BadDescriptor, count);
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..100);
    });
}

#[test]
fn a_header_with_nothing_behind_it_is_a_runt() {
    beside_neighbours(|host| {
        let mut attacker = host.plain_guest(ATTACKER);
        let header = Descriptor {
            address: BUFFER,
            len: 12,
            flags: 0,
            next: 0,
        };
        attacker.post_descriptors(1, &[header]);
        attacker.post_descriptors(1, &[Descriptor { len: 25, ..header }]);
        dropped(host, DropReason::Runt, 2);
    });
}

#[test]
fn what_is_to_be_received_into_bad_descriptors_is_a_counted_drop() {
    beside_neighbours(|host| {
        let mut attacker = host.guest(ATTACKER, without_buffers());
        let mut peer = host.plain_guest(PEER);
        share_in_two(&attacker);
        let mut chains = bad_chains(&attacker, WRITE);
        // For a receiver this is a buffer like any other: what is longer than a frame stays as it was.
        chains.retain(|(what, _)| *what != "no octets nowhere");
        let mut count = 0;
        let mut refused = |attacker: &mut Guest, what: &str| {
            peer.send([0; 12], &frame(PEER, ATTACKER, 60, 0));
            wait(what, || attacker.unseen(0) > 0);
            while let Some((_, written)) = attacker.reclaim(0) {
                assert_eq!(written, 0, "{what}");
            }
            count += 1;
            wait("a drop", || {
                host.tx_drops(ATTACKER, DropReason::BadDescriptor) >= count
            });
        };
        for (what, chain) in chains {
            attacker.post_descriptors(0, &chain);
            refused(&mut attacker, what);
        }
        for len in [1, 2, 33] {
            post_circle(&mut attacker, 0, len);
            refused(&mut attacker, "a circle");
        }
        // A frame that needs two chains, of which the second is bad: neither is used.
        let good = Descriptor {
            address: BUFFER,
            len: 30,
            flags: WRITE,
            next: 0,
        };
        attacker.post_descriptors(0, &[good]);
        attacker.post_descriptors(
            0,
            &[Descriptor {
                address: MEMORY,
                ..good
            }],
        );
        refused(&mut attacker, "a bad chain behind a good one");
        assert_eq!(host.tx_drops(ATTACKER, DropReason::BadDescriptor), count);
        attacker.post_descriptors(0, &[Descriptor { len: 2000, ..good }]);
        let sent = frame(PEER, ATTACKER, 60, 7);
        peer.send([0; 12], &sent);
        wait("a frame", || attacker.unseen(0) > 0);
        assert_eq!(attacker.reclaim(0).map(|(_, written)| written), Some(72));
        assert_eq!(attacker.read(BUFFER + 12, 60), sent);
    });
}

#[test]
fn an_impossible_index_fails_the_port() {
    for ahead in [65, 5000, 0x8000, 0xffff] {
        fails_the_port(
            |guest| {
                for queue in 0..2 {
                    let index = guest.available(queue).wrapping_add(ahead);
                    // What is available was all taken in the queue from the guest, and none in the other.
                    let index = index.wrapping_add(if queue == 0 { 1 } else { 0 });
                    guest.write(guest.available_at(queue) + 2, &index.to_le_bytes());
                    guest.kick(queue);
                }
            },
            "more buffers available",
        );
    }
}

#[test]
fn an_impossible_head_fails_the_port() {
    for head in [64, 5000, 0xffff] {
        fails_the_port(
            |guest| guest.offer(1, head, Posted::default()),
            "does not have",
        );
    }
}

#[test]
fn an_impossible_head_to_receive_into_fails_the_port() {
    fails_the_port(
        |guest| {
            let ring = guest.available_at(0) + 4;
            guest.write(ring, &[0xff; 128]);
        },
        "does not have",
    );
}

/// The failure stands until the queue that failed is started again, whatever happens to others.
#[test]
fn a_failure_is_not_hidden_by_changes_of_other_queues() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        attacker.offer(1, 5000, Posted::default());
        let failed = || host.state(ATTACKER).0 == VhostState::Failed;
        wait("the failure", failed);
        attacker.set_event(request::SET_VRING_CALL, 0);
        assert!(failed());
        exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..70);
        // The guest takes the head back, as a reset does.
        let ring = attacker.available_at(1);
        attacker.write(ring, &[0; 6]);
        attacker.start_again(1);
        assert!(!failed());
    });
}

/// A second thread of the guest rewrites what the first has sent. Addresses and tag are those that were decided by, and the
/// source is the guest's own.
#[test]
fn what_is_rewritten_after_the_check_is_delivered_as_it_was_checked() {
    const ROUNDS: usize = 3000;
    beside_neighbours(|host| {
        let mut attacker = host.plain_guest(ATTACKER);
        let mut peers = [host.plain_guest(PEER), host.plain_guest(OTHER_PEER)];
        let memory = attacker.file().try_clone().expect("a descriptor");
        let size = attacker.options().size;
        let buffers: Vec<u64> = (0..size).map(|head| attacker.send_at(1, head)).collect();
        let done = AtomicBool::new(false);
        let mut received = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let versions = [
                    frame(ATTACKER, PEER, 60, 1),
                    frame(ATTACKER, OTHER_PEER, 60, 2),
                    // From somebody else, and with a tag: neither is let in.
                    [&mac(PEER)[..], &mac(0), &[0x88, 0xb5]].concat(),
                    [&mac(PEER)[..], &mac(ATTACKER), &[0x81, 0, 0, 99]].concat(),
                ];
                let mut turn = 0;
                while !done.load(Ordering::Relaxed) {
                    for &at in &buffers {
                        let version = &versions[turn % versions.len()];
                        memory.write_all_at(version, at + 12).expect("in the file");
                        turn += 1;
                    }
                }
            });
            let _done = Stop(&done);
            let refused = || {
                [DropReason::ForgedTransmit, DropReason::VlanTagNotAllowed]
                    .map(|reason| host.rx_drops(ATTACKER, reason))
            };
            // Until something was rewritten in time, which is up to the scheduler.
            for round in 0.. {
                if round >= ROUNDS && received > 0 && refused() != [0, 0] {
                    break;
                }
                assert!(round < 500 * ROUNDS, "nothing was rewritten in time");
                // Behind the private head too, so that both are there.
                attacker.send([0; 12], &frame(ATTACKER, PEER, 60 + round % 900, 1));
                for (peer, own) in peers.iter_mut().zip([PEER, OTHER_PEER]) {
                    while let Some((header, got)) = peer.receive() {
                        assert_eq!(header[..10], [0; 10]);
                        let expected = [&mac(own)[..], &mac(ATTACKER), &[0x88, 0xb5]].concat();
                        assert_eq!(got[..14], expected);
                        received += 1;
                    }
                }
            }
        });
    });
}

/// Descriptors, flags and virtio-net headers change at any time: every frame is delivered or a counted drop.
#[test]
fn descriptors_and_headers_that_flicker_harm_nobody() {
    const ROUNDS: usize = 3000;
    beside_neighbours(|host| {
        let mut attacker = host.plain_guest(ATTACKER);
        // One that takes finished frames only, so that every request is carried out.
        let mut peer = host.guest(
            PEER,
            GuestOptions {
                features: PLAIN,
                ..GuestOptions::default()
            },
        );
        let memory = attacker.file().try_clone().expect("a descriptor");
        let size = attacker.options().size;
        let table = attacker.descriptors_at(1);
        let headers: Vec<u64> = (0..size).map(|head| attacker.send_at(1, head)).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let requests: [[u8; 12]; 4] = [
                    [0; 12],
                    [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
                    [1, 1, 0, 0, 8, 0, 34, 0, 16, 0, 0, 0],
                    [1, 4, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                ];
                let mut turn = 0usize;
                while !done.load(Ordering::Relaxed) {
                    for (head, &at) in headers.iter().enumerate() {
                        let descriptor = Descriptor {
                            address: [at, MEMORY - 1, at, u64::MAX][turn % 4],
                            len: [80, 80, u32::MAX, 0][turn / 4 % 4],
                            flags: [0, NEXT, INDIRECT, WRITE, 0][turn % 5],
                            next: (turn % 70) as u16,
                        };
                        let place = table + 16 * head as u64;
                        let written = memory.write_all_at(&descriptor.octets(), place);
                        written.expect("in the file");
                        let request = &requests[turn % 4];
                        memory.write_all_at(request, at).expect("in the file");
                        turn += 1;
                    }
                }
            });
            let _done = Stop(&done);
            let packet = super::super::host::tcp_packet(ATTACKER, PEER, 200);
            for round in 0.. {
                if round >= ROUNDS && host.rx_drops(ATTACKER, DropReason::BadDescriptor) > 0 {
                    break;
                }
                assert!(round < 500 * ROUNDS, "nothing flickered in time");
                attacker.send([0; 12], &packet);
                while peer.receive().is_some() {}
            }
        });
        // What is left of the flicker comes before the first frame that is not of it.
        let last = frame(ATTACKER, PEER, 60, 0);
        attacker.send([0; 12], &last);
        while peer.expect_frame().1 != last {}
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}

/// A receiver learns how many octets were written, finds all of a header's fields set, and behind the frame what it left
/// there itself.
#[test]
fn nothing_of_earlier_traffic_is_in_a_receive_buffer() {
    const POISON: u8 = 0xe7;
    beside_neighbours(|host| {
        for features in [PLAIN, OFFERED] {
            let options = GuestOptions {
                features,
                ..without_buffers()
            };
            let mut guest = host.guest(ATTACKER, options);
            let mut peer = host.plain_guest(PEER);
            let buffer = |len| Descriptor {
                address: BUFFER,
                len,
                flags: WRITE,
                next: 0,
            };
            // Long frames first, so that what could be left over is.
            for len in (14..1514).step_by(100).rev() {
                let sent = frame(PEER, ATTACKER, len, 3);
                guest.write(BUFFER, &[POISON; 4096]);
                guest.post_descriptors(0, &[buffer(4096)]);
                peer.send([0; 12], &sent);
                wait("a frame", || guest.unseen(0) > 0);
                let (_, written) = guest.reclaim(0).expect("a buffer");
                assert_eq!(written as usize, 12 + len);
                let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
                let rest = vec![POISON; 4096 - 12 - len];
                assert!(guest.read(BUFFER, 4096) == [&header[..], &sent, &rest].concat());
            }
            drop((guest, peer));
        }
    });
}
