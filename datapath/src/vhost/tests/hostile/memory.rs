//! Memory that is taken away while it is in use.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::ftruncate;

use super::super::host::{exchange, frame};
use super::{ATTACKER, PEER, Stop, beside_neighbours, fails_the_port};
use crate::afxdp::testing::{RawSocket, VethPair};
use crate::testing::front_end::{Region, RingAddresses};
use crate::testing::guest::{Descriptor, MEMORY, USER, memory_file};
use crate::testing::{Guest, GuestOptions, wait};
use crate::{DropReason, EngineSpec, PortId, VhostState};

#[test]
fn a_truncated_file_fails_the_port() {
    fails_the_port(
        |guest| ftruncate(guest.file(), 0).expect("a length"),
        "truncated",
    );
}

#[test]
fn a_file_truncated_under_traffic_fails_the_port() {
    beside_neighbours(|host| {
        let mut peer = host.plain_guest(PEER);
        // Rings and buffers go, or the buffers alone.
        for kept in [0, 1 << 20] {
            let attacker = host.plain_guest(ATTACKER);
            let sending = AtomicBool::new(true);
            let file = attacker.file();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while host.counters(ATTACKER).tx_frames % 100 < 50 {
                        std::thread::yield_now();
                    }
                    ftruncate(file, kept).expect("a length");
                    sending.store(false, Ordering::Relaxed);
                });
                let _sending = Stop(&sending);
                let mut n = 0u8;
                while sending.load(Ordering::Relaxed)
                    || host.state(ATTACKER).0 != VhostState::Failed
                {
                    peer.send([0; 12], &frame(PEER, ATTACKER, 1000, n));
                    n = n.wrapping_add(1);
                    // What the guest received it makes available again, without a look, where its rings are still there.
                    let used = attacker.used_at(0) + 2;
                    let mut index = [0; 2];
                    if file.read_exact_at(&mut index, used).is_ok() {
                        let index = u16::from_le_bytes(index).wrapping_add(64);
                        attacker.write(attacker.available_at(0) + 2, &index.to_le_bytes());
                    }
                }
            });
            let (_, reason) = host.state(ATTACKER);
            assert!(reason.contains("truncated"), "{reason}");
        }
    });
}

/// A kernel refuses to read memory that is gone, where the switch's own copies read zeros: the frame goes on all the same, and
/// it is the sender's port that fails.
#[test]
fn a_frame_to_a_kernel_whose_end_is_gone_fails_the_sender() {
    const KEPT: u64 = 1 << 20;
    const LEN: usize = 1000;
    beside_neighbours(|host| {
        let pair = VethPair::new(1500, 1);
        let tap = "tap0".to_owned();
        let engines = [
            (
                &pair.near,
                tap.as_str(),
                EngineSpec::Tap {
                    device: tap.clone(),
                    mtu: 1500,
                },
            ),
            (
                &pair.far,
                VethPair::FAR,
                EngineSpec::Packet {
                    interface: VethPair::NEAR.to_owned(),
                },
            ),
        ];
        for (namespace, interface, spec) in engines {
            host.detach(PEER);
            let attached = pair.near.run(|| host.datapath.attach(PortId(PEER), &spec));
            attached.expect("the engine opens");
            host.apply();
            namespace.ip(&["link", "set", interface, "up"]);
            let mut kernel = namespace.run(|| RawSocket::open(interface));
            let mut attacker = host.plain_guest(ATTACKER);
            let sent = frame(ATTACKER, PEER, LEN, 1);
            let start = KEPT - (LEN / 2) as u64;
            attacker.write(start, &[&[0; 12][..], &sent].concat());
            ftruncate(attacker.file(), KEPT).expect("a length");
            let descriptor = Descriptor {
                address: start,
                len: (LEN + 12) as u32,
                ..Descriptor::default()
            };
            attacker.post_descriptors(1, &[descriptor]);
            let got = kernel.receive(Duration::from_secs(10)).expect("a frame");
            assert_eq!((got.len(), &got[..64]), (LEN, &sent[..64]));
            assert!(got[LEN / 2..].iter().all(|&octet| octet == 0));
            wait("the failure", || {
                host.state(ATTACKER).0 == VhostState::Failed
            });
            let (_, reason) = host.state(ATTACKER);
            assert!(reason.contains("truncated"), "{reason}");
            let dropped: u64 = host.counters(PEER).tx_drops.iter().sum();
            assert_eq!(dropped, 0);
        }
    });
}

/// Regions of a guest whose rings and buffers are in files of their own.
struct Parts {
    files: Vec<std::fs::File>,
    regions: Vec<Region>,
}

/// Octets of a part, in which a queue's ring is.
const PART: u64 = 1 << 20;

impl Parts {
    /// A part for each queue, behind the guest's own memory.
    fn new(guest: &Guest, queues: u64) -> Self {
        let parts = Self {
            files: (0..queues).map(|_| memory_file(PART)).collect(),
            regions: (0..queues)
                .map(|n| Region {
                    guest: MEMORY + n * PART,
                    len: PART,
                    user: USER + MEMORY + n * PART,
                    offset: 0,
                })
                .collect(),
        };
        for (region, file) in parts.regions.iter().zip(&parts.files) {
            let added = guest.front_end().add_region(*region, file);
            added.expect("accepted");
        }
        parts
    }

