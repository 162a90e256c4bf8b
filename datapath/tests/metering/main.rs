//! Flows of metered ports: which frames are counted, once each, and what becomes of flows when ports and meters go.

mod sampling;
mod sums;

use std::collections::BTreeMap;
use std::time::Duration;

use weft_datapath::testing::{Rig, access, mac, meter, one_team, port, set_clock};
use weft_datapath::{Config, MeterConfig, PortConfig, PortId, SwitchId, TeamPolicy};
use weft_netflow::{Direction, EndReason, Record};
use weft_packet::{MacAddr, TPID_CTAG};
use weft_vlan::Policy;

const A: PortId = PortId(0);
const B: PortId = PortId(1);
const C: PortId = PortId(2);
const UPLINK: PortId = PortId(3);
const VLAN: u16 = 10;
const MS: u64 = 1_000_000;
const START: u64 = 1_000_000 * MS;

const METER: MeterConfig = meter(1000);

/// A UDP packet over IPv4 from this port, to the address.
fn frame(from: PortId, to: MacAddr, payload: usize) -> Vec<u8> {
    let mut frame = [
        &to.octets()[..],
        &mac(from.0).octets(),
        &[0x08, 0x00, 0x45, 0],
    ]
    .concat();
    frame.extend((28 + payload as u16).to_be_bytes());
    frame.extend([
        0,
        0,
        0,
        0,
        64,
        17,
        0,
        0,
        10,
        0,
        0,
        from.0 as u8,
        10,
        0,
        0,
        99,
    ]);
    frame.extend([4, 0, 0, 9]);
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.resize(42 + payload, 0);
    frame
}

struct Bench {
    rig: Rig,
    now: u64,
    config: Config,
}

impl Bench {
    /// Three VM ports and an uplink, of which these are metered.
    fn new(meter: MeterConfig, metered: &[PortId]) -> Self {
        set_clock(Some(START));
        let mut rig = Rig::new().expect("an eventfd");
        for id in [A, B, C, UPLINK] {
            rig.attach(id, 64).expect("an eventfd");
        }
        let vms = [A, B, C].map(|id| port(id.0, access(VLAN)));
        let ports = vms
            .into_iter()
            .chain([PortConfig::uplink(UPLINK, SwitchId(0))]);
        let mut config = one_team(TeamPolicy::SourceId, ports);
        config.switches[0].meter = Some(meter);
        for port in &mut config.ports {
            port.metered = metered.contains(&port.id);
        }
        let mut bench = Self {
            rig,
            now: START,
            config,
        };
        bench.apply();
        bench
    }

    fn apply(&mut self) {
        self.rig.apply(&self.config);
        self.rig.worker.pass();
    }

    fn set(&mut self, set: impl FnOnce(&mut Config)) {
        set(&mut self.config);
        self.apply();
    }

    fn send(&mut self, from: PortId, frames: &[Vec<u8>]) {
        self.rig.exchange(from, frames);
        self.rig.audit();
    }

