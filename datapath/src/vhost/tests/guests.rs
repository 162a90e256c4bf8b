//! Whole guests: a front-end on a real socket, a driver in shared memory, poll threads that sleep and wake, and a switch between
//! them.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use weft_packet::MacAddr;
use weft_vlan::{Policy, VlanId};

use super::driver::file;
use crate::vhost::features::{EVENT_IDX, MRG_RXBUF, OFFERED, PROTOCOL, VERSION_1};
use crate::{
    Admission, Config, Datapath, EngineSpec, Options, PollMode, PortConfig, PortId, Role,
    SocketRole, SwitchConfig, SwitchId, VhostState,
};

const LIMIT: Duration = Duration::from_secs(10);

const SIZE: u16 = 64;
const MEMORY: u64 = 8 << 20;
const USER: u64 = 0x5000_0000_0000;

/// Where a queue's parts are: descriptors, available ring, used ring.
const fn part(queue: usize, part: u64) -> u64 {
    queue as u64 * 0x1_0000 + part * 0x4000
}

/// Where the buffers of a queue are: 64 KiB apart for what is sent, and as long as the driver likes for what is received.
const BUFFERS: [u64; 2] = [0x10_0000, 0x20_0000];

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const HOST_TSO4: u64 = 1 << 11;

/// Enables a queue before features are set, as the library refuses to: request 18 of version 1, whose reply is asked for.
fn enable_early(mut stream: &UnixStream, queue: u32) {
    let words = |words: [u32; 5]| words.map(u32::to_ne_bytes).concat();
    stream
        .write_all(&words([18, 1 | 8, 8, queue, 1]))
        .expect("sent");
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[..], words([18, 1 | 4, 8, 0, 0]));
}

type Received = ([u8; 12], Vec<u8>);

struct Guest {
    frontend: Frontend,
    file: std::fs::File,
    features: u64,
    /// Octets of a receive buffer.
    buffer: u32,
    kicks: [EventFd; 2],
    calls: [EventFd; 2],
    /// Chains made available in each queue, and used entries seen.
    available: [u16; 2],
    used: [u16; 2],
}

impl Guest {
    fn new(stream: UnixStream, features: u64, buffer: u32) -> Self {
        Self::starting_at(0, stream, features, buffer)
    }

    /// A guest whose indices are where an earlier switch left them.
    fn starting_at(index: u16, stream: UnixStream, features: u64, buffer: u32) -> Self {
        let event = || EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        let mut guest = Self {
            frontend: Frontend::from_stream(stream.try_clone().expect("a socket"), 16),
            file: file(MEMORY),
            features,
            buffer,
            kicks: [event(), event()],
            calls: [event(), event()],
            available: [index; 2],
            used: [index; 2],
        };
        for queue in 0..2 {
            for ring in [1, 2] {
                guest.write(part(queue, ring) + 2, &index.to_le_bytes());
            }
        }
        guest.connect(stream);
        for n in 0..SIZE {
            guest.refill(n);
        }
        guest
    }

    /// Says all that a front-end says, in the order of QEMU.
    fn connect(&mut self, stream: UnixStream) {
        let clone = stream.try_clone().expect("a socket");
        self.frontend = Frontend::from_stream(clone, 16);
        let frontend = &mut self.frontend;
        assert_eq!(frontend.get_features().expect("an answer"), OFFERED);
        frontend.set_owner().expect("sent");
        let offered = frontend.get_protocol_features().expect("an answer");
        assert!(offered.contains(VhostUserProtocolFeatures::MQ));
        frontend.set_protocol_features(offered).expect("sent");
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        assert!(frontend.get_queue_num().expect("an answer") >= 2);
        for queue in 0..2 {
            enable_early(&stream, queue);
        }
        self.frontend.set_features(self.features).expect("accepted");
        self.share();
        for queue in 0..2 {
            self.start(queue);
        }
    }

    fn share(&self) {
        let region = self.region(0);
        self.frontend.set_mem_table(&[region]).expect("accepted");
    }