    fn ring(&self, queue: usize) -> RingAddresses {
        let start = self.regions[queue].user;
        RingAddresses {
            descriptors: start,
            available: start + 0x4000,
            used: start + 0x8000,
        }
    }
}

/// A queue whose ring is in a region that goes stops, and the switch writes nothing there any more, whatever becomes of the
/// other queues.
#[test]
fn queues_stop_with_the_region_that_they_are_in() {
    beside_neighbours(|host| {
        let attacker = host.plain_guest(ATTACKER);
        let mut peer = host.plain_guest(PEER);
        let parts = Parts::new(&attacker, 2);
        for queue in 0..2 {
            let moved = attacker
                .front_end()
                .set_addresses(queue as u32, parts.ring(queue));
            moved.expect("accepted");
        }
        // One message for both, which is refused: the front-end took away what it had said is there.
        let shared = attacker
            .front_end()
            .share(&[(attacker.region(), attacker.file())]);
        shared.expect_err("the rings are gone");
        let (state, reason) = host.state(ATTACKER);
        assert_eq!(state, VhostState::Failed);
        assert!(reason.contains("not in the guest's memory"), "{reason}");
        // A frame and a buffer appear in the rings that are gone.
        for (queue, file) in parts.files.iter().enumerate() {
            let way = if queue == 0 { 2u16 } else { 0 };
            let at = attacker.send_at(1, 0);
            attacker.write(at + 12, &frame(ATTACKER, PEER, 60, 1));
            let descriptor = Descriptor {
                address: at,
                len: 72,
                flags: way,
                next: 0,
            };
            file.write_all_at(&descriptor.octets(), 0).expect("a file");
            file.write_all_at(&[1, 0], 0x4002).expect("a file");
            attacker.kick(queue);
        }
        peer.send([0; 12], &frame(PEER, ATTACKER, 60, 1));
        wait("a drop", || {
            host.tx_drops(ATTACKER, DropReason::PortDown) == 1
        });
        for file in &parts.files {
            let mut used = [0; 4];
            file.read_exact_at(&mut used, 0x8000).expect("a file");
            assert_eq!(used[2..], [0, 0], "nothing was taken");
        }
    });
}

#[test]
fn buffers_in_a_region_that_is_gone_are_counted_drops() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let parts = Parts::new(&attacker, 1);
        for round in 0..20 {
            let there = round % 2 == 0;
            let sent = frame(ATTACKER, PEER, 60, round);
            let octets = [&[0; 12][..], &sent].concat();
            parts.files[0].write_all_at(&octets, 0).expect("a file");
            let descriptor = Descriptor {
                address: MEMORY,
                len: 72,
                flags: 0,
                next: 0,
            };
            attacker.post_descriptors(1, &[descriptor]);
            if there {
                assert_eq!(peer.expect_frame().1, sent);
                let removed = attacker.front_end().remove_region(parts.regions[0]);
                removed.expect("accepted");
            } else {
                let count = u64::from(round / 2 + 1);
                wait("a drop", || {
                    host.rx_drops(ATTACKER, DropReason::BadDescriptor) == count
                });
                let added = attacker
                    .front_end()
                    .add_region(parts.regions[0], &parts.files[0]);
                added.expect("accepted");
            }
        }
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}

#[test]
fn a_ring_without_memory_starts_when_the_memory_comes() {
    beside_neighbours(|host| {
        let mut peer = host.plain_guest(PEER);
        let mut attacker = Guest::unconnected(host.accept(ATTACKER), GuestOptions::default());
        let front_end = attacker.front_end();
        front_end.greet().expect("an answer");
        let accepted = front_end.set_features(attacker.options().features);
        accepted.expect("offered");
        for queue in 0..2 {
            attacker.start(queue);
        }
        let (state, _) = host.state(ATTACKER);
        assert_eq!(state, VhostState::Negotiating);
        attacker.share();
        attacker.refill();
        exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..70);
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}

#[test]
fn a_memory_that_changes_under_traffic_loses_and_repeats_nothing() {
    const FRAMES: usize = 4000;
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let front_end = Arc::clone(attacker.front_end());
        let (region, file) = (attacker.region(), attacker.file().try_clone());
        let file = file.expect("a descriptor");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    front_end.share(&[(region, &file)]).expect("accepted");
                }
            });
            let _done = Stop(&done);
            for n in 0..FRAMES {
                let there = frame(ATTACKER, PEER, 60, n as u8);
                let back = frame(PEER, ATTACKER, 60, n as u8);
                attacker.send([0; 12], &there);
                peer.send([0; 12], &back);
                assert!(peer.expect_frame().1 == there, "frame {n} there");
                assert!(attacker.expect_frame().1 == back, "frame {n} back");
            }
        });
    });
}
