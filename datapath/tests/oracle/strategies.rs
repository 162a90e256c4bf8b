//! Random configurations, frames and steps.

use std::ops::Range;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use weft_datapath::{
    Admission, Beyond, Config, LearningConfig, PortConfig, PortId, Role, ShapeConfig,
    StaticAddress, SwitchConfig, SwitchId, TeamConfig, TeamId, TeamPolicy,
};
use weft_packet::MacAddr;
use weft_vlan::{Policy, VlanId, VlanSet};

use crate::{PORTS, UPLINKS};

const TEAMS: usize = 2;

/// A limit that changes the way of frames, and not what becomes of them.
const NEVER_REACHED: ShapeConfig = ShapeConfig {
    average: 1_000_000_000_000,
    peak: 1_000_000_000_000,
    burst: 1_000_000_000_000,
};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send {
        port: u16,
        frames: Vec<Vec<u8>>,
    },
    Adopt {
        port: u16,
        mac: MacAddr,
    },
    Apply(Config),
    /// Some time passes (ns), then links of uplinks, each a number among the last three ports, are up or down.
    Links(u64, Vec<(u16, bool)>),
    /// Time goes by, and what was learned ages where the control side notices.
    Wait {
        ms: u64,
        ages: bool,
    },
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
    fn learning()(
        limit in 1u16..4,
        drop: bool,
        flood: bool,
        age in 1u64..8,
    ) -> LearningConfig {
        LearningConfig {
            limit,
            beyond: if drop { Beyond::Drop } else { Beyond::Allow },
            flood,
            age: Duration::from_secs(age),
        }
    }
}

prop_compose! {
    fn port(id: u16)(
        switch in prop_oneof![4 => Just(0u16), 1 => Just(1u16)],
        admission in prop_oneof![8 => Just(Admission::Open), 1 => Just(Admission::Down), 1 => Just(Admission::Blocked)],
        vlan in policy(),
        address in option::weighted(0.6, 0u8..4),
        promiscuous in prop::bool::weighted(0.3),
        mac_changes: bool,
        forged_transmits in prop::bool::weighted(0.7),
        bpdu_filter: bool,
        mtu in prop_oneof![Just(1280u16), Just(1500u16)],
        learning in option::weighted(0.6, learning()),
        limits in (prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
    ) -> PortConfig {
        PortConfig {
            admission,
            // Four addresses per port, of which the ports share one, so that they meet on different VLANs.
            mac: address.map(|n| if n == 0 { mac(0) } else { mac(id as u8 * 4 + n) }),
            promiscuous,
            mac_changes,
            forged_transmits,
            bpdu_filter,
            mtu,
            learning,
            shape_in: limits.0.then_some(NEVER_REACHED),
            shape_out: limits.1.then_some(NEVER_REACHED),
            ..PortConfig::vm(PortId(id), SwitchId(switch), vlan)
        }
    }
}

prop_compose! {
    /// A team of uplinks, some of which may not be there.
    fn team()(
        policy in prop::sample::select(vec![
            TeamPolicy::SourceId,
            TeamPolicy::SourceMac,
            TeamPolicy::IpHash,
            TeamPolicy::Explicit,
            TeamPolicy::Load { period: Duration::from_secs(30), threshold: 75 },
        ]),
        order in Just((PORTS - UPLINKS as u16..PORTS).map(PortId).collect::<Vec<_>>()).prop_shuffle(),
        active in 0..=UPLINKS,
        standby in 0..=UPLINKS,
        failback: bool,
        notify: bool,
        up_delay in prop::sample::select(vec![0, 100, 1000]),
    ) -> TeamConfig {
        let standby = &order[active..UPLINKS.min(active + standby)];
        TeamConfig {
            switch: SwitchId(0),
            policy,
            active: order[..active].to_vec(),
            standby: standby.to_vec(),
            failback,
            notify,
            up_delay: Duration::from_millis(up_delay),
        }
    }
}

/// Any configuration that the control side would let pass: no address twice on one VLAN of a switch.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    let ports = (0..PORTS).map(port).collect::<Vec<_>>();
    let entries = vec((0u16..5, 0u8..PORTS as u8 * 4, 0..PORTS), 0..4);
    let present = vec(any::<bool>(), usize::from(PORTS));
    let teams = vec(team(), TEAMS);
    let choices = vec(option::weighted(0.9, 0..TEAMS as u16), usize::from(PORTS));
    (ports, 0usize..5, present, entries, teams, choices).prop_map(
        |(mut ports, uplinks, present, entries, mut teams, choices)| {
            // One more than there are is none, as well as none.
            let uplinks = if uplinks > UPLINKS { 0 } else { uplinks };
            let first_uplink = ports.len() - uplinks;
            for uplink in &mut ports[first_uplink..] {
                uplink.role = Role::Uplink;
                uplink.vlan = Policy::trunk_all();
                uplink.mac = None;
                uplink.promiscuous = false;
            }
            for (port, choice) in ports.iter_mut().zip(choices) {
                let teamed = port.switch == SwitchId(0) && port.role == Role::Vm && uplinks > 0;
                port.team = choice.filter(|_| teamed).map(TeamId);
            }
            let is_uplink = |id: &PortId| {
                ports[first_uplink..]
                    .iter()
                    .any(|port| port.id == *id && port.switch == SwitchId(0))
            };
            for team in &mut teams {
                team.active.retain(is_uplink);
                team.standby.retain(is_uplink);
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
                    static_addresses,
                    ..SwitchConfig::new(SwitchId(0))
                },
                SwitchConfig::new(SwitchId(1)),
            ];
            Config {
                switches,
                teams,
                ports: some_of(ports, present),
            }
        },
    )
}

