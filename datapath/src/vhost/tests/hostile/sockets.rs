//! Front-ends that say what cannot be, say nothing, or come and go.

use std::io::{ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::super::host::{Host, PLAIN, exchange};
use super::{ATTACKER, PEER, QUICK, beside_neighbours};
use crate::testing::front_end::{Region, request, state, words};
use crate::testing::guest::{MEMORY, USER, memory_file};
use crate::testing::{FrontEnd, Guest, GuestOptions, wait};
use crate::vhost::PAIRS;
use crate::vhost::features::{MRG_RXBUF, OFFERED, PROTOCOL};
use crate::{PortId, VhostState};

/// VHOST_F_LOG_ALL: changed pages are to be logged.
const LOG_ALL: u64 = 1 << 26;

/// What is refused is answered so, and named; the front-end begins anew.
#[test]
fn refusals_are_answered_and_named() {
    beside_neighbours(|host| {
        let socket = host.attach_server(7);
        let connect = || UnixStream::connect(&socket).expect("it listens");
        let refused = |what: &str, named: &str, say: &dyn Fn(&Guest, &FrontEnd) -> Result<()>| {
            let guest = Guest::new(connect(), GuestOptions::default());
            let error = say(&guest, guest.front_end()).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
            wait("the failure", || {
                let status = host.datapath.vhost_status(PortId(7)).expect("a port");
                status.state == VhostState::Failed && status.reason.contains(named)
            });
            let gone = guest.front_end().ask(request::GET_FEATURES);
            gone.expect_err("the connection ended");
        };
        let beyond = "features that were not offered";
        refused("an unknown feature", beyond, &|_, front_end| {
            front_end.set_features(OFFERED | 1 << 34)
        });
        refused("a log of changed pages", beyond, &|_, front_end| {
            front_end.set_features(OFFERED | LOG_ALL)
        });
        refused(
            "other features",
            "changed features while queues ran",
            &|_, front_end| front_end.set_features(OFFERED & !MRG_RXBUF),
        );
        for size in [64, 128] {
            refused("a size while it runs", "does not allow", &|_, front_end| {
                front_end.set_queue(request::SET_VRING_NUM, 0, size)
            });
        }
        for size in [0, 3, 65536, u32::MAX] {
            refused("a size", "does not allow", &|_, front_end| {
                front_end.stop_queue(0)?;
                front_end.set_queue(request::SET_VRING_NUM, 0, size)
            });
        }
        for queue in [2 * PAIRS as u32, 255, 256, u32::MAX] {
            for number in [
                request::SET_VRING_NUM,
                request::SET_VRING_BASE,
                request::SET_VRING_ENABLE,
            ] {
                refused("a queue beyond", "does not allow", &|_, front_end| {
                    front_end.set_queue(number, queue, 1)
                });
            }
            refused("a ring beyond", "does not allow", &|guest, front_end| {
                front_end.set_addresses(queue, guest.ring_addresses(0))
            });
        }
        let event = eventfd(0, EventfdFlags::empty()).expect("an event");
        for number in [request::SET_VRING_KICK, request::SET_VRING_CALL] {
            refused("an event beyond", "does not allow", &|_, front_end| {
                front_end.set_event(number, 2 * PAIRS as u8, Some(event.as_fd()))
            });
            refused("no event", "does not allow", &|guest, front_end| {
                front_end.set_event(number, 0, Some(guest.file().as_fd()))
            });
        }
        let file = memory_file(4096);
        refused(
            "memory beyond its file",
            "of its file",
            &|guest, front_end| {
                let region = Region {
                    guest: MEMORY,
                    ..guest.region()
                };
                front_end.add_region(region, &file)
            },
        );
        refused("memory twice", "two regions", &|guest, front_end| {
            let region = Region {
                guest: 4096,
                len: 4096,
                ..guest.region()
            };
            front_end.add_region(region, &file)
        });
        refused("a log of a ring", "does not allow", &|_, front_end| {
            let log = [state(0, 1).to_vec(), words(&[0, 0, 0, 0])].concat();
            front_end.tell(request::SET_VRING_ADDR, &log, &[])
        });
        for (part, end) in [(0, MEMORY), (1, MEMORY - 4), (2, u64::MAX - USER - 15)] {
            let lost = "queue 1: a part of the ring is not in the guest's memory";
            refused("a ring outside", lost, &|guest, front_end| {
                let mut ring = guest.ring_addresses(1);
                *[&mut ring.descriptors, &mut ring.available, &mut ring.used][part] = USER + end;
                front_end.set_addresses(1, ring)
            });
        }
        host.detach(7);
    });
}

/// A driver that is too old is told so.
#[test]
fn a_driver_with_neither_version_1_nor_merging_is_named() {
    beside_neighbours(|host| {
        let guest = Guest::unconnected(host.accept(ATTACKER), GuestOptions::default());
        let front_end = guest.front_end();
        front_end.greet().expect("an answer");
        front_end.set_features(PROTOCOL).expect("offered");
        guest.share();
        guest.set_event(request::SET_VRING_KICK, 0);
        let size = front_end.set_queue(request::SET_VRING_NUM, 0, 64);
        size.expect("a size");
        let ring = front_end.set_addresses(0, guest.ring_addresses(0));
        ring.expect("in the memory");
        let enabled = front_end.set_queue(request::SET_VRING_ENABLE, 0, 1);
        enabled.expect_err("too old");
        let (state, reason) = host.state(ATTACKER);
        assert_eq!(state, VhostState::Failed);
        assert!(reason.contains("use a newer one"), "{reason}");
    });
}

/// Each is sent over a connection of its own, which the switch closes.
#[test]
fn what_the_protocol_does_not_have_ends_the_connection() {
    beside_neighbours(|host| {
        let socket = host.attach_server(7);
        let file = memory_file(4096);
        let closes = |what: &str, octets: &[u8], descriptors: usize| {
            let front_end = FrontEnd::new(UnixStream::connect(&socket).expect("it listens"));
            front_end.greet().expect("an answer");
            front_end.set_features(PLAIN).expect("accepted");
            let descriptors = vec![file.as_fd(); descriptors];
            // Closed while it is being sent is closed too.
            let _ = front_end.send(octets, &descriptors);
            let closed = loop {
                match front_end.answer() {
                    Ok((_, body)) => assert_ne!(body, words(&[0]), "{what} is accepted"),
                    Err(error) => break error.kind(),
                }
            };
            let gone = matches!(
                closed,
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            );
            assert!(gone, "{what}: {closed:?}");
        };
        for number in [0, request::END, 1000, u32::MAX] {
            closes("an unknown request", &FrontEnd::message(number, &[]), 0);
        }
        for number in [
            request::SET_LOG_BASE,
            request::SET_LOG_FD,
            19, // SEND_RARP
            20, // NET_SET_MTU
            21, // SET_BACKEND_REQ_FD
            22, // IOTLB_MSG
            24, // GET_CONFIG
            31, // GET_INFLIGHT_FD
            32, // SET_INFLIGHT_FD
            34, // RESET_DEVICE
        ] {
            // Some have a body, and some none.
            let body = words(&[1 << 20, 0]);
            closes("what is not offered", &FrontEnd::message(number, &body), 1);
            closes("what is not offered", &FrontEnd::message(number, &body), 0);
            closes("what is not offered", &FrontEnd::message(number, &[]), 0);
        }
        for (number, right) in [
            (request::SET_FEATURES, 8),
            (request::SET_VRING_NUM, 8),
            (request::SET_VRING_ADDR, 40),
            (request::SET_VRING_KICK, 8),
            (request::SET_VRING_ENABLE, 8),
            (request::ADD_MEM_REG, 40),
            (request::REM_MEM_REG, 40),
        ] {
            for size in [0, right - 1, right + 1, 4096] {
                closes(
                    "a wrong size",
                    &FrontEnd::message(number, &vec![0; size]),
                    0,
                );
            }
        }
        closes("an answer", &[1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0], 0);
        closes("another version", &[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], 0);
        closes(
            "4 GiB",
            &[5, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            0,
        );
        let table = |count: u64| [words(&[count]), vec![1; 32 * count.min(8) as usize]].concat();
        closes("no regions", &FrontEnd::message(5, &table(0)), 0);
        closes("too many regions", &FrontEnd::message(5, &table(33)), 33);
        closes("regions without files", &FrontEnd::message(5, &table(2)), 0);
        closes("files without regions", &FrontEnd::message(5, &table(1)), 8);
        closes(
            "files where none belong",
            &FrontEnd::message(2, &words(&[0])),
            30,
        );
        host.detach(7);
    });
}

/// Wherever its front-end stopped in the middle, a port goes at once.
#[test]
fn a_front_end_that_stalls_keeps_nobody_waiting() {
    beside_neighbours(|host| {
        let header = FrontEnd::message(request::SET_FEATURES, &[0; 8]);
        let flood = FrontEnd::message(request::GET_FEATURES, &[]).repeat(20_000);
        for octets in [&header[..3], &header[..12], &header[..15], &flood] {
            let socket = host.attach_server(7);
            let stream = UnixStream::connect(&socket).expect("it listens");
            // Answers are not read, until neither side can go on.
            stream.set_nonblocking(true).expect("a socket");
            let mut sent = 0;
            while sent < octets.len() {
                match std::io::Write::write(&mut &stream, &octets[sent..]) {
                    Ok(count) => sent += count,
                    Err(_) => break,
                }
            }
            let before = Instant::now();
            host.detach(7);
            assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
        }
    });
}

/// A client waits before it asks again one that turned it away.
#[test]
fn a_refused_client_goes_at_once_too() {
    beside_neighbours(|host| {
        let mut stream = host.accept(ATTACKER);
        std::io::Write::write_all(&mut stream, &[0xff; 64]).expect("sent");
        wait("the failure", || {
            host.state(ATTACKER).0 == VhostState::Failed
        });
        assert!(host.state(ATTACKER).1.contains("does not allow"));
        let before = Instant::now();
        host.detach(ATTACKER);
        assert!(before.elapsed() < QUICK);
        host.attach(ATTACKER);
        host.apply();
        let (mut attacker, mut peer) = (host.plain_guest(ATTACKER), host.plain_guest(PEER));
        exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..70);
    });
}

/// Queues start and stop in any order under traffic, and frames pass as soon as both of the first pair run.
#[test]
fn queue_pairs_come_and_go() {
    beside_neighbours(|host| {
        let options = GuestOptions {
            pairs: PAIRS,
            ..GuestOptions::default()
        };
        let (mut attacker, mut peer) = (host.guest(ATTACKER, options), host.plain_guest(PEER));
        let mut turn = 1usize;
        for round in 0..60 {
            turn = turn.wrapping_mul(25).wrapping_add(7);
            let queue = turn % (2 * PAIRS);
            let number = queue as u32;
            match round % 3 {
                0 => {
                    let enable = |value| {
                        let front_end = attacker.front_end();
                        let set = front_end.set_queue(request::SET_VRING_ENABLE, number, value);
                        set.expect("accepted");
                    };
                    enable(0);
                    enable(0);
                    enable(1);
                }
                1 => {
                    let base = attacker.front_end().stop_queue(number);
                    let base = base.expect("an answer");
                    assert!(base <= u32::from(attacker.available(queue)));
                    attacker.start(queue);
                }
                _ => attacker.start_again(queue),
            }
            exchange(&mut attacker, &mut peer, (ATTACKER, PEER), 60..62);
        }
        assert_eq!(host.state(ATTACKER), (VhostState::Running, String::new()));
    });
}

/// Returns whether this is a process that runs this test and no other, and runs it in one where it is not.
fn is_alone(test: &str) -> bool {
    const CHILD: &str = "WEFT_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([
            "--exact",
            &format!("vhost::tests::hostile::sockets::{test}"),
        ])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    false
}

