//! Whatever is sent when, and whatever changes meanwhile: what records sum up to is what was sent while it was metered.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use weft_netflow::{Addresses, Flow, Interface};

use super::*;

/// VM ports, of which the last one sends and receives tags, and the uplink, which does too.
const PORTS: [PortId; 4] = [A, B, C, UPLINK];
const TAGGED: [PortId; 2] = [C, UPLINK];

/// Whose address no port has.
const WORLD: u16 = 99;

/// What a frame is, but for its ports.
#[derive(Clone, Debug)]
struct Shape {
    is_v6: bool,
    /// Those of TCP; none of UDP.
    flags: Option<u8>,
    number: u8,
    payload: usize,
    /// How much of the payload goes with one segment of TCP.
    cut: Option<u16>,
}

impl Shape {
    fn headers(&self) -> usize {
        (if self.is_v6 { 40 } else { 20 }) + if self.flags.is_some() { 20 } else { 8 }
    }

    /// The frame between these addresses, with a tag or without.
    fn frame(&self, from: MacAddr, to: MacAddr, is_tagged: bool) -> Vec<u8> {
        let mut frame = [to.octets(), from.octets()].concat();
        if is_tagged {
            frame.extend([0x81, 0, 0, VLAN as u8]);
        }
        let len = (self.headers() + self.payload) as u16;
        let protocol = if self.flags.is_some() { 6 } else { 17 };
        if self.is_v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((len - 40).to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend([[0xfd; 16], [0xfe; 16]].concat());
        } else {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend([4, 0, 0, self.number]);
        match self.flags {
            Some(flags) => {
                frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 0, 0, 0, 0, 0]);
            }
            None => {
                frame.extend((8 + self.payload as u16).to_be_bytes());
                frame.extend([0, 0]);
            }
        }
        frame.resize(frame.len() + self.payload, 0);
        frame
    }

    /// What a guest says of a frame that is to be cut (virtio 1.2 §5.1.6).
    fn vnet_header(&self, is_tagged: bool) -> Option<[u8; 12]> {
        let cut = self.cut?;
        let link = if is_tagged { 18 } else { 14 };
        let [headers, start] = [self.headers(), self.headers() - 20].map(|len| (link + len) as u8);
        let [low, high] = cut.to_le_bytes();
        let kind = if self.is_v6 { 4 } else { 1 };
        Some([1, kind, headers, 0, low, high, start, 0, 16, 0, 0, 0])
    }

    fn flow(&self, from: MacAddr, to: MacAddr) -> Flow {
        let addresses = if self.is_v6 {
            Addresses::V6([0xfd; 16].into(), [0xfe; 16].into())
        } else {
            Addresses::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        };
        Flow {
            ingress: Interface(0),
            egress: Interface(0),
            direction: Direction::Ingress,
            vlan: VLAN,
            src_mac: from,
            dst_mac: to,
            ethertype: if self.is_v6 { 0x86dd } else { 0x0800 },
            addresses,
            protocol: if self.flags.is_some() { 6 } else { 17 },
            tos: 0,
            src_port: 0x400,
            dst_port: self.number.into(),
        }
    }

    /// Packets, octets, and octets of frames.
    fn counts(&self, is_tagged: bool) -> [u64; 3] {
        let (headers, payload) = (self.headers() as u64, self.payload as u64);
        let packets = self.cut.map_or(1, |cut| payload.div_ceil(cut.into()));
        let octets = packets * headers + payload;
        let link = if is_tagged { 18 } else { 14 };
        [packets, octets, octets + packets * link]
    }
}

/// What happens on a switch with a meter.
#[derive(Clone, Debug)]
enum Step {
    /// Frames from a port, to a port, to no port that there is, or to all; each so many times, in turn.
    Send(usize, Vec<(To, Shape)>, usize),
    Wait(u64),
    /// A port has its flows counted from now on, or does not.
    Metered(usize, bool),
    /// A port goes, or one with its number comes.
    Port(usize, bool),
    /// The meter goes, or has room for so many flows, one packet in so many, and an idle timeout (s).
    Meter(Option<(usize, u32, u64)>),
}

#[derive(Clone, Copy, Debug)]
enum To {
    Port(usize),
    World,
    All,
}

