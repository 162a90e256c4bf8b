//! Guests that keep to the rules, whatever they negotiated.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use weft_packet::MacAddr;

use super::host::{Host, PLAIN, VLAN, access, exchange, frame, mac, tcp_packet};
use crate::config::{TeamConfig, TeamId, TeamPolicy};
use crate::testing::front_end::{Region, request};
use crate::testing::{Guest, GuestOptions, Received, Rig, wait};
use crate::vhost::features::{
    CSUM, EVENT_IDX, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, OFFERED,
};
use crate::{
    Config, EngineSpec, PortConfig, PortId, ShapeConfig, SocketRole, SwitchConfig, SwitchId,
    VhostState,
};

/// A guest with these features, and receive buffers of so many octets.
fn with(features: u64, buffer: u32) -> GuestOptions {
    GuestOptions {
        features,
        buffers: vec![buffer],
        ..GuestOptions::default()
    }
}

#[test]
fn frames_pass_whatever_was_negotiated() {
    for features in [PLAIN, PLAIN | MRG_RXBUF, PLAIN | EVENT_IDX, OFFERED] {
        // Short buffers are merged; a guest that does not merge has long ones.
        let buffer = if features & MRG_RXBUF != 0 { 256 } else { 2048 };
        let host = Host::new(2);
        let mut one = host.guest(0, with(features, 2048));
        let mut two = host.guest(1, with(features, buffer));
        assert_eq!(host.state(1), (VhostState::Running, String::new()));
        exchange(&mut one, &mut two, (0, 1), (14..=1514).step_by(7));
        exchange(&mut two, &mut one, (1, 0), 1000..1100);
        host.audit();
    }
}

/// An agent that restarts has its ports before it has its configuration. What waits there keeps no thread awake, and what the
/// front-end asks for is done meanwhile.
#[test]
fn what_waits_before_there_is_a_configuration_is_forwarded_by_it() {
    const FRAMES: u8 = 40;
    let host = Host::new(2);
    let mut two = host.plain_guest(1);
    host.unconfigure();
    let passes = || host.datapath.threads()[0].passes;
    let before = passes();
    let mut one = host.plain_guest(0);
    for n in 0..FRAMES {
        one.send([0; 12], &frame(0, 1, 60, n));
    }
    let since = Instant::now();
    (0..5).for_each(|_| one.share());
    // A thread that wakes up for a heartbeat only would take as many seconds.
    assert!(since.elapsed() < Duration::from_secs(3));
    host.rests();
    assert!(passes() - before < 1000, "{} passes", passes() - before);
    assert!(two.receive().is_none());
    host.apply();
    for n in 0..FRAMES {
        assert_eq!(two.expect_frame().1, frame(0, 1, 60, n));
    }
    host.audit();
}

/// While its limit is used up a guest's frames wait in its own ring, no thread is awake for them, and what the front-end asks
/// for is done.
#[test]
fn what_a_limit_holds_back_waits_in_the_ring() {
    const FRAMES: u8 = 40;
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    host.apply_with(|port| {
        port.shape_in = (port.id == PortId(0)).then_some(ShapeConfig {
            average: 1,
            peak: 1,
            burst: 1,
        });
    });
    for n in 0..FRAMES {
        one.send([0; 12], &frame(0, 1, 60, n));
    }
    assert_eq!(two.expect_frame().1, frame(0, 1, 60, 0));
    host.rests();
    let since = Instant::now();
    (0..5).for_each(|_| one.share());
    // A thread that wakes up for a heartbeat only would take as many seconds.
    assert!(since.elapsed() < Duration::from_secs(3));
    exchange(&mut two, &mut one, (1, 0), 60..70);
    host.rests();
    assert_eq!(host.counters(0).rx_frames, 1);
    host.apply();
    for n in 1..FRAMES {
        assert_eq!(two.expect_frame().1, frame(0, 1, 60, n));
    }
    host.audit();
}