    /// Its memory, as it is seen at an address.
    fn region(&self, address: u64) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: address,
            memory_size: MEMORY,
            userspace_addr: USER + address,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    fn start(&mut self, queue: usize) {
        let frontend = &mut self.frontend;
        frontend.set_vring_num(queue, SIZE).expect("accepted");
        frontend.set_vring_base(queue, 0).expect("accepted");
        let config = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: USER + part(queue, 0),
            avail_ring_addr: USER + part(queue, 1),
            used_ring_addr: USER + part(queue, 2),
            log_addr: None,
        };
        frontend.set_vring_addr(queue, &config).expect("accepted");
        frontend
            .set_vring_call(queue, &self.calls[queue])
            .expect("accepted");
        frontend
            .set_vring_kick(queue, &self.kicks[queue])
            .expect("accepted");
    }

    fn write(&self, at: u64, octets: &[u8]) {
        self.file.write_all_at(octets, at).expect("in the file");
    }

    fn word(&self, at: u64) -> u16 {
        let mut word = [0; 2];
        self.file.read_exact_at(&mut word, at).expect("in the file");
        u16::from_le_bytes(word)
    }

    fn descriptor(&self, queue: usize, n: u16, address: u64, len: u32, flags: u16) {
        let octets = [
            &address.to_le_bytes()[..],
            &len.to_le_bytes(),
            &flags.to_le_bytes(),
            &[0, 0],
        ];
        self.write(part(queue, 0) + 16 * u64::from(n), &octets.concat());
    }

    /// Makes a descriptor available, and kicks if the device wants it.
    fn offer(&mut self, queue: usize, n: u16) {
        let index = self.available[queue];
        let slot = part(queue, 1) + 4 + 2 * u64::from(index % SIZE);
        self.write(slot, &n.to_le_bytes());
        let next = index.wrapping_add(1);
        self.available[queue] = next;
        self.write(part(queue, 1) + 2, &next.to_le_bytes());
        let used = part(queue, 2);
        let wants = if self.features & EVENT_IDX != 0 {
            self.word(used + 4 + 8 * u64::from(SIZE)) == index
        } else {
            self.word(used) & 1 == 0
        };
        if wants {
            self.kicks[queue].write(1).expect("an eventfd");
        }
    }

    fn refill(&mut self, n: u16) {
        let address = BUFFERS[0] + u64::from(n) * u64::from(self.buffer);
        self.descriptor(0, n, address, self.buffer, 2);
        self.offer(0, n);
    }

    /// Sends a frame when the ring has room.
    fn send(&mut self, header: [u8; 12], frame: &[u8]) {
        wait("room to send", || {
            let used = self.word(part(1, 2) + 2);
            self.available[1].wrapping_sub(used) < SIZE
        });
        let n = self.available[1] % SIZE;
        let address = BUFFERS[1] + u64::from(n) * 0x1_0000;
        self.write(address, &header);
        self.write(address + 12, frame);
        self.descriptor(1, n, address, frame.len() as u32 + 12, 0);
        self.offer(1, n);
    }

    /// A frame if one is there whole.
    fn receive(&mut self) -> Option<Received> {
        let used = part(0, 2);
        if self.word(used + 2) == self.used[0] {
            return None;
        }
        let mut octets = Vec::new();
        let mut left = 1;
        let mut first = true;
        while left > 0 {
            let slot = used + 4 + 8 * u64::from(self.used[0] % SIZE);
            let (n, len) = (self.word(slot), self.word(slot + 4));
            let address = BUFFERS[0] + u64::from(n) * u64::from(self.buffer);
            let mut part = vec![0; len.into()];
            self.file
                .read_exact_at(&mut part, address)
                .expect("in the file");
            octets.extend(part);
            if first {
                left = u16::from_le_bytes([octets[10], octets[11]]);
                assert!(left >= 1 && (left == 1 || self.features & MRG_RXBUF != 0));
                first = false;
            }
            left -= 1;
            self.used[0] = self.used[0].wrapping_add(1);
            self.refill(n);
        }
        let frame = octets.split_off(12);
        Some((octets.try_into().expect("12 octets"), frame))
    }

    /// Sleeps until the device interrupts, as a kernel's driver does; an interrupt that does not come is an error.
    fn expect_frame(&mut self) -> Received {
        loop {
            if let Some(received) = self.receive() {
                return received;
            }
            // States its wish, then looks once more: the mirror image of what the device does.
            let event = part(0, 1) + 4 + 2 * u64::from(SIZE);
            self.write(event, &self.used[0].to_le_bytes());
            if let Some(received) = self.receive() {
                return received;
            }
            let call = &self.calls[0];
            // SAFETY: the event lives, and its descriptor with it.
            let fd = unsafe { BorrowedFd::borrow_raw(call.as_raw_fd()) };
            let mut events = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            let limit = Timespec {
                tv_sec: LIMIT.as_secs() as i64,
                tv_nsec: 0,
            };
            let ready = poll(&mut events, Some(&limit)).expect("a descriptor");
            assert!(ready > 0, "no interrupt came");
            call.read().expect("it is readable");
        }
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

/// A switch with ports for guests, which listen as hypervisors do.
struct Host {
    datapath: Datapath,
    folder: PathBuf,
    listeners: Vec<UnixListener>,
}

fn mac(port: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0, port as u8]
}

