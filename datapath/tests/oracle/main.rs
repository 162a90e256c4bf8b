//! The packet path against the reference switch: random configurations, changes and frames must give the same copies, byte
//! for byte, the same drops by reason, and balanced counters after every step.

mod traces;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use weft_datapath::testing::{ReferenceSwitch, Rig};
use weft_datapath::{
    Admission, Config, DropReason, Event, PortConfig, PortId, Role, StaticAddress, SwitchConfig,
    SwitchId,
};
use weft_packet::MacAddr;
use weft_vlan::{Policy, VlanId, VlanSet};

const PORTS: u16 = 7;

/// A port's receive queue; small enough that floods fill it.
const DEPTH: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Send { port: u16, frames: Vec<Vec<u8>> },
    Adopt { port: u16, mac: MacAddr },
    Apply(Config),
}

fn mac(n: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, n])
}

fn policy() -> impl Strategy<Value = Policy> {
    let ranges: VlanSet = "0-2,4".parse().expect("a valid list");
    let tail: VlanSet = "3,100-4094".parse().expect("a valid list");
    prop_oneof![
        2 => Just(Policy::External),
        4 => (1u16..4).prop_map(|id| Policy::Access(VlanId::new(id).expect("1-3 is a VLAN"))),
        3 => Just(Policy::trunk_all()),
        1 => Just(Policy::Trunk(ranges.into())),
        1 => Just(Policy::Trunk(tail.into())),
    ]
}

prop_compose! {
    fn port(id: u16)(
        switch in prop_oneof![4 => Just(0u16), 1 => Just(1u16)],
        admission in prop_oneof![8 => Just(Admission::Open), 1 => Just(Admission::Down), 1 => Just(Admission::Blocked)],
        vlan in policy(),
        address in option::weighted(0.6, 0u8..4),
        promiscuous in prop::bool::weighted(0.3),
        mac_changes: bool,
        forged_transmits: bool,
        mtu in prop_oneof![Just(1280u16), Just(1500u16)],
    ) -> PortConfig {
        PortConfig {
            admission,
            // Four addresses per port, of which the ports share one, so that they meet on different VLANs.
            mac: address.map(|n| if n == 0 { mac(0) } else { mac(id as u8 * 4 + n) }),
            promiscuous,
            mac_changes,
            forged_transmits,
            mtu,
            ..PortConfig::vm(PortId(id), SwitchId(switch), vlan)
        }
    }
}

/// Any configuration that the control side would let pass: no address twice on one VLAN of a switch.
fn config() -> impl Strategy<Value = Config> {
    let ports = (0..PORTS).map(port).collect::<Vec<_>>();
    let entries = vec((0u16..5, 0u8..PORTS as u8 * 4, 0..PORTS), 0..4);
    let present = vec(any::<bool>(), usize::from(PORTS));
    (ports, 0u8..4, present, entries).prop_map(|(mut ports, uplink, present, entries)| {
        if uplink < 2 {
            let last = ports.len() - 1;
            ports[last].role = Role::Uplink;
            ports[last].vlan = Policy::trunk_all();
            ports[last].mac = None;
            ports[last].promiscuous = false;
        }
        let mut kept: Vec<PortConfig> = Vec::new();
        for (mut port, present) in ports.into_iter().zip(present) {
            let overlaps = |other: &PortConfig| {
                other.switch == port.switch
                    && other.mac.is_some()
                    && other.mac == port.mac
                    && (0..4095).any(|vlan| other.vlan.admits(vlan) && port.vlan.admits(vlan))
                    || matches!(
                        (&other.vlan, &port.vlan),
                        (Policy::Trunk(_), Policy::Trunk(_))
                    ) && other.mac == port.mac
            };
            if kept.iter().any(overlaps) {
                port.mac = None;
            }
            if present || kept.len() < 3 {
                kept.push(port);
            }
        }
        let static_addresses = entries
            .into_iter()
            .map(|(vlan, n, port)| StaticAddress {
                vlan,
                mac: mac(n),
                port: PortId(port),
            })
            .collect();
        let switches = vec![
            SwitchConfig {
                id: SwitchId(0),
                static_addresses,
            },
            SwitchConfig {
                id: SwitchId(1),
                static_addresses: vec![],
            },
        ];
        Config {
            switches,
            teams: Vec::new(),
            ports: kept,
        }
    })
}