#[test]
fn the_indices_wrap() {
    let host = Host::new(2);
    let start = |port| {
        let options = GuestOptions {
            index: 65_400,
            ..GuestOptions::default()
        };
        host.guest(port, options)
    };
    let (mut one, mut two) = (start(0), start(1));
    exchange(&mut one, &mut two, (0, 1), 60..400);
    exchange(&mut two, &mut one, (1, 0), 60..400);
    assert!((0..2).all(|queue| one.available(queue) < 1000));
    host.audit();
}

/// QEMU before 8.0 does so.
#[test]
fn memory_comes_and_goes_once_for_each_queue_pair() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    for guest in [&one, &two] {
        let (front_end, file, region) = (guest.front_end(), guest.file(), guest.region());
        // Those of the start.
        for queue in 0..2 {
            guest.interrupts(queue);
        }
        let more = Region {
            guest: 2 * region.len,
            user: region.user + 2 * region.len,
            ..region
        };
        front_end.add_region(region, file).expect("accepted");
        for _ in 0..2 {
            front_end.add_region(more, file).expect("accepted");
        }
        for _ in 0..2 {
            front_end.remove_region(more).expect("accepted");
        }
        // A queue that starts anew interrupts: each does when the memory is another, and not when it is the same.
        for queue in 0..2 {
            let changes = guest.interrupts(queue);
            assert!(changes <= 2, "{changes}");
        }
    }
    exchange(&mut one, &mut two, (0, 1), 60..70);
    exchange(&mut two, &mut one, (1, 0), 60..70);
    host.audit();
}

/// Every port has queues for the pairs that its guest might use; those that guests do use are spread over the threads.
#[test]
fn guests_are_spread_over_the_threads() {
    let host = Host::on_cores(4, vec![0, 1]);
    let mut guests: Vec<Guest> = (0..4).map(|port| host.plain_guest(port)).collect();
    for (port, guest) in (0..).zip(&mut guests) {
        for seed in 0..10 {
            guest.send([0; 12], &frame(port, (port + 1) % 4, 60, seed));
        }
    }
    for guest in &mut guests {
        (0..10).for_each(|_| drop(guest.expect_frame()));
    }
    wait("the counts", || {
        let frames = host
            .datapath
            .threads()
            .into_iter()
            .map(|thread| thread.frames);
        frames.collect::<Vec<_>>() == [20, 20]
    });
    host.audit();
}

/// A hypervisor that is stopped still has its socket, and connections that nobody takes.
#[test]
fn a_listener_that_does_not_accept_holds_nobody_up() {
    let host = Host::new(1);
    host.detach(0);
    let full = host.folder.join("full");
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    );
    let listener = listener.expect("a socket");
    let address = rustix::net::SocketAddrUnix::new(&full).expect("a path");
    rustix::net::bind(&listener, &address).expect("an address");
    rustix::net::listen(&listener, 0).expect("listening");
    let _first = UnixStream::connect(&full).expect("the only place");
    let spec = EngineSpec::VhostUser {
        socket: full,
        role: SocketRole::Client,
    };
    host.datapath.attach(PortId(0), &spec).expect("a service");
    host.apply();
    wait("the reason", || host.state(0).1.contains("does not accept"));
    let since = Instant::now();
    host.detach(0);
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_port_tells_how_much_of_its_rings_is_in_use() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    let size = two.options().size;
    let in_use = |port: u16| {
        let status = host.datapath.vhost_status(PortId(port));
        let queues = status.expect("a vhost-user port").queues;
        let queue = |queue: &crate::VhostQueue| (queue.index, queue.size, queue.available);
        queues.iter().map(queue).collect::<Vec<_>>()
    };
    assert_eq!(in_use(1), [(0, size, size), (1, size, 0)]);
    // Ten frames that the guest has not taken.
    for seed in 0..10 {
        one.send([0; 12], &frame(0, 1, 60, seed));
    }
    wait("the frames", || in_use(1)[0].2 == size - 10);
    while two.unseen(0) > 0 {
        two.receive().expect("a frame");
    }
    assert_eq!(in_use(1), [(0, size, size), (1, size, 0)]);
    host.detach(0);
    host.audit();
}

