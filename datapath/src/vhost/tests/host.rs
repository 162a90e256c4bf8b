//! A switch with ports for guests, each with a socket on which its hypervisor listens, and poll threads that sleep and wake.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::bounded;
use weft_vlan::Policy;

use crate::testing::{self, Guest, GuestOptions, one_switch, wait};
use crate::vhost::features::{PROTOCOL, VERSION_1};
use crate::{
    Config, Datapath, DropReason, EngineSpec, Options, PollMode, PortConfig, PortCounters, PortId,
    SocketRole, VhostState,
};

/// What every driver accepts.
pub(super) const PLAIN: u64 = VERSION_1 | PROTOCOL;

/// The VLAN in which guests are unless they tag.
pub(super) const VLAN: u16 = 10;

pub(super) struct Host {
    pub(super) datapath: Datapath,
    pub(super) folder: PathBuf,
    pub(super) listeners: Vec<UnixListener>,
    policies: Vec<Policy>,
}

pub(super) fn mac(port: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0, port as u8]
}

pub(super) fn access() -> Policy {
    testing::access(VLAN)
}

impl Host {
    /// Ports that do not tag.
    pub(super) fn new(ports: usize) -> Self {
        Self::with(vec![access(); ports])
    }

    /// Ports that do not tag, on poll threads of these cores.
    pub(super) fn on_cores(ports: usize, cores: Vec<usize>) -> Self {
        Self::start(vec![access(); ports], cores)
    }

    /// A port for each policy.
    pub(super) fn with(policies: Vec<Policy>) -> Self {
        Self::start(policies, Vec::new())
    }

    fn start(policies: Vec<Policy>, cores: Vec<usize>) -> Self {
        static HOSTS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = HOSTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("weft-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (sender, _events) = bounded(64);
        let options = Options {
            cores,
            poll: PollMode::Adaptive,
        };
        let listen = |port: usize| UnixListener::bind(folder.join(port.to_string()));
        let host = Self {
            datapath: Datapath::start(&options, &sender).expect("a poll thread"),
            listeners: (0..policies.len())
                .map(|port| listen(port).expect("a socket"))
                .collect(),
            folder,
            policies,
        };
        for port in 0..host.listeners.len() {
            host.attach(port as u16);
        }
        host.apply();
        host
    }

    /// Puts the configuration in force, again after a port was attached.
    pub(super) fn apply(&self) {
        self.apply_with(|_| {});
    }

    /// The same, with other settings than the usual ones.
    pub(super) fn apply_with(&self, set: impl Fn(&mut PortConfig)) {
        let port = |(id, vlan): (usize, &Policy)| {
            let mut port = PortConfig {
                mac_changes: false,
                forged_transmits: false,
                ..testing::port(id as u16, vlan.clone())
            };
            set(&mut port);
            port
        };
        let config = one_switch(self.policies.iter().enumerate().map(port));
        self.datapath.apply(&config).expect("the thread answers");
    }

    /// Takes every port out of the configuration.
    pub(super) fn unconfigure(&self) {
        let nothing = Config::default();
        self.datapath.apply(&nothing).expect("the thread answers");
    }

    /// Waits until the poll thread sleeps: a heartbeat is all that it does.
    pub(super) fn rests(&self) {
        wait("rest", || {
            let before = self.datapath.threads()[0].passes;
            std::thread::sleep(Duration::from_millis(50));
            self.datapath.threads()[0].passes <= before + 2
        });
    }

    pub(super) fn attach(&self, port: u16) {
        let spec = EngineSpec::VhostUser {
            socket: self.folder.join(port.to_string()),
            role: SocketRole::Client,
        };
        self.datapath
            .attach(PortId(port), &spec)
            .expect("a service");
    }

    /// Attaches a port that listens itself: nobody waits to be connected to again. Returns its socket.
    pub(super) fn attach_server(&self, port: u16) -> PathBuf {
        let socket = self.folder.join(format!("server-{port}"));
        let spec = EngineSpec::VhostUser {
            socket: socket.clone(),
            role: SocketRole::Server,
        };
        self.datapath
            .attach(PortId(port), &spec)
            .expect("a service");
        self.apply();
        socket
    }

    pub(super) fn detach(&self, port: u16) {
        self.datapath
            .detach(PortId(port))
            .expect("the thread answers");
    }

    /// The switch, as it connects to a port's socket.
    pub(super) fn accept(&self, port: u16) -> std::os::unix::net::UnixStream {
        let (stream, _) = self.listeners[usize::from(port)]
            .accept()
            .expect("the switch");
        stream
    }

    pub(super) fn guest(&self, port: u16, options: GuestOptions) -> Guest {
        Guest::new(self.accept(port), options)
    }

    /// A guest with all features and one without any fault, as most are.
    pub(super) fn plain_guest(&self, port: u16) -> Guest {
        self.guest(port, GuestOptions::default())
    }

    pub(super) fn state(&self, port: u16) -> (VhostState, String) {
        let status = self
            .datapath
            .vhost_status(PortId(port))
            .expect("a vhost-user port");
        (status.state, status.reason)
    }

    pub(super) fn counters(&self, port: u16) -> PortCounters {
        self.datapath.counters(PortId(port)).expect("attached")
    }

    /// Frames that a port sent and the switch dropped.
    pub(super) fn rx_drops(&self, port: u16, reason: DropReason) -> u64 {
        self.counters(port).rx_drops[reason as usize]
    }

    /// Copies that a port could not take.
    pub(super) fn tx_drops(&self, port: u16, reason: DropReason) -> u64 {
        self.counters(port).tx_drops[reason as usize]
    }

    /// Checks that every frame and copy is accounted for.
    #[track_caller]
    pub(super) fn audit(&self) {
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

pub(super) fn frame(from: u16, to: u16, len: usize, seed: u8) -> Vec<u8> {
    let mut frame = [&mac(to)[..], &mac(from), &[0x88, 0xb5]].concat();
    frame.extend((0..len - 14).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)));
    frame
}

/// A TCP packet over IPv4 whose checksum is still to be computed.
pub(super) fn tcp_packet(from: u16, to: u16, payload: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..payload).map(|n| (n / 7) as u8).collect();
    let builder = etherparse::PacketBuilder::ethernet2(mac(from), mac(to))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 2000, 7, 60_000);
    let mut frame = Vec::new();
    builder.write(&mut frame, &data).expect("a packet");
    unfinished(frame)
}

/// A TCP packet over IPv4 with the sum of its pseudo-header alone (RFC 9293 §3.1).
pub(super) fn unfinished(mut frame: Vec<u8>) -> Vec<u8> {
    let words = frame[26..34].chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = sum + 6 + frame.len() as u32 - 34;
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[50..52].copy_from_slice(&(folded as u16).to_be_bytes());
    frame
}

/// Sends frames of these lengths from one guest to another and compares them.
#[track_caller]
pub(super) fn exchange(
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