    /// Lets time pass as a poll thread does.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.now += 100 * MS;
            set_clock(Some(self.now));
            // So many go at once, and those that are due go on at once.
            (0..10).for_each(|_| self.rig.worker.look_at_flows());
        }
    }

    fn take(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let datapath = &self.rig.datapath;
        // Those of one meter come after those of the meter before it.
        while datapath.take_flows(
            usize::MAX,
            |_| true,
            |_, ended| records.push(ended.record()),
        ) > 0
        {}
        records
    }

    /// Ends all flows and takes what was counted: ingress, egress and direction with packets.
    fn counted(&mut self) -> Vec<(u32, u32, Direction, u64)> {
        self.set(|config| config.switches[0].meter = None);
        self.wait(1000);
        let records = self.take();
        let told = records.iter().map(|record| {
            let flow = &record.flow;
            assert_eq!(record.reason, EndReason::Forced);
            (
                flow.ingress.0,
                flow.egress.0,
                flow.direction,
                record.counts.packets,
            )
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        told
    }
}

/// A port among the interfaces of its exporter.
fn interface(port: PortId) -> u32 {
    u32::from(port.0) + 1
}

#[test]
fn a_frame_is_counted_once_though_both_its_ports_are_metered() {
    let (a, b, c) = (interface(A), interface(B), interface(C));
    let sent = |metered: &[PortId], meter: MeterConfig| {
        let mut bench = Bench::new(meter, metered);
        bench.send(A, &[frame(A, mac(B.0), 10), frame(A, mac(B.0), 20)]);
        bench.send(B, &[frame(B, mac(A.0), 10)]);
        bench.send(C, &[frame(C, mac(B.0), 10)]);
        bench.counted()
    };
    let (enters, leaves) = (Direction::Ingress, Direction::Egress);
    assert_eq!(
        sent(&[A, B], METER),
        [(a, b, enters, 2), (b, a, enters, 1), (c, b, leaves, 1)]
    );
    assert_eq!(sent(&[A], METER), [(a, b, enters, 2), (b, a, leaves, 1)]);
    let ingress = MeterConfig {
        egress: false,
        ..METER
    };
    assert_eq!(sent(&[A], ingress), [(a, b, enters, 2)]);
    let egress = MeterConfig {
        ingress: false,
        ..METER
    };
    assert_eq!(
        sent(&[A, B], egress),
        [(a, b, leaves, 2), (b, a, leaves, 1), (c, b, leaves, 1)]
    );
    assert_eq!(sent(&[], METER), []);
}

#[test]
fn what_goes_to_many_is_counted_once_too() {
    let (a, uplink) = (interface(A), interface(UPLINK));
    let mut bench = Bench::new(METER, &[A, B]);
    bench.send(A, &[frame(A, MacAddr::BROADCAST, 10)]);
    let mut outside = frame(PortId(77), MacAddr::BROADCAST, 10);
    outside.splice(12..12, [0x81, 0, 0, VLAN as u8]);
    bench.send(UPLINK, &[outside]);
    // One that nobody of those who receive it has metered.
    bench.set(|config| config.ports[B.index()].metered = false);
    bench.send(C, &[frame(C, MacAddr::new([2, 0, 0, 0, 0, 99]), 10)]);
    bench.wait(500);
    let expected = [
        (a, 0, Direction::Ingress, 1),
        (uplink, 0, Direction::Egress, 1),
    ];
    assert_eq!(bench.counted(), expected);
}

#[test]
fn only_what_has_a_destination_is_counted_and_copies_are_not() {
    let mut bench = Bench::new(METER, &[A, B, C]);
    bench.set(|config| {
        config.ports[A.index()].forged_transmits = false;
        config.ports[A.index()].mac_changes = false;
        config.ports[C.index()].promiscuous = true;
    });
    let mut forged = frame(A, mac(B.0), 10);
    forged[11] = 0x77;
    let itself = frame(A, mac(A.0), 10);
    bench.send(A, &[forged, itself, frame(A, mac(B.0), 10)]);
    let expected = [(interface(A), interface(B), Direction::Ingress, 1)];
    assert_eq!(bench.counted(), expected);
}

#[test]
fn internal_flows_stay_on_the_host() {
    let meter = MeterConfig {
        internal_only: true,
        ..METER
    };
    let mut bench = Bench::new(meter, &[A, B]);
    let world = MacAddr::new([2, 0, 0, 0, 0, 99]);
    bench.send(
        A,
        &[
            frame(A, world, 10),
            frame(A, MacAddr::BROADCAST, 10),
            frame(A, mac(B.0), 10),
        ],
    );
    let mut outside = frame(PortId(77), mac(A.0), 10);
    outside.splice(12..12, [0x81, 0, 0, VLAN as u8]);
    bench.send(UPLINK, &[outside]);
    let expected = [(interface(A), interface(B), Direction::Ingress, 1)];
    assert_eq!(bench.counted(), expected);
}

#[test]
fn a_record_says_what_the_frame_says() {
    let mut bench = Bench::new(METER, &[A]);
    // TCP over IPv6: its flags are behind what is read of most frames.
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 63];
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    packet.extend([
        0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0, 0, 0, 0, 0, 0,
    ]);
    let mut tagged = frame(PortId(77), mac(A.0), 0);
    tagged.truncate(12);
    tagged.extend(TPID_CTAG.to_be_bytes());
    tagged.extend([0, VLAN as u8, 0x86, 0xdd]);
    tagged.extend(&packet);
    let len = tagged.len() as u64;
    bench.send(UPLINK, &[tagged]);
    bench.wait(16_000);
    let records = bench.take();
    assert_eq!(records.len(), 1);
    let Record {
        flow,
        counts,
        reason,
    } = records[0];
    assert_eq!(reason, EndReason::Idle);
    assert_eq!(
        (flow.vlan, flow.ethertype, flow.protocol),
        (VLAN, 0x86dd, 6)
    );
    assert_eq!((flow.src_port, flow.dst_port), (1000, 80));
    assert_eq!((flow.src_mac, flow.dst_mac), (mac(77), mac(A.0)));
    assert_eq!(
        (counts.packets, counts.octets, counts.layer2_octets),
        (1, 60, len)
    );
    assert_eq!((counts.tcp_flags, counts.min_ttl), (0x12, 63));
    assert_eq!((counts.first, counts.last), (START / MS, START / MS));
}

