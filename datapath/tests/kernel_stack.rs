//! TAP and packet engines between real kernel stacks: TCP in large packets, uncut where the destination takes them, cut and
//! with its checksum completed where not; the kernels themselves check every checksum that is not theirs to trust.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use weft_datapath::afxdp::testing::Namespace;
use weft_datapath::testing::{access, one_switch};
use weft_datapath::{
    Datapath, EngineSpec, Options, PollMode, PortConfig, PortCounters, PortId, ShapeConfig,
    SwitchId,
};

const MTU: u16 = 1500;

/// Octets of one transfer: some 30 packets of 64 KiB.
const TRANSFER: usize = 2 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AfXdp,
    Packet,
    Tap,
}

/// A VM: a namespace with one interface, and the port behind it.
struct Vm {
    kind: Kind,
    number: u16,
    namespace: Namespace,
}

/// Two of each, so that each kind also meets its like.
const VMS: [Kind; 6] = [
    Kind::AfXdp,
    Kind::Packet,
    Kind::Tap,
    Kind::AfXdp,
    Kind::Packet,
    Kind::Tap,
];

struct Host {
    vms: Vec<Vm>,
    datapath: Datapath,
    _near: Namespace,
}

impl Host {
    fn new() -> Self {
        let near = Namespace::new();
        let (sender, _events) = bounded(1024);
        let options = Options {
            cores: Vec::new(),
            poll: PollMode::Adaptive,
        };
        let datapath = Datapath::start(&options, &sender).expect("a poll thread");
        let vms: Vec<Vm> = VMS
            .iter()
            .zip(1..)
            .map(|(&kind, number)| Vm {
                kind,
                number,
                namespace: Namespace::new(),
            })
            .collect();
        for vm in &vms {
            vm.connect(&near, &datapath);
        }
        let host = Self {
            vms,
            datapath,
            _near: near,
        };
        host.apply(None);
        host
    }

    /// Puts the configuration in force, with this limit on what comes from every port.
    fn apply(&self, shape_in: Option<ShapeConfig>) {
        let port = |vm: &Vm| PortConfig {
            shape_in,
            ..vm.port()
        };
        let config = one_switch(self.vms.iter().map(port));
        self.datapath.apply(&config).expect("the thread answers");
    }

    fn counters(&self, vm: &Vm) -> PortCounters {
        self.datapath
            .counters(PortId(vm.number))
            .expect("the port is attached")
    }

    /// Waits until no frame is on its way, and the counters of all ports balance.
    fn audit(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let imbalances: Vec<String> = self
                .vms
                .iter()
                .filter_map(|vm| self.counters(vm).imbalance())
                .collect();
            if imbalances.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{imbalances:?}");
            std::thread::yield_now();
        }
    }
}

impl Vm {
    fn near(&self) -> String {
        format!("near{}", self.number)
    }

    /// Creates the interface, attaches its port and gives it addresses.
    fn connect(&self, near: &Namespace, datapath: &Datapath) {
        let (interface, far) = (self.near(), self.namespace.name());
        let (spec, inside) = match self.kind {
            Kind::Tap => (
                EngineSpec::Tap {
                    device: interface.clone(),
                    mtu: MTU,
                },
                interface.clone(),
            ),
            kind => {
                near.ip(&[
                    "link", "add", &interface, "type", "veth", "peer", "eth0", "netns", far,
                ]);
                near.ip(&["link", "set", &interface, "up"]);
                let spec = match kind {
                    Kind::Packet => EngineSpec::Packet {
                        interface: interface.clone(),
                    },
                    _ => EngineSpec::AfXdp {
                        interface: interface.clone(),
                        mtu: MTU,
                        uplink: false,
                        busy_wait: Duration::from_secs(2),
                    },
                };
                (spec, "eth0".to_owned())
            }
        };
        near.run(|| datapath.attach(PortId(self.number), &spec))
            .expect("the engine opens");
        if self.kind == Kind::Tap {
            near.ip(&["link", "set", &interface, "netns", far]);
        }
        self.namespace.run(|| {
            let setting = format!("/proc/sys/net/ipv6/conf/{inside}/disable_ipv6");
            std::fs::write(setting, "0").expect("the kernel has IPv6");
        });
        self.namespace.ip(&["link", "set", &inside, "up"]);
        let (v4, v6) = (format!("{}/24", self.v4()), format!("{}/64", self.v6()));
        self.namespace.ip(&["address", "add", &v4, "dev", &inside]);
        self.namespace
            .ip(&["address", "add", &v6, "dev", &inside, "nodad"]);
    }