/// Those of the ports that are present, at least three. One loses its address where another has it on a VLAN of both.
fn some_of(ports: Vec<PortConfig>, present: Vec<bool>) -> Vec<PortConfig> {
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
    kept
}

fn address() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        6 => (0u8..PORTS as u8 * 4).prop_map(mac),
        1 => Just(mac(0)),
        // Behind any port.
        4 => (200u8..203).prop_map(mac),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(MacAddr::new([1, 0, 0x5e, 0, 0, 1])),
        1 => (0u8..18).prop_map(|n| MacAddr::new([1, 0x80, 0xc2, 0, 0, n])),
        1 => Just(MacAddr::new([1, 0, 0xc, 0xcc, 0xcc, 0xcd])),
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

/// EtherType and payload: 0x88b5 is for experiments (IEEE 802), and nothing looks behind it.
fn experiment(len: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), len).prop_map(|payload| [&[0x88, 0xb5][..], &payload].concat())
}

/// EtherType and an IP packet, or one that is cut off, of a protocol for experiments (RFC 3692).
fn ip() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), any::<[u8; 2]>(), 0usize..60).prop_map(|(is_v4, last, len)| {
        let mut packet = if is_v4 {
            vec![0x08, 0x00, 0x45]
        } else {
            vec![0x86, 0xdd, 0x60]
        };
        packet.resize(2 + 60, 0);
        packet[2 + if is_v4 { 9 } else { 6 }] = 253;
        let (source, destination) = if is_v4 { (15, 19) } else { (23, 39) };
        packet[2 + source] = last[0] % 8;
        packet[2 + destination] = last[1] % 8;
        packet.truncate(2 + len);
        packet
    })
}

prop_compose! {
    fn frame()(
        dst in address(),
        src in address(),
        tags in prop_oneof![5 => Just(vec![]), 5 => vec(tag(), 1), 2 => vec(tag(), 2..4)],
        payload in prop_oneof![8 => experiment(0..100), 1 => experiment(1276..1284), 1 => experiment(1496..1504), 6 => ip()],
        cut in option::weighted(0.1, 0usize..40),
    ) -> Vec<u8> {
        let mut frame = [&dst.octets()[..], &src.octets(), &tags.concat(), &payload].concat();
        frame.truncate(cut.unwrap_or(frame.len()));
        frame
    }
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..PORTS, vec(frame(), 1..40)).prop_map(|(port, frames)| Step::Send { port, frames }),
        1 => (0..PORTS, prop_oneof![0u8..PORTS as u8 * 4, 200u8..203].prop_map(mac)).prop_map(|(port, mac)| Step::Adopt { port, mac }),
        2 => config().prop_map(Step::Apply),
        4 => (
            prop::sample::select(vec![0, 50_000_000, 100_000_000, 4_999_999_999, 60_000_000_000]),
            vec((PORTS - UPLINKS as u16..PORTS, any::<bool>()), 0..3),
        ).prop_map(|(time, links)| Step::Links(time, links)),
        4 => (prop_oneof![0u64..1000, 1000u64..9000], any::<bool>())
            .prop_map(|(ms, ages)| Step::Wait { ms, ages }),
    ]
}