fn shape() -> impl Strategy<Value = Shape> {
    let flags = prop::option::of(select(vec![0x02u8, 0x10, 0x18, 0x11, 0x04]));
    let cut = prop::option::weighted(0.3, 500..1_500u16);
    (any::<bool>(), flags, 0..12u8, 0..100usize, cut).prop_map(
        |(is_v6, flags, number, payload, cut)| Shape {
            is_v6,
            flags,
            number,
            // Three segments at most.
            payload: cut.map_or(payload, |_| 1 + 14 * payload),
            cut: cut.filter(|_| flags.is_some()),
        },
    )
}

fn step(sampling: Vec<u32>) -> impl Strategy<Value = Step> {
    let to =
        prop_oneof![6 => (0..3usize).prop_map(To::Port), 1 => Just(To::World), 2 => Just(To::All)];
    let meter = (1..40usize, select(sampling), 1..4u64);
    prop_oneof![
        12 => (0..4usize, prop::collection::vec((to, shape()), 1..5), 1..8usize)
            .prop_map(|(from, frames, times)| Step::Send(from, frames, times)),
        4 => (1..3_000u64).prop_map(Step::Wait),
        2 => (0..4usize, any::<bool>()).prop_map(|(port, on)| Step::Metered(port, on)),
        2 => (0..3usize, any::<bool>()).prop_map(|(port, on)| Step::Port(port, on)),
        1 => prop::option::weighted(0.8, meter).prop_map(Step::Meter),
    ]
}

/// What of a switch is never changed.
#[derive(Clone, Copy, Debug)]
struct Kind {
    ingress: bool,
    egress: bool,
    internal_only: bool,
}