fn address() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        6 => (0u8..PORTS as u8 * 4).prop_map(mac),
        1 => Just(mac(0)),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(MacAddr::new([1, 0, 0x5e, 0, 0, 1])),
        1 => Just(MacAddr::new([0; 6])),
    ]
}

fn tag() -> impl Strategy<Value = [u8; 4]> {
    let vid = prop_oneof![2 => Just(0u16), 6 => 1u16..5, 1 => Just(4094u16), 1 => Just(4095u16)];
    (
        prop_oneof![4 => Just(0x8100u16), 1 => Just(0x88a8u16), 1 => Just(0x9100u16)],
        vid,
        0u16..16,
    )
        .prop_map(|(tpid, vid, priority)| {
            let [a, b] = tpid.to_be_bytes();
            let [c, d] = (priority << 12 | vid).to_be_bytes();
            [a, b, c, d]
        })
}

prop_compose! {
    fn frame()(
        dst in address(),
        src in address(),
        tags in prop_oneof![5 => Just(vec![]), 5 => vec(tag(), 1), 2 => vec(tag(), 2..4)],
        payload in prop_oneof![
            8 => vec(any::<u8>(), 0..100),
            1 => vec(any::<u8>(), 1276..1284),
            1 => vec(any::<u8>(), 1496..1504),
        ],
        cut in option::weighted(0.1, 0usize..40),
    ) -> Vec<u8> {
        // 0x88b5 is for experiments (IEEE 802): nothing looks behind it.
        let mut frame = [&dst.octets()[..], &src.octets(), &tags.concat(), &[0x88, 0xb5], &payload].concat();
        frame.truncate(cut.unwrap_or(frame.len()));
        frame
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..PORTS, vec(frame(), 1..40)).prop_map(|(port, frames)| Step::Send { port, frames }),
        1 => (0..PORTS, (0u8..PORTS as u8 * 4).prop_map(mac)).prop_map(|(port, mac)| Step::Adopt { port, mac }),
        2 => config().prop_map(Step::Apply),
    ]
}

/// What the reference expects of one step: frames and drops by port.
#[derive(Default)]
struct Expected {
    copies: BTreeMap<PortId, Vec<Vec<u8>>>,
    rx_drops: BTreeMap<DropReason, u64>,
    tx_drops: BTreeMap<(PortId, DropReason), u64>,
}

fn expect(reference: &mut ReferenceSwitch, port: PortId, frames: &[Vec<u8>]) -> Expected {
    let mut expected = Expected::default();
    for frame in frames {
        let outcome = reference.forward(port, frame);
        for (to, copy) in outcome.copies {
            let queue = expected.copies.entry(to).or_default();
            if queue.len() < DEPTH {
                queue.push(copy);
            } else {
                *expected
                    .tx_drops
                    .entry((to, DropReason::RingFull))
                    .or_default() += 1;
            }
        }
        for (to, reason) in outcome.refused {
            *expected.tx_drops.entry((to, reason)).or_default() += 1;
        }
        if let Some(reason) = outcome.dropped {
            *expected.rx_drops.entry(reason).or_default() += 1;
        }
    }
    expected
}

/// Counts by port and reason.
type Drops = BTreeMap<(PortId, DropReason), u64>;

/// Drops of every port so far: of frames that it sent, and of copies meant for it.
fn drops(rig: &Rig) -> (Drops, Drops) {
    let mut all = (BTreeMap::new(), BTreeMap::new());
    for id in (0..PORTS).map(PortId) {
        let counters = rig.datapath.counters(id).unwrap_or_default();
        for &reason in DropReason::ALL {
            all.0
                .insert((id, reason), counters.rx_drops[reason as usize]);
            all.1
                .insert((id, reason), counters.tx_drops[reason as usize]);
        }
    }
    all
}