impl Host {
    fn new(ports: u16) -> Self {
        let name = format!(
            "weft-vhost-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let folder = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (sender, _events) = bounded(64);
        let options = Options {
            cores: Vec::new(),
            poll: PollMode::Adaptive,
        };
        let host = Self {
            datapath: Datapath::start(&options, &sender).expect("a poll thread"),
            listeners: (0..ports)
                .map(|port| UnixListener::bind(folder.join(port.to_string())).expect("a socket"))
                .collect(),
            folder,
        };
        for port in 0..ports {
            host.attach(port);
        }
        host.apply(ports);
        host
    }

    fn apply(&self, ports: u16) {
        let port = |id: u16| PortConfig {
            id: PortId(id),
            switch: SwitchId(0),
            role: Role::Vm,
            admission: Admission::Open,
            vlan: Policy::Access(VlanId::new(10).expect("a VLAN")),
            mac: Some(MacAddr::new(mac(id))),
            promiscuous: false,
            mac_changes: true,
            forged_transmits: true,
            mtu: 1500,
        };
        let config = Config {
            switches: vec![SwitchConfig {
                id: SwitchId(0),
                static_addresses: Vec::new(),
            }],
            ports: (0..ports).map(port).collect(),
        };
        self.datapath.apply(&config).expect("the thread answers");
    }

    fn socket(&self, port: u16) -> PathBuf {
        self.folder.join(port.to_string())
    }

    fn attach(&self, port: u16) {
        let spec = EngineSpec::VhostUser {
            socket: self.socket(port),
            role: SocketRole::Client,
        };
        self.datapath
            .attach(PortId(port), &spec)
            .expect("a service");
    }

    fn guest(&self, port: u16, features: u64, buffer: u32) -> Guest {
        let (stream, _) = self.listeners[usize::from(port)]
            .accept()
            .expect("the switch");
        Guest::new(stream, features, buffer)
    }

    fn state(&self, port: u16) -> (VhostState, String) {
        let status = self
            .datapath
            .vhost_status(PortId(port))
            .expect("a vhost-user port");
        (status.state, status.reason)
    }

    fn audit(&self) {
        for port in 0..self.listeners.len() as u16 {
            wait("balance", || {
                let counters = self.datapath.counters(PortId(port));
                counters.is_none_or(|counters| counters.imbalance().is_none())
            });
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Left behind where the test failed in the middle.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn frame(from: u16, to: u16, len: usize, seed: u8) -> Vec<u8> {
    let mut frame = [&mac(to)[..], &mac(from), &[0x88, 0xb5]].concat();
    frame.extend((0..len - 14).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)));
    frame
}

const PLAIN: u64 = VERSION_1 | PROTOCOL;

/// Sends frames of these lengths from one guest to another and compares them.
fn exchange(
    from: &mut Guest,
    to: &mut Guest,
    ports: (u16, u16),
    lengths: impl Iterator<Item = usize>,
) {
    for (seed, len) in (0..).zip(lengths) {
        let sent = frame(ports.0, ports.1, len, seed as u8);
        from.send([0; 12], &sent);
        let (header, got) = to.expect_frame();
        assert_eq!(header[..10], [0; 10]);
        assert!(got == sent, "{len} octets came as {}", got.len());
    }
}

#[test]
fn frames_pass_whatever_was_negotiated() {
    for features in [PLAIN, PLAIN | MRG_RXBUF, PLAIN | EVENT_IDX, OFFERED] {
        // Short buffers are merged; a guest that does not merge has long ones.
        let buffer = if features & MRG_RXBUF != 0 { 256 } else { 2048 };
        let host = Host::new(2);
        let mut one = host.guest(0, features, 2048);
        let mut two = host.guest(1, features, buffer);
        assert_eq!(host.state(1), (VhostState::Running, String::new()));
        exchange(&mut one, &mut two, (0, 1), (14..=1514).step_by(7));
        exchange(&mut two, &mut one, (1, 0), 1000..1100);
        host.audit();
    }
}

#[test]
fn the_indices_wrap() {
    let host = Host::new(2);
    let start = |port: usize| {
        let (stream, _) = host.listeners[port].accept().expect("the switch");
        Guest::starting_at(65_400, stream, OFFERED, 2048)
    };
    let (mut one, mut two) = (start(0), start(1));
    exchange(&mut one, &mut two, (0, 1), 60..400);
    exchange(&mut two, &mut one, (1, 0), 60..400);
    assert!(one.available.iter().all(|&index| index < 1000));
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
        let (mut one, mut two) = (host.guest(0, sends, 2048), host.guest(1, takes, 2048));
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
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    exchange(&mut one, &mut two, (0, 1), 60..200);
    for port in 0..2 {
        host.datapath
            .detach(PortId(port))
            .expect("the thread answers");
    }
    // Sent while there is no switch: it waits in the ring.
    let waiting = frame(0, 1, 99, 9);
    one.send([0; 12], &waiting);
    for port in 0..2 {
        host.attach(port);
    }
    host.apply(2);
    // The receiver first, so that the frame finds it.
    for (port, guest) in [(1, &mut two), (0, &mut one)] {
        let (stream, _) = host.listeners[port].accept().expect("the switch");
        guest.connect(stream);
    }
    assert!(two.expect_frame().1 == waiting);
    exchange(&mut one, &mut two, (0, 1), 60..200);
    exchange(&mut two, &mut one, (1, 0), 60..200);
    host.audit();
}

#[test]
fn memory_changes_while_frames_move() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    for _ in 0..20 {
        one.share();
        exchange(&mut one, &mut two, (0, 1), 60..70);
        two.share();
        exchange(&mut two, &mut one, (1, 0), 60..70);
    }
    host.audit();
}

/// QEMU before 8.0 does so.
#[test]
fn memory_comes_and_goes_once_for_each_queue_pair() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    for guest in [&mut one, &mut two] {
        let region = guest.region(0);
        guest.frontend.add_mem_region(&region).expect("accepted");
        let more = guest.region(2 * MEMORY);
        for _ in 0..2 {
            guest.frontend.add_mem_region(&more).expect("accepted");
        }
        for _ in 0..2 {
            guest.frontend.remove_mem_region(&more).expect("accepted");
        }
    }
    exchange(&mut one, &mut two, (0, 1), 60..70);
    exchange(&mut two, &mut one, (1, 0), 60..70);
    host.audit();
}

