//! What a frame costs: parsing, admission, look-up, and the whole way over the memory engine in bursts of 32.
//!
//! Throughput is in frames; with one poll thread the time of a frame is its inverse. Before any forwarding bench is timed,
//! its allocations are counted, and one is too many.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weft_datapath::testing::{
    self, AddressTable, CountingAllocator, Rig, allocations, one_switch, one_team,
};
use weft_datapath::{
    Admission, Beyond, Config, LearningConfig, MeterConfig, PortConfig, PortId, ShapeConfig,
    StaticAddress, SwitchId, TeamPolicy,
};
use weft_packet::{Head, MacAddr};
use weft_vlan::Policy;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const BURST: usize = 32;
const VLAN: u16 = 100;

fn mac(n: u64) -> MacAddr {
    MacAddr::from_bits(0x02_00_00_00_00_00 | n)
}

/// A UDP frame of `len` octets without FCS.
fn frame(dst: MacAddr, src: MacAddr, len: usize) -> Vec<u8> {
    let mut frame = [&dst.octets()[..], &src.octets(), &[0x08, 0x00, 0x45, 0]].concat();
    frame.extend((len as u16 - 14).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([4, 0, 0, 9]);
    frame.extend((len as u16 - 34).to_be_bytes());
    frame.resize(len, 0);
    frame
}

/// The same of IPv6, of 64 octets.
fn frame_v6(dst: MacAddr, src: MacAddr) -> Vec<u8> {
    let mut frame = [
        &dst.octets()[..],
        &src.octets(),
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 10, 17, 64],
    ]
    .concat();
    for host in [1, 2] {
        frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    frame.extend([4, 0, 0, 9, 0, 10, 0, 0, 0, 0]);
    frame
}

fn access() -> Policy {
    testing::access(VLAN)
}

fn port(id: u16) -> PortConfig {
    testing::port(id, access())
}

/// A switch of `ports` ports, of which the first two send each other frames of `len` octets without end, to `macs`
/// addresses each.
fn two_active(ports: u16, macs: u64, len: usize) -> Rig {
    two_active_with(ports, macs, len, |_| {})
}

/// The same with other policies than the default ones.
fn two_active_with(ports: u16, macs: u64, len: usize, set: impl Fn(&mut [PortConfig])) -> Rig {
    two_active_in(ports, [macs; 2], len, |config| set(&mut config.ports))
}

/// The same in any other configuration, where each of the two sends to so many addresses.
fn two_active_in(ports: u16, macs: [u64; 2], len: usize, set: impl Fn(&mut Config)) -> Rig {
    let mut rig = Rig::new().expect("an eventfd");
    let address = |side: u64, n: u64| {
        if n == 0 {
            mac(side)
        } else {
            mac(0x10_0000 * (side + 1) + n)
        }
    };
    for (side, macs) in (0..).zip(macs) {
        // Addresses in a stride that the hardware prefetcher cannot follow.
        let destinations = (0..macs.max(BURST as u64))
            .map(|n| address(1 - side, n * 7919 % macs))
            .collect();
        let frame = frame(mac(1 - side), mac(side), len);
        rig.attach_replay(PortId(side as u16), &frame, destinations);
    }
    for id in 2..ports {
        rig.attach_replay(PortId(id), &frame(mac(0), mac(u64::from(id)), len), vec![]);
    }
    let more = |side: u64| {
        (1..macs[1 - side as usize]).map(move |n| StaticAddress {
            vlan: VLAN,
            mac: address(side, n),
            port: PortId(side as u16),
        })
    };
    let ports: Vec<_> = (0..ports).map(port).collect();
    let mut config = switch(more(0).chain(more(1)).collect(), ports);
    set(&mut config);
    rig.apply(&config);
    rig
}

/// One switch with these ports.
fn switch(static_addresses: Vec<StaticAddress>, ports: Vec<PortConfig>) -> Config {
    let mut config = one_switch(ports);
    config.switches[0].static_addresses = static_addresses;
    config
}

/// Runs passes until at least `frames` were forwarded.
fn forward(rig: &mut Rig, frames: u64) {
    let mut forwarded = 0;
    while forwarded < frames {
        forwarded += rig.worker.pass() as u64;
    }
}

fn bench_forward(criterion: &mut Criterion, group: &str, cases: &[(u16, u64, usize)]) {
    let mut group = criterion.benchmark_group(group);
    // Both ports' bursts.
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    for &(ports, macs, len) in cases {
        let mut rig = two_active(ports, macs, len);
        // Idle ports come to rest.
        forward(&mut rig, 200_000);
        let before = allocations();
        forward(&mut rig, 100_000);
        assert_eq!(allocations() - before, 0, "forwarding allocates");
        let id = BenchmarkId::from_parameter(format!("{len}B/{ports}ports/{macs}macs"));
        group.bench_function(id, |bencher| bencher.iter(|| forward(&mut rig, batch)));
        rig.audit();
    }
    group.finish();
}

fn forwarding(criterion: &mut Criterion) {
    bench_forward(
        criterion,
        "forward",
        &[
            (2, 1, 64),
            (100, 1, 64),
            (4096, 1, 64),
            (2, 50_000, 64),
            (2, 1, 1500),
            (4096, 1, 1500),
        ],
    );
}

/// What each policy costs the frames of two ports, and what it costs them while it is off or concerns others.
fn policies(criterion: &mut Criterion) {
    type Set = fn(&mut [PortConfig]);
    let other = || testing::access(VLAN + 1);
    let cases: [(&str, Set); 8] = [
        ("defaults", |_| {}),
        ("forged transmits reject", |ports| {
            ports
                .iter_mut()
                .for_each(|port| port.forged_transmits = false);
        }),
        ("MAC changes reject", |ports| {
            ports.iter_mut().for_each(|port| port.mac_changes = false);
        }),
        ("no VLAN", |ports| {
            ports
                .iter_mut()
                .for_each(|port| port.vlan = Policy::External);
        }),
        ("VLAN 4095", |ports| {
            ports
                .iter_mut()
                .for_each(|port| port.vlan = Policy::trunk_all());
        }),
        ("a blocked neighbour", |ports| {
            ports[2].admission = Admission::Blocked;
        }),
        ("promiscuous in another VLAN", |ports| {
            ports[2].promiscuous = true;
        }),
        ("promiscuous in the same VLAN", |ports| {
            ports[2].promiscuous = true;
            ports[2].vlan = access();
        }),
    ];
    let mut group = criterion.benchmark_group("policies");
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    for (name, set) in cases {
        let mut rig = two_active_with(3, 1, 64, |ports| {
            ports[2].vlan = other();
            set(ports);
        });
        forward(&mut rig, 200_000);
        group.bench_function(name, |bencher| bencher.iter(|| forward(&mut rig, batch)));
        rig.audit();
    }
    group.finish();
}

/// What limits cost that are never reached.
fn shaping(criterion: &mut Criterion) {
    type Set = fn(&mut PortConfig);
    const WIDE: Option<ShapeConfig> = Some(ShapeConfig {
        average: 100_000_000_000_000,
        peak: 200_000_000_000_000,
        burst: 1_000_000_000_000,
    });
    let cases: [(&str, Set); 4] = [
        ("none", |_| {}),
        ("in", |port| port.shape_in = WIDE),
        ("out", |port| port.shape_out = WIDE),
        ("in and out", |port| {
            (port.shape_in, port.shape_out) = (WIDE, WIDE);
        }),
    ];
    let mut group = criterion.benchmark_group("shaping");
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    for len in [64, 1500] {
        for (name, set) in cases {
            let mut rig = two_active_with(2, 1, len, |ports| ports.iter_mut().for_each(set));
            forward(&mut rig, 200_000);
            let before = allocations();
            forward(&mut rig, 100_000);
            assert_eq!(allocations() - before, 0, "forwarding allocates");
            let id = BenchmarkId::new(name, format!("{len}B"));
            group.bench_function(id, |bencher| bencher.iter(|| forward(&mut rig, batch)));
            rig.audit();
        }
    }
    group.finish();
}

/// What it costs to count flows: all frames of one switch are in so many.
fn metering(criterion: &mut Criterion) {
    let meter = |flows, sampling| MeterConfig {
        sampling,
        ..testing::meter(flows)
    };
    // A switch with a meter of which these ports have no part, then every packet, then one in a hundred.
    let cases = [
        ("off", None, true),
        ("others", Some(1), false),
        ("on", Some(1), true),
        ("sampled", Some(100), true),
    ];
    let mut group = criterion.benchmark_group("meter");
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    // So many, in a table of the usual size, and of one for as many.
    for (flows, room) in [(2, 65_536), (10_000, 65_536), (1_000_000, 1_200_000)] {
        for (name, sampling, metered) in cases {
            let mut rig = two_active_in(2, [flows / 2; 2], 64, |config| {
                config.switches[0].meter = sampling.map(|sampling| meter(room, sampling));
                for port in &mut config.ports {
                    port.metered = metered;
                }
            });
            forward(&mut rig, 4_000_000);
            let before = allocations();
            forward(&mut rig, 100_000);
            assert_eq!(allocations() - before, 0, "forwarding allocates");
            let id = BenchmarkId::new(name, flows);
            group.bench_function(id, |bencher| bencher.iter(|| forward(&mut rig, batch)));
            rig.audit();
        }
    }
    // One flow of packets that take longer to read.
    let tag = |frame: Vec<u8>| [&frame[..12], &[0x81, 0, 0, VLAN as u8], &frame[12..]].concat();
    type Kind<'a> = (&'a str, Policy, &'a dyn Fn(MacAddr, MacAddr) -> Vec<u8>);
    let kinds: [Kind<'_>; 3] = [
        ("untagged", access(), &|dst, src| frame(dst, src, 64)),
        ("tagged", Policy::trunk_all(), &|dst, src| {
            tag(frame(dst, src, 60))
        }),
        ("IPv6", access(), &frame_v6),
    ];
    for (kind, policy, frame) in &kinds {
        for (name, sampling) in [("off", None), ("on", Some(1))] {
            let mut rig = Rig::new().expect("an eventfd");
            for side in 0..2 {
                let (dst, src) = (mac(1 - side), mac(side));
                rig.attach_replay(PortId(side as u16), &frame(dst, src), vec![dst; BURST]);
            }
            let ports = (0..2).map(|id| testing::port(id, policy.clone()));
            let mut config = switch(vec![], ports.collect());
            config.switches[0].meter = sampling.map(|sampling| meter(65_536, sampling));
            config.ports.iter_mut().for_each(|port| port.metered = true);
            rig.apply(&config);
            forward(&mut rig, 1_000_000);
            let id = BenchmarkId::new(format!("{kind}, {name}"), 1);
            group.bench_function(id, |bencher| bencher.iter(|| forward(&mut rig, batch)));
            rig.audit();
        }
    }
    // What six bursts of one flow take beside a port that sends as much as it is let: always of another flow, or of one.
    let scans = [
        ("scan, off", None, 1_000_000),
        ("scan, on", Some(1), 1_000_000),
        ("one flow, on", Some(1), 1),
    ];
    for (name, sampling, flows) in scans {
        let mut rig = two_active_in(2, [flows, 1], 64, |config| {
            config.switches[0].meter = sampling.map(|sampling| meter(65_536, sampling));
            config.ports.iter_mut().for_each(|port| port.metered = true);
        });
        forward(&mut rig, 4_000_000);
        group.bench_function(BenchmarkId::new("beside", name), |bencher| {
            bencher.iter(|| (0..6).for_each(|_| _ = rig.worker.pass()));
        });
        rig.audit();
    }
    group.finish();
}

/// Two VMs that send to the world without end, behind so many uplinks, of which each VM has one; `inbound`: the world sends to
/// one of them by its uplink instead.
fn towards_the_world(uplinks: u16, policy: TeamPolicy, inbound: bool) -> Rig {
    const FIRST: u16 = 10;
    let mut rig = Rig::new().expect("an eventfd");
    let strangers = vec![mac(99); BURST];
    for vm in 0..2 {
        let destinations = if inbound { vec![] } else { strangers.clone() };
        rig.attach_replay(
            PortId(vm),
            &frame(mac(99), mac(vm.into()), 64),
            destinations,
        );
    }
    let numbers = FIRST..FIRST + uplinks;
    for uplink in numbers.clone() {
        let tagged = frame(mac(0), mac(99), 64);
        let tagged = [&tagged[..12], &[0x81, 0, 0, VLAN as u8], &tagged[12..]].concat();
        // The first VM has the first one.
        let sends = inbound && uplink == FIRST;
        let destinations = if sends { vec![mac(0)] } else { vec![] };
        rig.attach_replay(PortId(uplink), &tagged, destinations);
    }
    let vms = (0..2).map(port);
    let uplinks = numbers.map(|id| PortConfig::uplink(PortId(id), SwitchId(0)));
    rig.apply(&one_team(policy, vms.chain(uplinks)));
    rig
}

/// What several uplinks cost a frame that leaves the host, or comes in.
fn uplinks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("uplinks");
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    let cases = [
        ("out, one", 1, TeamPolicy::SourceId, false),
        ("out, four by srcid", 4, TeamPolicy::SourceId, false),
        ("out, four by srcmac", 4, TeamPolicy::SourceMac, false),
        ("out, four by iphash", 4, TeamPolicy::IpHash, false),
        ("in, one", 1, TeamPolicy::SourceId, true),
        ("in, four by srcid", 4, TeamPolicy::SourceId, true),
    ];
    for (name, number, policy, inbound) in cases {
        let mut rig = towards_the_world(number, policy, inbound);
        forward(&mut rig, 200_000);
        let before = allocations();
        forward(&mut rig, 100_000);
        assert_eq!(allocations() - before, 0, "forwarding allocates");
        group.bench_function(name, |bencher| bencher.iter(|| forward(&mut rig, batch)));
        rig.audit();
    }
    group.finish();
}