#[test]
fn what_a_guest_leaves_to_be_cut_counts_as_what_it_becomes() {
    let mut bench = Bench::new(METER, &[A]);
    let mut packet = frame(A, mac(B.0), 0);
    packet.truncate(34);
    packet[16..18].copy_from_slice(&3040u16.to_be_bytes());
    packet[23] = 6;
    packet.extend([
        0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
    ]);
    packet.resize(14 + 3040, 0);
    // Flags: the checksum is to be computed; TCP over IPv4; 54 octets of headers, 1,000 octets each (virtio 1.2 §5.1.6).
    let header = [1, 1, 54, 0, 0xe8, 0x03, 34, 0, 16, 0, 0, 0];
    bench.rig.port(A).send_with(header, &packet);
    bench.send(A, &[]);
    bench.set(|config| config.switches[0].meter = None);
    bench.wait(1000);
    let counts = bench.take()[0].counts;
    assert_eq!((counts.packets, counts.octets), (3, 3 * 40 + 3000));
    assert_eq!(counts.layer2_octets, 3 * 54 + 3000);
}

/// The number of a port that goes is given to the next one at once; its flows are not.
#[test]
fn a_port_leaves_no_flow_to_who_gets_its_number() {
    let mut bench = Bench::new(METER, &[A, B, C]);
    let two = [frame(A, mac(B.0), 10), frame(A, mac(B.0), 10)];
    bench.send(A, &two);
    let removed = bench.config.ports.remove(A.index());
    bench.apply();
    bench.config.ports.insert(0, removed);
    bench.apply();
    bench.send(A, &two[..1]);
    bench.wait(500);
    let ended = bench.take();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (ended[0].counts.packets, ended[0].reason),
        (2, EndReason::Forced)
    );
    let expected = [(interface(A), interface(B), Direction::Ingress, 1)];
    assert_eq!(bench.counted(), expected);
}

#[test]
fn a_port_that_is_attached_anew_ends_its_flows() {
    let mut bench = Bench::new(METER, &[A, B, C]);
    let sent = frame(A, mac(B.0), 10);
    bench.send(A, &[sent.clone(), sent]);
    bench.rig.datapath.detach(A).unwrap();
    bench.wait(1_000);
    let ended = bench.take();
    let of = |record: &Record| (record.counts.packets, record.reason);
    assert_eq!(
        ended.iter().map(of).collect::<Vec<_>>(),
        [(2, EndReason::Forced)]
    );
}

#[test]
fn flows_of_a_port_that_is_not_metered_any_more_end() {
    let mut bench = Bench::new(METER, &[A]);
    bench.send(A, &[frame(A, mac(B.0), 10)]);
    bench.send(C, &[frame(C, mac(A.0), 10)]);
    bench.set(|config| config.ports[A.index()].metered = false);
    bench.send(A, &[frame(A, mac(B.0), 10)]);
    bench.wait(500);
    let ended = bench.take();
    assert_eq!(
        ended
            .iter()
            .map(|record| record.counts.packets)
            .sum::<u64>(),
        2
    );
    assert!(
        ended
            .iter()
            .all(|record| record.reason == EndReason::Forced)
    );
    assert_eq!(bench.counted(), []);
}

#[test]
fn another_size_loses_nothing() {
    let mut bench = Bench::new(METER, &[A]);
    for flows in [5000, 1000, 2000] {
        bench.send(A, &[frame(A, mac(B.0), 10)]);
        bench.set(|config| config.switches[0].meter.as_mut().unwrap().flows = flows);
    }
    bench.send(A, &[frame(A, mac(B.0), 10)]);
    assert!(bench.rig.datapath.meter_status(SwitchId(0)).is_some());
    let packets: u64 = bench.counted().iter().map(|(.., packets)| packets).sum();
    assert_eq!(packets, 4);
    // What a switch has counted stays known, until its number is another's.
    let status = bench.rig.datapath.meter_status(SwitchId(0)).unwrap();
    assert_eq!((status.packets, status.in_use, status.room), (4, 0, 0));
    bench.set(|config| config.switches.clear());
    assert_eq!(bench.rig.datapath.meter_status(SwitchId(0)), None);
}