#[test]
fn a_port_tells_how_many_frames_a_queue_held_when_it_started() {
    let host = Host::new(2);
    let mut guest = host.plain_guest(0);
    let found = || {
        let status = host.datapath.vhost_status(PortId(0));
        status.expect("a vhost-user port").queues[1].found
    };
    assert_eq!(found(), 0);
    // Another ring of the same queue while it runs is no start.
    guest.set_event(request::SET_VRING_KICK, 1);
    let beyond = guest.available(1) + guest.options().size + 1;
    guest.write(guest.available_at(1) + 2, &beyond.to_le_bytes());
    guest.kick(1);
    wait("the failure", || host.state(0).0 == VhostState::Failed);
    for seed in 0..3 {
        guest.send([0; 12], &frame(0, 1, 60, seed));
    }
    guest.set_event(request::SET_VRING_KICK, 1);
    assert_eq!(found(), 3);
    assert_eq!(host.state(0).0, VhostState::Running);
    host.audit();
}

/// A TCP packet with the header that asks to cut it, and its payload.
fn large(payload: usize) -> (Received, Vec<u8>) {
    let frame = tcp_packet(0, 1, payload);
    let data = frame[54..].to_vec();
    (([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0], frame), data)
}

#[test]
fn large_packets_pass_uncut_or_are_cut() {
    let sends = PLAIN | CSUM | HOST_TSO4;
    for takes in [
        PLAIN | MRG_RXBUF | GUEST_CSUM | GUEST_TSO4,
        PLAIN | MRG_RXBUF,
        PLAIN,
    ] {
        let host = Host::new(2);
        let (mut one, mut two) = (
            host.guest(0, with(sends, 2048)),
            host.guest(1, with(takes, 2048)),
        );
        let ((header, frame), data) = large(40_000);
        one.send(header, &frame);
        if takes & GUEST_TSO4 != 0 {
            let (got_header, got) = two.expect_frame();
            assert_eq!(
                (got_header[..2].to_vec(), got_header[4..10].to_vec()),
                (header[..2].to_vec(), header[4..10].to_vec())
            );
            assert!(got == frame);
        } else {
            let mut got: Vec<u8> = Vec::new();
            while got.len() < data.len() {
                let (header, segment) = two.expect_frame();
                assert_eq!(header[..10], [0; 10]);
                let packet = etherparse::SlicedPacket::from_ethernet(&segment).expect("a packet");
                let Some(etherparse::TransportSlice::Tcp(tcp)) = packet.transport else {
                    panic!("not TCP");
                };
                let header = tcp.to_header();
                let sum =
                    header.calc_checksum_ipv4_raw([10, 0, 0, 1], [10, 0, 0, 2], tcp.payload());
                assert_eq!(sum, Ok(header.checksum));
                got.extend(tcp.payload());
            }
            assert!(got == data);
        }
        host.audit();
    }
}

#[test]
fn a_new_switch_goes_on_where_the_old_one_stopped() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    exchange(&mut one, &mut two, (0, 1), 60..200);
    host.detach(0);
    host.detach(1);
    // Sent while there is no switch: it waits in the ring.
    let waiting = frame(0, 1, 99, 9);
    one.send([0; 12], &waiting);
    for port in 0..2 {
        host.attach(port);
    }
    host.apply();
    // The receiver first, so that the frame finds it.
    for (port, guest) in [(1, &mut two), (0, &mut one)] {
        guest.reconnect(host.accept(port));
    }
    // Nobody knows whether the old one still told of what it published: a driver that sleeps is woken.
    assert!(one.interrupted(1, Duration::from_secs(10)));
    assert!(two.expect_frame().1 == waiting);
    exchange(&mut one, &mut two, (0, 1), 60..200);
    exchange(&mut two, &mut one, (1, 0), 60..200);
    host.audit();
}

#[test]
fn memory_changes_while_frames_move() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.plain_guest(0), host.plain_guest(1));
    for _ in 0..20 {
        one.share();
        exchange(&mut one, &mut two, (0, 1), 60..70);
        two.share();
        exchange(&mut two, &mut one, (1, 0), 60..70);
    }
    host.audit();
}