/// The attacker's port fails, is named, and comes back with a new connection; the others do not notice.
fn attack(strike: impl Fn(&mut Guest), named: &str) {
    let host = Host::new(3);
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    let mut attacker = host.guest(2, OFFERED, 2048);
    exchange(&mut one, &mut attacker, (0, 2), 60..100);
    strike(&mut attacker);
    exchange(&mut one, &mut two, (0, 1), 60..100);
    // What is sent to it shows that it fails.
    wait("the failure", || {
        one.send([0; 12], &frame(0, 2, 60, 0));
        let (state, reason) = host.state(2);
        state == VhostState::Failed && reason.contains(named)
    });
    exchange(&mut two, &mut one, (1, 0), 60..100);
    drop(attacker);
    let mut back = host.guest(2, OFFERED, 2048);
    exchange(&mut one, &mut back, (0, 2), 60..100);
    exchange(&mut back, &mut two, (2, 1), 60..100);
    host.audit();
}

#[test]
fn an_impossible_index_fails_the_port() {
    attack(
        |guest| {
            for queue in 0..2 {
                let index = guest.available[queue].wrapping_add(5000);
                guest.write(part(queue, 1) + 2, &index.to_le_bytes());
                guest.kicks[queue].write(1).expect("an eventfd");
            }
        },
        "more buffers available",
    );
}