/// Sends so many flows from A, each one frame, through a table with this room.
fn many_flows(number: u32, room: usize) -> Bench {
    let meter = MeterConfig {
        flows: room,
        ..METER
    };
    let mut bench = Bench::new(meter, &[A]);
    let frames: Vec<_> = (0..number)
        .map(|number| {
            let mut frame = frame(A, mac(B.0), 10);
            frame[30..34].copy_from_slice(&number.to_be_bytes());
            frame
        })
        .collect();
    for burst in frames.chunks(32) {
        bench.send(A, burst);
    }
    bench
}

/// What nobody takes is lost, and counted.
#[test]
fn records_that_find_no_room_are_counted() {
    let mut bench = many_flows(20_000, 1_000);
    bench.wait(100);
    let status = bench.rig.datapath.meter_status(SwitchId(0)).unwrap();
    assert_eq!(status.flows, 20_000);
    assert_eq!(status.evicted, 20_000 - status.in_use);
    assert!(status.evicted > 18_000, "{status:?}");
    let taken = bench.take().len() as u64;
    assert!(taken < status.evicted);
    assert_eq!(taken + status.lost_records, status.evicted);
    assert_eq!(status.lost_octets, 38 * status.lost_packets);
}

#[test]
fn flows_that_end_wait_in_the_table_for_who_takes_their_records() {
    let mut bench = many_flows(40_000, 40_000);
    bench.wait(16_000);
    let mut taken = 0;
    for _ in 0..4 {
        let before = bench.take().len();
        assert!(before > 0, "after {taken}");
        taken += before;
        bench.wait(500);
        if taken == 40_000 {
            break;
        }
    }
    let status = bench.rig.datapath.meter_status(SwitchId(0)).unwrap();
    assert_eq!((taken, status.lost_records, status.in_use), (40_000, 0, 0));
}

#[test]
fn flows_that_go_on_are_shown() {
    let (sender, _events) = crossbeam_channel::bounded(64);
    let options = weft_datapath::Options {
        cores: Vec::new(),
        poll: weft_datapath::PollMode::Adaptive,
    };
    let datapath = weft_datapath::Datapath::start(&options, &sender).unwrap();
    let ports =
        BTreeMap::from([A, B, C].map(|id| (id, datapath.attach_memory(id, 64, true).unwrap())));
    let mut config = one_team(
        TeamPolicy::SourceId,
        [A, B, C].map(|id| PortConfig {
            metered: true,
            ..port(id.0, Policy::External)
        }),
    );
    config.switches[0].meter = Some(METER);
    datapath.apply(&config).unwrap();
    ports[&A].send(&frame(A, mac(B.0), 10));
    ports[&C].send(&frame(C, mac(B.0), 500));
    while ports[&B].drain().is_empty() {}
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let flows = loop {
        let flows = datapath.flows(None, 100);
        if flows.len() == 2 || std::time::Instant::now() > until {
            break flows;
        }
    };
    assert_eq!(flows.len(), 2);
    let of_c = datapath.flows(Some(C), 100);
    assert_eq!(of_c.len(), 1);
    assert_eq!(of_c[0].1.record().flow.ingress.0, interface(C));
    let largest = datapath.flows(None, 1);
    assert_eq!(largest.len(), 1);
    assert_eq!(largest[0].1.octets(), 528);
    // A data path that ends tells what it has counted.
    datapath.end_flows(Duration::from_secs(10), || {});
    let mut packets = 0;
    datapath.take_flows(
        usize::MAX,
        |_| true,
        |_, ended| {
            packets += ended.record().counts.packets;
        },
    );
    assert_eq!(packets, 2);
}

#[test]
fn who_begins_many_flows_lets_the_others_go_first() {
    let mut bench = Bench::new(METER, &[A, B]);
    let waiting = |bench: &Bench| [A, B].map(|port| bench.rig.port(port).waiting());
    for number in 0..64 {
        // Each of A's is of another flow, all of B's are of one.
        let mut scan = frame(A, mac(C.0), 10);
        scan[34] = number;
        bench.rig.port(A).send(&scan);
        bench.rig.port(B).send(&frame(B, mac(C.0), 10));
    }
    assert_eq!(waiting(&bench), [64, 64]);
    bench.rig.worker.pass();
    assert_eq!(waiting(&bench), [32, 32]);
    bench.rig.worker.pass();
    assert_eq!(waiting(&bench), [32, 0]);
    bench.rig.worker.pass();
    assert_eq!(waiting(&bench), [32, 0]);
    bench.rig.worker.pass();
    assert_eq!(waiting(&bench), [0, 0]);
    bench.rig.audit();
}