/// A port sends `frames` behind those that `wait` there already.
fn exchange(
    rig: &mut Rig,
    reference: &mut ReferenceSwitch,
    port: PortId,
    wait: &[Vec<u8>],
    frames: &[Vec<u8>],
) {
    traces::check(rig, reference, port, frames);
    let before = drops(rig);
    let expected = expect(reference, port, &[wait, frames].concat());
    let got = rig.exchange(port, frames);
    assert_eq!(got, expected.copies, "copies of what {port} sent");
    let after = drops(rig);
    for (key, count) in after.0 {
        let wanted = if key.0 == port {
            expected.rx_drops.get(&key.1)
        } else {
            None
        };
        assert_eq!(
            count - before.0[&key],
            wanted.copied().unwrap_or(0),
            "frames dropped: {key:?}"
        );
    }
    for (key, count) in after.1 {
        let wanted = expected.tx_drops.get(&key).copied().unwrap_or(0);
        assert_eq!(count - before.1[&key], wanted, "copies dropped: {key:?}");
    }
    rig.audit();
}

/// Frames of a port that is in no configuration; of one port at a time, since whose come first is nobody's promise.
#[derive(Default)]
struct Waiting {
    port: u16,
    frames: Vec<Vec<u8>>,
}

impl Waiting {
    fn send(&mut self, rig: &mut Rig, port: u16, frames: &[Vec<u8>]) {
        if self.frames.is_empty() {
            self.port = port;
        } else if self.port != port {
            return;
        }
        for frame in frames {
            // A burst may give the port its address, and none of its frames may tell; see `check`.
            let tells = |other: &Vec<u8>| other.get(..6) == frame.get(6..12);
            if self.frames.iter().any(tells) {
                break;
            }
            rig.port(PortId(port)).send(frame);
            self.frames.push(frame.clone());
        }
        rig.worker.pass();
    }
}

fn has(config: &Config, port: u16) -> bool {
    config.ports.iter().any(|other| other.id.0 == port)
}

/// What a configuration means where one port has no engine.
fn without(config: &Config, absent: u16) -> Config {
    let mut config = config.clone();
    for port in &mut config.ports {
        if port.id == PortId(absent) && port.admission == Admission::Open {
            port.admission = Admission::Down;
        }
    }
    config
}

/// `absent` is the port that has no engine; any other number means that all have one.
fn check(first: &Config, absent: u16, steps: Vec<Step>) {
    let mut rig = Rig::new().expect("an eventfd");
    let mut reference = ReferenceSwitch::default();
    for id in (0..PORTS).filter(|&id| id != absent) {
        rig.attach(PortId(id), DEPTH).expect("an eventfd");
    }
    rig.apply(first);
    reference.apply(&without(first, absent));
    let mut config = first.clone();
    let mut waiting = Waiting::default();
    let mut sent = Vec::new();
    for step in steps {
        match step {
            Step::Adopt { port, .. } | Step::Send { port, .. } if port == absent => {}
            Step::Send { port, frames } if !has(&config, port) => {
                waiting.send(&mut rig, port, &frames);
            }
            Step::Apply(next) => {
                config = next;
                let would = traces::of_all(&sent, |port, frame| {
                    let config = without(&config, absent);
                    rig.datapath.trace_in(&config, port, frame)
                });
                rig.apply(&config);
                let does = traces::of_all(&sent, |port, frame| rig.datapath.trace(port, frame));
                assert_eq!(would, does, "what would happen in {config:?}");
                reference.apply(&without(&config, absent));
                if has(&config, waiting.port) {
                    let (port, wait) = (PortId(waiting.port), std::mem::take(&mut waiting.frames));
                    exchange(&mut rig, &mut reference, port, &wait, &[]);
                }
            }
            Step::Adopt { port, mac } => {
                rig.datapath.adopt(PortId(port), Some(mac));
                reference.adopt(PortId(port), mac);
            }
            Step::Send { port, frames } => {
                sent.extend(frames.first().cloned());
                // The frames of a burst are admitted before the first of them is looked up. Where the burst gives the port
                // its address, a frame to that address would tell: such a port sends one by one.
                let nameless = rig.datapath.learned(PortId(port)).0.is_none();
                for burst in frames.chunks(if nameless { 1 } else { frames.len() }) {
                    exchange(&mut rig, &mut reference, PortId(port), &[], burst);
                }
            }
        }
    }
    for event in rig.events.try_iter() {
        let (Event::SourceSeen { mac, .. }
        | Event::SourceRefused { mac, .. }
        | Event::AddressTaken { mac, .. }) = event;
        assert!(mac.is_unicast_source(), "{mac} is nobody's address");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_packet_path_agrees_with_the_reference(
        first in config(),
        absent in 0..PORTS * 2,
        steps in vec(step(), 1..25),
    ) {
        check(&first, absent, steps);
    }
}