/// A front-end that waits to be accepted keeps no core busy where there is no descriptor for it, and is served when there is.
#[test]
fn a_listener_without_descriptors_tries_now_and_then() {
    if !is_alone("a_listener_without_descriptors_tries_now_and_then") {
        return;
    }
    let host = Host::new(0);
    let socket = SocketAddrUnix::new(host.attach_server(7)).expect("an address");
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let stream = rustix::net::socket(family, kind, None).expect("a socket");
    let limit = getrlimit(Resource::Nofile);
    // Those of the standard streams are in use.
    let none = Rlimit {
        current: Some(3),
        ..limit
    };
    setrlimit(Resource::Nofile, none).expect("less than before");
    rustix::net::connect(&stream, &socket).expect("it listens");
    let status = || host.datapath.vhost_status(PortId(7)).expect("a port");
    wait("the failure", || status().reason.contains("accepting"));
    let busy = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time");
    let before = busy();
    std::thread::sleep(Duration::from_millis(500));
    let spent = busy() - before;
    setrlimit(Resource::Nofile, limit).expect("what it was");
    assert!(spent < Duration::from_millis(100), "{spent:?}");
    FrontEnd::new(stream.into()).greet().expect("an answer");
}

/// The number of this process's descriptors means something only where no other test runs.
#[test]
fn storms_of_connections_and_descriptors_leave_nothing_behind() {
    if !is_alone("storms_of_connections_and_descriptors_leave_nothing_behind") {
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    beside_neighbours(|host| {
        let socket = host.attach_server(7);
        let connect = || UnixStream::connect(&socket).expect("it listens");
        let file = memory_file(4096);
        let storm = || {
            for _ in 0..20 {
                drop(connect());
                drop(Guest::new(connect(), GuestOptions::default()));
                // More than the switch takes with any message.
                let message = FrontEnd::message(request::SET_FEATURES, &words(&[0]));
                let _ = FrontEnd::new(connect()).send(&message, &vec![file.as_fd(); 253]);
                let front_end = FrontEnd::new(connect());
                front_end.greet().expect("an answer");
                for _ in 0..50 {
                    // Each takes the place of the one before.
                    let event = eventfd(0, EventfdFlags::empty());
                    let event = event.expect("an event");
                    for request in [
                        request::SET_VRING_KICK,
                        request::SET_VRING_CALL,
                        request::SET_VRING_ERR,
                    ] {
                        let set = front_end.set_event(request, 3, Some(event.as_fd()));
                        set.expect("accepted");
                    }
                }
            }
            // One more, so that the last of the storm is over.
            let front_end = FrontEnd::new(connect());
            front_end.greet().expect("an answer");
        };
        storm();
        wait("the end of the storm", || {
            host.datapath
                .vhost_status(PortId(7))
                .is_some_and(|status| status.state == VhostState::Waiting)
        });
        let before = open();
        for _ in 0..3 {
            storm();
        }
        wait("as many descriptors as before", || open() <= before);
        host.detach(7);
    });
}
