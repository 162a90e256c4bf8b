//! Guests and front-ends that break the rules, while others exchange frames and lose none.
//!
//! An attack ends as a counted drop at the attacker's port, or as a named failure of that port, which a new connection
//! ends.

mod floods;
mod headers;
mod memory;
mod neglect;
mod rings;
mod sockets;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::host::{Host, exchange, frame};
use crate::testing::{Guest, GuestOptions, wait};
use crate::{DropReason, VhostState};

/// The port of the attacker, and those of the guests that it sends to.
const ATTACKER: u16 = 2;
const PEER: u16 = 3;
const OTHER_PEER: u16 = 4;

/// How long a port may take to go, whatever its front-end does.
const QUICK: Duration = Duration::from_secs(2);

/// Ends the neighbours' exchange also where the attack panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs an attack while two guests exchange frames, which all arrive as they were sent. Says how long they took.
fn beside_neighbours(attack: impl FnOnce(&Host)) {
    let host = Host::new(5);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let neighbours = scope.spawn(|| {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                exchange(&mut one, &mut two, (0, 1), 60..70);
                exchange(&mut two, &mut one, (1, 0), 1490..1500);
                took.push(start.elapsed() / 20);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            took.sort_unstable();
            took
        });
        let stop = Stop(&stop);
        attack(&host);
        let after = rounds.load(Ordering::Relaxed);
        wait("a round after the attack", || {
            rounds.load(Ordering::Relaxed) > after + 1
        });
        drop(stop);
        let took = neighbours.join().expect("they exchange frames");
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        let near_worst = took[took.len() * 99 / 100];
        println!("a frame of the neighbours took {median:?}, {near_worst:?} (99 %), {worst:?}");
    });
    host.audit();
    for port in 0..2 {
        let counters = host.counters(port);
        let dropped: u64 = counters.rx_drops.iter().chain(&counters.tx_drops).sum();
        assert_eq!((dropped, counters.rx_undelivered), (0, 0), "port {port}");
    }
}

/// The attacker's port fails when it is used, says why, and comes back with a new connection.
fn fails_the_port(strike: impl Fn(&mut Guest), named: &str) {
    beside_neighbours(|host| {
        let mut peer = host.plain_guest(PEER);
        let mut attacker = host.plain_guest(ATTACKER);
        exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..100);
        strike(&mut attacker);
        wait("the failure", || {
            peer.send([0; 12], &frame(PEER, ATTACKER, 60, 0));
            let (state, reason) = host.state(ATTACKER);
            state == VhostState::Failed && reason.contains(named)
        });
        drop(attacker);
        let mut back = host.plain_guest(ATTACKER);
        exchange(&mut peer, &mut back, (PEER, ATTACKER), 60..100);
        exchange(&mut back, &mut peer, (ATTACKER, PEER), 60..100);
    });
}

/// Waits until the switch dropped so many of the attacker's frames for a reason.
#[track_caller]
fn dropped(host: &Host, reason: DropReason, count: usize) {
    wait("drops", || host.rx_drops(ATTACKER, reason) >= count as u64);
    assert_eq!(host.rx_drops(ATTACKER, reason), count as u64, "{reason}");
}

/// A guest that makes no buffer available by itself.
fn without_buffers() -> GuestOptions {
    GuestOptions {
        buffers: Vec::new(),
        ..GuestOptions::default()
    }
}
