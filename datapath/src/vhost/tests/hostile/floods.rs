//! Front-ends that ask for the same over and over.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::host::exchange;
use super::{ATTACKER, PEER, QUICK, Stop, beside_neighbours};
use crate::PortId;
use crate::testing::front_end::{request, state, words};
use crate::testing::{FrontEnd, Guest, GuestOptions};
use crate::vhost::features::{OFFERED, VERSION_1};
use crate::vhost::pace::AT_ONCE;

/// Far more than the switch carries out meanwhile.
const MESSAGES: usize = 100_000;

const FLOOD: Duration = Duration::from_millis(700);

/// The most changes that are made from some time on.
fn most_since(start: Instant) -> u64 {
    u64::from(AT_ONCE) + start.elapsed().as_millis() as u64
}

/// Each message makes a poll thread obey, or holds the transmit lock: a few hundred at once do, and then one a millisecond.
#[test]
fn a_flood_of_changes_reaches_poll_threads_a_few_at_a_time() {
    beside_neighbours(|host| {
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        for (request, queue) in [
            (request::SET_MEM_TABLE, 0),
            (request::SET_VRING_ENABLE, 0),
            (request::SET_VRING_ENABLE, 1),
            (request::SET_VRING_KICK, 1),
            (request::SET_VRING_CALL, 0),
        ] {
            let (body, descriptor) = match request {
                request::SET_VRING_ENABLE => (state(queue, 1).to_vec(), None),
                request::SET_MEM_TABLE => {
                    let table = FrontEnd::table(&[attacker.region()]);
                    (table, Some(attacker.file().as_fd()))
                }
                _ => {
                    let event = attacker.event(request, queue as usize);
                    (words(&[queue.into()]), Some(event.as_fd()))
                }
            };
            let message = FrontEnd::unanswered(request, &body);
            let stop = AtomicBool::new(false);
            let start = Instant::now();
            // The switch tells a guest that its queue is another.
            let changes = || attacker.interrupts(queue as usize);
            changes();
            let (changed, most) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..MESSAGES {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let sent = attacker.front_end().send(&message, descriptor.as_slice());
                        sent.expect("the switch reads");
                    }
                });
                let _stop = Stop(&stop);
                std::thread::sleep(FLOOD);
                let changed = changes();
                let most = most_since(start);
                // Another memory is a change, and another queue of each direction.
                let each = if request == request::SET_MEM_TABLE {
                    3
                } else {
                    1
                };
                (changed, most / each)
            });
            assert!(
                (50..=most).contains(&changed),
                "{changed} of {most}, request {request}"
            );
            exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
            exchange(&mut peer, &mut attacker, (PEER, ATTACKER), 60..70);
        }
    });
}

/// What a front-end is refused costs it its connection, and the next one waits with it.
#[test]
fn a_flood_of_connections_is_no_faster() {
    beside_neighbours(|host| {
        let socket = host.attach_server(7);
        let start = Instant::now();
        while start.elapsed() < FLOOD {
            drop(UnixStream::connect(&socket).expect("it listens"));
        }
        let status = host.datapath.vhost_status(PortId(7)).expect("a port");
        // One more is there, and waits.
        let (made, most) = (status.connections, most_since(start) + 1);
        assert!((50..=most).contains(&made), "{made} of {most}");
        host.detach(7);
    });
}

/// What is unmapped interrupts poll threads also where no queue is in it.
#[test]
fn a_flood_of_memory_that_nobody_uses_is_no_faster() {
    beside_neighbours(|host| {
        let attacker = Guest::unconnected(host.accept(ATTACKER), GuestOptions::default());
        attacker.front_end().greet().expect("an answer");
        let start = Instant::now();
        let mut shared = 0;
        while start.elapsed() < FLOOD {
            attacker.share();
            shared += 1;
        }
        let most = most_since(start);
        assert!((50..=most).contains(&shared), "{shared} of {most}");
    });
}

/// A guest whose front-end said more than the switch carries out in a while. Messages are read in two places, by whether the
/// driver accepted what enabling queues is a part of.
fn with_a_backlog(stream: UnixStream, features: u64) -> Guest {
    let backlog = stream.try_clone().expect("a descriptor");
    let options = GuestOptions {
        features,
        ..GuestOptions::default()
    };
    let guest = Guest::new(stream, options);
    backlog.set_nonblocking(true).expect("a socket");
    let message = FrontEnd::unanswered(request::SET_VRING_ENABLE, &state(0, 1));
    // In few pieces: of small ones a socket holds less.
    let messages = message.repeat(MESSAGES);
    let mut sent = 0;
    while let Ok(more) = (&backlog).write(&messages[sent..]) {
        sent += more;
    }
    assert!(sent > 10 * AT_ONCE as usize * message.len(), "{sent}");
    guest
}

#[test]
fn a_port_goes_whatever_its_front_end_still_wants() {
    beside_neighbours(|host| {
        for features in [OFFERED, VERSION_1] {
            let guest = with_a_backlog(host.accept(ATTACKER), features);
            let before = Instant::now();
            host.detach(ATTACKER);
            assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
            drop(guest);
            host.attach(ATTACKER);
            host.apply();
        }
    });
}

#[test]
fn nobody_waits_for_what_one_who_is_gone_still_wanted() {
    beside_neighbours(|host| {
        let mut peer = host.plain_guest(PEER);
        for features in [OFFERED, VERSION_1] {
            drop(with_a_backlog(host.accept(ATTACKER), features));
            let before = Instant::now();
            let mut next = host.plain_guest(ATTACKER);
            assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
            exchange(&mut peer, &mut next, (PEER, ATTACKER), 60..70);
        }
    });
}