#[test]
fn the_switch_listens_where_it_is_told_to() {
    let host = Host::new(1);
    let socket = host.folder.join("server");
    let serve = || {
        host.datapath.attach(
            PortId(7),
            &EngineSpec::VhostUser {
                socket: socket.clone(),
                role: SocketRole::Server,
            },
        )
    };
    serve().expect("a socket");
    let guest = Guest::new(connect(&socket), GuestOptions::default());
    assert_eq!(
        host.datapath
            .vhost_status(PortId(7))
            .expect("a port")
            .queues
            .len(),
        2
    );
    drop(guest);
    drop(Guest::new(connect(&socket), GuestOptions::default()));
    host.datapath.detach(PortId(7)).expect("the thread answers");
    assert!(!socket.exists(), "the socket goes with the port");
    // One that was left behind is replaced; a file that is none is not.
    drop(UnixListener::bind(&socket).expect("a socket"));
    serve().expect("a socket");
    host.datapath.detach(PortId(7)).expect("the thread answers");
    std::fs::write(&socket, "mine").expect("a file");
    serve().expect_err("a file is there");
    assert!(socket.exists());
}

fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).expect("the switch listens")
}

/// The VM of a port without a guest may run on another host: its address is not announced, and what comes from there is no
/// frame of this host that came back.
#[test]
fn an_address_is_where_its_guest_is() {
    let (one, other, near, vm) = (PortId(0), PortId(1), PortId(2), PortId(3));
    let name = format!("weft-{}-inhabited", std::process::id());
    let socket = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut rig = Rig::new().expect("a rig");
    for port in [one, other, near] {
        rig.attach(port, 8).expect("queues");
    }
    let role = SocketRole::Client;
    let spec = EngineSpec::VhostUser {
        socket: socket.clone(),
        role,
    };
    rig.datapath.attach(vm, &spec).expect("a service");
    let switch = SwitchId(0);
    let team = |active, standby| TeamConfig {
        switch,
        policy: TeamPolicy::Explicit,
        active: vec![active],
        standby: vec![standby],
        failback: true,
        notify: true,
        up_delay: Duration::ZERO,
    };
    let member = |port: PortId, team| PortConfig {
        mac: Some(MacAddr::new(mac(port.0))),
        team: Some(TeamId(team)),
        ..PortConfig::vm(port, switch, access())
    };
    rig.apply(&Config {
        switches: vec![SwitchConfig::new(switch)],
        teams: vec![team(one, other), team(other, one)],
        ports: vec![
            PortConfig::uplink(one, switch),
            PortConfig::uplink(other, switch),
            member(near, 1),
            member(vm, 0),
        ],
    });
    // A broadcast of the VM that comes in by the uplink which the VM would not use here.
    let mut broadcast = [
        &[0xff; 6][..],
        &mac(vm.0),
        &[0x81, 0, 0, VLAN as u8, 0x88, 0xb5],
    ]
    .concat();
    broadcast.resize(64, 0);
    let sees = |rig: &mut Rig, is_here: bool| {
        let heard = rig.exchange(other, std::slice::from_ref(&broadcast));
        assert_eq!(heard.contains_key(&near), !is_here);
        let announced = rig.datapath.announcements(&[vm]);
        assert_eq!(announced.len(), usize::from(is_here));
        rig.audit();
    };
    sees(&mut rig, false);
    let (stream, _) = listener.accept().expect("the switch");
    // The poll thread, which is this one, has a part in the guest's coming and going.
    let guest = std::thread::spawn(move || Guest::new(stream, GuestOptions::default()));
    let until = |rig: &mut Rig, state| {
        wait("the guest", || {
            rig.worker.pass();
            rig.datapath
                .vhost_status(vm)
                .expect("a vhost-user port")
                .state
                == state
        });
    };
    until(&mut rig, VhostState::Running);
    sees(&mut rig, true);
    drop(guest.join().expect("a guest"));
    until(&mut rig, VhostState::Waiting);
    sees(&mut rig, false);
    std::fs::remove_file(socket).expect("the socket");
}
