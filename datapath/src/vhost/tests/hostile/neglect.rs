//! Guests that do not do what is theirs to do, or do it too often.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::super::host::{Host, PLAIN, exchange, frame};
use super::{ATTACKER, OTHER_PEER, PEER, beside_neighbours};
use crate::DropReason;
use crate::testing::front_end::request;
use crate::testing::guest::Descriptor;
use crate::testing::{Guest, GuestOptions, wait};
use crate::vhost::features::EVENT_IDX;

#[test]
fn a_receiver_that_makes_no_buffers_available_loses_its_own_frames_only() {
    beside_neighbours(|host| {
        let mut attacker = host.plain_guest(ATTACKER);
        let (mut peer, mut other) = (host.plain_guest(PEER), host.plain_guest(OTHER_PEER));
        let size = u64::from(attacker.options().size);
        let sent = 5 * size;
        for n in 0..sent {
            peer.send([0; 12], &frame(PEER, ATTACKER, 60, n as u8));
            // What is behind it in the same ring goes on.
            if n % 16 == 0 {
                exchange(&mut peer, &mut other, (PEER, OTHER_PEER), 60..61);
            }
        }
        // An attempt counts before what comes of it.
        wait("drops", || {
            host.tx_drops(ATTACKER, DropReason::RingFull) == sent - size
        });
        assert_eq!(host.counters(ATTACKER).tx_attempts, sent);
        // The first ones are there, in order.
        for n in 0..size {
            let (_, got) = attacker.expect_frame();
            assert!(got == frame(PEER, ATTACKER, 60, n as u8));
        }
        exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..100);
    });
}

#[test]
fn a_storm_of_kicks_slows_nobody_down() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        for _ in 0..20_000 {
            attacker.kick(0);
            attacker.kick(1);
        }
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..100);
    });
}

#[test]
fn a_guest_that_masks_interrupts_gets_none() {
    for features in [PLAIN, PLAIN | EVENT_IDX] {
        beside_neighbours(|host| {
            let options = GuestOptions {
                features,
                ..GuestOptions::default()
            };
            let (mut attacker, mut peer) = (host.guest(ATTACKER, options), host.plain_guest(PEER));
            exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..61);
            attacker.mask_interrupts(0);
            // One may be on its way.
            attacker.interrupted(0, Duration::from_millis(50));
            for n in 0..30 {
                peer.send([0; 12], &frame(PEER, ATTACKER, 60, n));
                wait("a frame", || attacker.receive().is_some());
                attacker.mask_interrupts(0);
            }
            assert_eq!(attacker.interrupts(0), 0);
            exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..61);
        });
    }
}

/// It has only itself to blame: what it sends waits until the switch looks, and nobody waits with it.
#[test]
fn a_guest_that_never_kicks_keeps_only_itself_waiting() {
    beside_neighbours(|host| {
        let (attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let index = attacker.available(1);
        let (head, octets) = (0u16, frame(ATTACKER, PEER, 60, 5));
        let at = attacker.send_at(1, head);
        attacker.write(at, &[&[0; 12][..], &octets].concat());
        let descriptor = Descriptor {
            address: at,
            len: 72,
            flags: 0,
            next: 0,
        };
        attacker.write_descriptor(1, head, descriptor);
        let ring = attacker.available_at(1);
        attacker.write(ring + 4 + 2 * u64::from(index % 64), &head.to_le_bytes());
        attacker.write(ring + 2, &(index + 1).to_le_bytes());
        // Whether the thread was awake or sleeps until it is kicked is left open.
        attacker.kick(1);
        assert_eq!(peer.expect_frame().1, octets);
    });
}

#[test]
fn a_queue_without_events_is_polled_by_both_sides() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        for queue in 0..2 {
            for request in [request::SET_VRING_KICK, request::SET_VRING_CALL] {
                let accepted = attacker.front_end().set_event(request, queue, None);
                accepted.expect("accepted");
            }
        }
        exchange_polling(&mut attacker, &mut peer);
    });
}

/// A kick is never read, which a guest could make wait; nor does it go on waking the poll thread.
#[test]
fn kicks_without_frames_let_the_poll_thread_sleep() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    exchange(&mut one, &mut two, (0, 1), 60..70);
    for _ in 0..100 {
        one.kick(1);
    }
    let looks = passes_of_500_ms(&host);
    assert!(looks < 20, "{looks}");
    exchange(&mut one, &mut two, (0, 1), 60..70);
}

/// The guest asks to be polled: now and then will do, and no core is spent on it while it says nothing.
#[test]
fn a_queue_without_a_kick_lets_the_poll_thread_sleep() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    let accepted = one.front_end().set_event(request::SET_VRING_KICK, 1, None);
    accepted.expect("accepted");
    for _ in 0..3 {
        exchange(&mut one, &mut two, (0, 1), 60..70);
        let looks = passes_of_500_ms(&host);
        assert!((20..=500).contains(&looks), "{looks}");
    }
    one.set_event(request::SET_VRING_KICK, 1);
    let looks = passes_of_500_ms(&host);
    assert!(looks < 20, "{looks}");
    exchange(&mut one, &mut two, (0, 1), 60..70);
}

/// A guest that masks and unmasks its interrupts makes its front-end replace the call descriptor, under traffic.
#[test]
fn events_that_are_replaced_under_traffic_lose_nothing() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        for n in 0..100 {
            let there = frame(ATTACKER, PEER, 60, n);
            let back = frame(PEER, ATTACKER, 60, n);
            attacker.send([0; 12], &there);
            peer.send([0; 12], &back);
            for queue in 0..2 {
                attacker.set_event(request::SET_VRING_CALL, queue);
                attacker.set_event(request::SET_VRING_KICK, queue);
            }
            assert!(peer.expect_frame().1 == there);
            assert!(attacker.expect_frame().1 == back);
        }
        // The last ones are heard also where the switch has to be woken.
        std::thread::sleep(Duration::from_millis(50));
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}

/// Whoever wrote to such an event would wait until somebody reads it, and nobody does.
#[test]
fn an_event_that_is_full_makes_nobody_wait() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        let full = eventfd(0, EventfdFlags::CLOEXEC).expect("an event");
        rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).expect("room for it");
        for queue in 0..2 {
            let front_end = attacker.front_end();
            let accepted = front_end.set_event(request::SET_VRING_CALL, queue, Some(full.as_fd()));
            accepted.expect("an event");
        }
        // Whatever the switch asked of the open file, its owner takes back.
        rustix::io::ioctl_fionbio(&full, false).expect("an event");
        exchange_polling(&mut attacker, &mut peer);
        // Full, and not around again.
        let mut count = [0; 8];
        rustix::io::read(&full, &mut count).expect("it is readable");
        assert!(u64::from_ne_bytes(count) >= u64::MAX - 1);
    });
}

/// How often the poll thread looks, when the last frames are over.
fn passes_of_500_ms(host: &Host) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
    let before = host.datapath.threads()[0].passes;
    std::thread::sleep(Duration::from_millis(500));
    host.datapath.threads()[0].passes - before
}

/// Frames both ways between the two, of which the attacker is never interrupted.
fn exchange_polling(attacker: &mut Guest, peer: &mut Guest) {
    for n in 0..100 {
        let there = frame(ATTACKER, PEER, 60, n);
        attacker.send([0; 12], &there);
        assert_eq!(peer.expect_frame().1, there);
        let back = frame(PEER, ATTACKER, 60, n);
        peer.send([0; 12], &back);
        let mut got = None;
        wait("a frame", || {
            got = attacker.receive();
            got.is_some()
        });
        assert_eq!(got.expect("a frame").1, back);
    }
}