/// What it costs that the source of a frame, or its destination too, is known from learning and not from configuration.
fn learning(criterion: &mut Criterion) {
    // Ports that learn, addresses behind each of the two, and whether these are destinations too.
    let cases: [(&str, usize, u64, bool); 7] = [
        ("own source", 0, 0, false),
        ("own source, a neighbour learns", 1, 0, false),
        ("own source on ports that learn", 3, 0, false),
        ("1 learned source", 3, 1, false),
        ("4000 learned sources", 3, 4000, false),
        ("1 learned source and destination", 3, 1, true),
        ("4000 learned sources and destinations", 3, 4000, true),
    ];
    let behind = |side: u64, n: u64| mac(0x10_0000 * (side + 1) + n);
    let mut group = criterion.benchmark_group("learning");
    let batch = 2 * BURST as u64;
    group.throughput(Throughput::Elements(batch));
    for (name, learn, macs, both) in cases {
        let mut rig = Rig::new().expect("an eventfd");
        for side in 0..2 {
            // Addresses in a stride that the hardware prefetcher cannot follow, and not in the order of the other side.
            let addresses = |of: u64, stride: u64| {
                let numbers = (0..macs.max(BURST as u64)).map(|n| n * stride % macs.max(1));
                let address = |n| if macs == 0 { mac(of) } else { behind(of, n) };
                numbers.map(address).collect::<Vec<_>>()
            };
            let destinations = if both {
                addresses(1 - side, 3571)
            } else {
                vec![mac(1 - side); BURST]
            };
            let frame = frame(mac(1 - side), mac(side), 64);
            let (port, sources) = (PortId(side as u16), addresses(side, 7919));
            rig.attach_replay_from(port, &frame, destinations, sources);
        }
        rig.attach_replay(PortId(2), &frame(mac(0), mac(2), 64), vec![]);
        let mut ports: Vec<_> = (0..3).map(port).collect();
        for port in ports.iter_mut().rev().take(learn) {
            port.learning = Some(LearningConfig {
                limit: 4096,
                beyond: Beyond::Drop,
                flood: false,
                age: Duration::from_secs(300),
            });
        }
        rig.apply(&switch(vec![], ports));
        forward(&mut rig, 200_000);
        let learned = (0..2).map(|port| rig.datapath.learned_count(PortId(port)) as u64);
        assert_eq!(learned.sum::<u64>(), 2 * macs);
        let before = allocations();
        forward(&mut rig, 100_000);
        assert_eq!(allocations() - before, 0, "learning allocates");
        group.bench_function(name, |bencher| bencher.iter(|| forward(&mut rig, batch)));
        rig.audit();
    }
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    let untagged = frame(mac(1), mac(2), 64);
    let tagged = [&untagged[..12], &[0x81, 0, 0, 100], &untagged[12..]].concat();
    for (name, bytes) in [("untagged", untagged), ("tagged", tagged)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Head::parse(black_box(&bytes[..64]), black_box(64)));
        });
    }
    group.finish();
}

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    group.throughput(Throughput::Elements(1));
    let head = Head::parse(&frame(mac(1), mac(2), 64), 64).expect("a whole frame");
    for (name, policy) in [
        ("external", Policy::External),
        ("access", access()),
        ("trunk", Policy::trunk_all()),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| weft_vlan::admit(black_box(&policy), black_box(&head)));
        });
    }
    group.finish();
}

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(1));
    for size in [1u64, 100, 4096, 100_000] {
        let table = AddressTable::new((0..size).map(|n| (VLAN, mac(n), PortId(n as u16))));
        let mut n = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                n = (n + 7919) % size;
                table.find(VLAN, mac(black_box(n)))
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches, parsing, admission, look_up, forwarding, policies, shaping, metering, uplinks,
    learning
);
criterion_main!(benches);