    fn port(&self) -> PortConfig {
        PortConfig {
            mtu: MTU,
            ..PortConfig::vm(PortId(self.number), SwitchId(0), access(10))
        }
    }

    fn v4(&self) -> IpAddr {
        IpAddr::from([10, 0, 0, self.number as u8])
    }

    fn v6(&self) -> IpAddr {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, self.number])
    }
}

/// Octets that are nowhere the same for long.
fn octets() -> Vec<u8> {
    (0..TRANSFER as u32 / 4)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b1).to_le_bytes())
        .collect()
}

/// Sends octets by TCP from one VM to an address of another, and compares what arrives.
fn transfer(from: &Vm, to: &Vm, address: IpAddr) {
    let sent = octets();
    let listener = to
        .namespace
        .run(|| TcpListener::bind((address, 0)))
        .expect("the address is there");
    let port = listener.local_addr().expect("a bound socket").port();
    let limit = Duration::from_secs(20);
    let mut stream = from
        .namespace
        .run(|| TcpStream::connect_timeout(&SocketAddr::new(address, port), limit))
        .unwrap_or_else(|error| panic!("{} to {}: {error}", from.name(), to.name()));
    let (mut peer, _) = listener.accept().expect("a connection");
    peer.set_read_timeout(Some(limit)).expect("a socket");
    stream.set_write_timeout(Some(limit)).expect("a socket");
    let got = std::thread::scope(|scope| {
        scope.spawn(|| {
            stream.write_all(&sent).expect("the peer reads");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("a socket");
        });
        let mut got = Vec::new();
        peer.read_to_end(&mut got)
            .unwrap_or_else(|error| panic!("{} to {}: {error}", from.name(), to.name()));
        got
    });
    assert!(
        got == sent,
        "{} to {}: octets differ",
        from.name(),
        to.name()
    );
}

impl Vm {
    fn name(&self) -> String {
        format!("{:?} {}", self.kind, self.number)
    }
}

/// Whether most octets of a way came in packets longer than a link would carry.
fn is_uncut(octets: u64, frames: u64) -> bool {
    octets / frames.max(1) > 2 * u64::from(MTU)
}

#[test]
fn tcp_passes_between_all_kinds_of_ports() {
    let host = Host::new();
    for from in &host.vms {
        for to in host.vms.iter().filter(|to| to.number != from.number) {
            for address in [to.v4(), to.v6()] {
                let before = (host.counters(from), host.counters(to));
                transfer(from, to, address);
                host.audit();
                let (sender, receiver) = (host.counters(from), host.counters(to));
                let name = format!("{} to {} ({address})", from.name(), to.name());
                let sent = (
                    sender.rx_bytes - before.0.rx_bytes,
                    sender.rx_frames - before.0.rx_frames,
                );
                let got = (
                    receiver.tx_bytes - before.1.tx_bytes,
                    receiver.tx_frames - before.1.tx_frames,
                );
                assert_eq!(
                    is_uncut(sent.0, sent.1),
                    from.kind != Kind::AfXdp,
                    "{name}: {sent:?}"
                );
                let both = from.kind != Kind::AfXdp && to.kind != Kind::AfXdp;
                assert_eq!(is_uncut(got.0, got.1), both, "{name}: {got:?}");
                let cut = receiver.tx_segmented - before.1.tx_segmented;
                let expected = from.kind != Kind::AfXdp && to.kind == Kind::AfXdp;
                assert_eq!(cut > 0, expected, "{name}: {cut} packets were cut");
            }
        }
    }
}

/// What a limit holds back stays in the queue of the device or socket, and none of it is lost there.
#[test]
fn what_a_limit_holds_back_waits_in_the_kernel() {
    const DATAGRAMS: u64 = 60;
    let host = Host::new();
    // A datagram at a time, each some 1.4 ms after the one before.
    host.apply(Some(ShapeConfig {
        average: 800_000,
        peak: 800_000,
        burst: 1,
    }));
    let received = |vm| host.counters(vm).rx_frames;
    let before: Vec<u64> = host.vms.iter().map(received).collect();
    for vm in &host.vms {
        let socket = vm
            .namespace
            .run(|| UdpSocket::bind((vm.v4(), 0)))
            .expect("the address is there");
        socket.set_broadcast(true).expect("a socket");
        for _ in 0..DATAGRAMS {
            socket
                .send_to(&[7; 100], ("10.0.0.255", 9))
                .expect("there is room");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    for (vm, before) in host.vms.iter().zip(before) {
        while received(vm) < before + DATAGRAMS {
            assert!(
                Instant::now() < deadline,
                "{}: {} frames",
                vm.name(),
                received(vm) - before
            );
            std::thread::yield_now();
        }
    }
    host.audit();
}
