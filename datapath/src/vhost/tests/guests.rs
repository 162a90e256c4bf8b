//! Guests that keep to the rules, whatever they negotiated.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::host::{Host, PLAIN, exchange, frame, mac};
use crate::testing::{Guest, GuestOptions, Received, wait};
use crate::vhost::features::{
    CSUM, EVENT_IDX, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, OFFERED,
};
use crate::{EngineSpec, PortId, SocketRole, VhostState};

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

/// A TCP packet over IPv4 with the sum of its pseudo-header, and the header that asks to cut it.
fn large(payload: usize) -> (Received, Vec<u8>) {
    let data: Vec<u8> = (0..payload).map(|n| (n / 7) as u8).collect();
    let builder = etherparse::PacketBuilder::ethernet2(mac(0), mac(1))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 2000, 7, 60_000);
    let mut frame = Vec::new();
    builder.write(&mut frame, &data).expect("a packet");
    let words = frame[26..34].chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = sum + 6 + frame.len() as u32 - 34;
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[50..52].copy_from_slice(&(folded as u16).to_be_bytes());
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