#[test]
fn an_impossible_head_fails_the_port() {
    attack(|guest| guest.offer(1, 5000), "does not have");
}

#[test]
fn a_truncated_memory_file_fails_the_port() {
    attack(
        |guest| {
            rustix::fs::ftruncate(&guest.file, 0).expect("a length");
        },
        "truncated",
    );
}

/// The reason is the one that was found, not that queues stopped because of it.
#[test]
fn features_that_change_under_running_queues_fail_the_port() {
    attack(
        |guest| {
            let frontend = &mut guest.frontend;
            frontend.set_hdr_flags(VhostUserHeaderFlag::empty());
            frontend.set_features(guest.features ^ CSUM).expect("sent");
        },
        "changed features while queues ran",
    );
}

#[test]
fn bad_descriptors_are_counted_drops() {
    let host = Host::new(2);
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    let bad = [
        (MEMORY, 100, 0),
        (u64::MAX, 100, 0),
        (BUFFERS[1], u32::MAX, 0),
        (BUFFERS[1], 0, 0),
        (BUFFERS[1], 11, 0),
        (BUFFERS[1], 100, 2),
        (BUFFERS[1], 16, 4 | 1),
    ];
    for (address, len, flags) in bad {
        let n = one.available[1] % SIZE;
        one.descriptor(1, n, address, len, flags);
        one.offer(1, n);
    }
    exchange(&mut one, &mut two, (0, 1), 60..100);
    let counters = host.datapath.counters(PortId(0)).expect("attached");
    let dropped = counters.rx_drops[crate::DropReason::BadDescriptor as usize];
    assert_eq!(dropped, bad.len() as u64);
    host.audit();
}

#[test]
fn nonsense_on_the_socket_harms_nobody() {
    use std::io::Write;
    let host = Host::new(3);
    let (mut one, mut two) = (host.guest(0, OFFERED, 2048), host.guest(1, OFFERED, 2048));
    let listener = &host.listeners[2];
    let (mut stream, _) = listener.accept().expect("the switch");
    // A message that nobody knows, of a size that nobody sends.
    stream.write_all(&[0xff; 64]).expect("sent");
    wait("the failure", || host.state(2).0 == VhostState::Failed);
    exchange(&mut one, &mut two, (0, 1), 60..100);
    // Detached while it waits to try again.
    let before = Instant::now();
    host.datapath.detach(PortId(2)).expect("the thread answers");
    assert!(before.elapsed() < Duration::from_secs(2));
    host.attach(2);
    // Half a message, and nothing more.
    let (mut stream, _) = listener.accept().expect("the switch");
    stream.write_all(&[1, 0, 0]).expect("sent");
    exchange(&mut one, &mut two, (0, 1), 60..100);
    host.datapath.detach(PortId(2)).expect("the thread answers");
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
    let guest = Guest::new(connect(&socket), OFFERED, 2048);
    assert_eq!(
        host.datapath
            .vhost_status(PortId(7))
            .expect("a port")
            .queues
            .len(),
        2
    );
    drop(guest);
    drop(Guest::new(connect(&socket), OFFERED, 2048));
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