impl Kind {
    /// `idle`: s.
    fn meter(&self, flows: usize, sampling: u32, idle: u64) -> MeterConfig {
        MeterConfig {
            flows,
            sampling,
            active: Duration::from_secs(2),
            idle: Duration::from_secs(idle),
            ingress: self.ingress,
            egress: self.egress,
            internal_only: self.internal_only,
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    any::<[bool; 3]>().prop_map(|[ingress, egress, internal_only]| Kind {
        ingress,
        egress,
        internal_only,
    })
}

type Sums = BTreeMap<Flow, [u64; 3]>;

fn add(sums: &mut Sums, flow: Flow, counts: [u64; 3]) {
    let sum = sums.entry(flow).or_default();
    sum.iter_mut()
        .zip(counts)
        .for_each(|(sum, count)| *sum += count);
}

struct Run {
    bench: Bench,
    kind: Kind,
    /// Ports as they are where they are there.
    ports: Vec<PortConfig>,
    is_there: [bool; 4],
    sent: Sums,
    counted: Sums,
}

impl Run {
    fn new(kind: Kind, flows: usize, sampling: u32) -> Self {
        let meter = kind.meter(flows, sampling, 1);
        let mut bench = Bench::new(meter, &[A]);
        bench.set(|config| config.ports[C.index()].vlan = Policy::trunk_all());
        Self {
            ports: bench.config.ports.clone(),
            bench,
            kind,
            is_there: [true; 4],
            sent: Sums::new(),
            counted: Sums::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(from, frames, times) => self.send(*from, frames, *times),
            Step::Wait(ms) => self.bench.wait(*ms),
            Step::Metered(port, on) => {
                self.ports[*port].metered = *on;
                self.apply_ports();
            }
            Step::Port(port, on) => {
                self.is_there[*port] = *on;
                self.apply_ports();
            }
            Step::Meter(meter) => {
                let meter =
                    meter.map(|(flows, sampling, idle)| self.kind.meter(flows, sampling, idle));
                self.bench.set(|config| config.switches[0].meter = meter);
            }
        }
        self.take();
    }

    fn apply_ports(&mut self) {
        let there = self.ports.iter().zip(self.is_there);
        let there = there.filter(|(_, is_there)| *is_there);
        let there: Vec<_> = there.map(|(port, _)| port.clone()).collect();
        self.bench.set(|config| config.ports = there);
    }

    fn send(&mut self, from: usize, frames: &[(To, Shape)], times: usize) {
        if !self.is_there[from] {
            return;
        }
        let source = mac(if PORTS[from] == UPLINK {
            77
        } else {
            PORTS[from].0
        });
        let is_tagged = TAGGED.contains(&PORTS[from]);
        let port = self.bench.rig.port(PORTS[from]);
        for (to, shape) in std::iter::repeat_n(frames, times).flatten() {
            let destination = match to {
                To::Port(port) => mac(PORTS[*port].0),
                To::World => mac(WORLD),
                To::All => MacAddr::BROADCAST,
            };
            let frame = shape.frame(source, destination, is_tagged);
            match shape.vnet_header(is_tagged) {
                Some(header) => port.send_with(header, &frame),
                None => port.send(&frame),
            }
            let reached = self.reached(from, *to);
            if let Some((egress, direction)) = self.is_counted(from, &reached) {
                let flow = Flow {
                    ingress: Interface(interface(PORTS[from])),
                    egress,
                    direction,
                    ..shape.flow(source, destination)
                };
                add(&mut self.sent, flow, shape.counts(is_tagged));
            }
        }
        self.bench.send(PORTS[from], &[]);
    }

    /// The ports that a frame is delivered to.
    fn reached(&self, from: usize, to: To) -> BTreeSet<usize> {
        let others = (0..4).filter(|&port| self.is_there[port] && port != from);
        let uplink = 3;
        let is_there = |port: usize| self.is_there[port];
        match to {
            To::All => others.collect(),
            To::Port(port) if is_there(port) => others.filter(|&other| other == port).collect(),
            // A stranger is outside, for those that are inside.
            To::Port(_) | To::World => others.filter(|&other| other == uplink).collect(),
        }
    }

    /// Where a frame is counted to leave, and how it passes the port that has it counted, if one does.
    fn is_counted(&self, from: usize, reached: &BTreeSet<usize>) -> Option<(Interface, Direction)> {
        let Kind {
            ingress,
            egress,
            internal_only,
        } = self.kind;
        self.bench.config.switches[0].meter?;
        let uplink = 3;
        let is_outside = from == uplink || reached.contains(&uplink);
        if reached.is_empty() || internal_only && is_outside {
            return None;
        }
        let metered = |port: &usize| self.ports[*port].metered;
        let direction = if ingress && metered(&from) {
            Direction::Ingress
        } else if egress && reached.iter().any(metered) {
            Direction::Egress
        } else {
            return None;
        };
        let leaves = match reached.first() {
            Some(&only) if reached.len() == 1 => interface(PORTS[only]),
            _ => 0,
        };
        Some((Interface(leaves), direction))
    }

    fn take(&mut self) {
        for record in self.bench.take() {
            let counts = &record.counts;
            assert!(
                counts.packets > 0 && counts.first <= counts.last,
                "{record:?}"
            );
            let counts = [counts.packets, counts.octets, counts.layer2_octets];
            add(&mut self.counted, record.flow, counts);
        }
    }

    /// Has all flows told that are left.
    fn end(&mut self) {
        self.bench.set(|config| config.switches[0].meter = None);
        self.bench.wait(1_000);
        self.take();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn records_sum_up_to_the_frames_that_were_metered(
        kind in kind(),
        flows in 1..40usize,
        steps in prop::collection::vec(step(vec![0, 1]), 1..60),
    ) {
        let mut run = Run::new(kind, flows, 0);
        steps.iter().for_each(|step| run.step(step));
        run.end();
        prop_assert_eq!(run.counted, run.sent);
    }

    /// With sampling too, now and then, no flow has more than was sent of it.
    #[test]
    fn records_never_sum_up_to_more_than_was_sent(
        kind in kind(),
        flows in 1..40usize,
        steps in prop::collection::vec(step(vec![0, 2, 10]), 1..60),
    ) {
        let mut run = Run::new(kind, flows, 2);
        steps.iter().for_each(|step| run.step(step));
        run.end();
        for (flow, counted) in run.counted {
            let sent = run.sent.get(&flow).copied().unwrap_or_default();
            let is_less = counted.iter().zip(sent).all(|(counted, sent)| *counted <= sent);
            prop_assert!(is_less, "{counted:?} of {sent:?}: {flow:?}");
        }
    }
}
