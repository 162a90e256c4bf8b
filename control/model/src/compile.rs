//! From names, inheritance and intent to what the data path reads.

mod netflow;
mod teams;

use std::collections::{BTreeMap, BTreeSet};

use weft_datapath::{
    Admission, Beyond, Config, LearningConfig, PortConfig, PortId, ShapeConfig, SwitchConfig,
    SwitchId, TeamId,
};
use weft_packet::MacAddr;

use crate::intent::Intent;
use crate::name::{InterfaceName, PortName, PortgroupName, VswitchName};
use crate::policy::{EffectivePolicy, inherited};
use crate::spec::{
    BeyondLimit, Decision, EffectiveLearning, LinkSetting, PortSpec, Shaping, Toggle,
};
pub(crate) use netflow::domain;
pub use netflow::{NetflowExport, netflow_exports};
use teams::Teams;

/// Something that is a port to the data path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortKey {
    /// A port.
    Port(PortName),
    /// An uplink, by its interface.
    Uplink(InterfaceName),
}

/// How a port stands on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realised {
    /// Its number.
    pub id: PortId,
    /// Whether it is attached and its link is up.
    pub up: bool,
    /// The address that it took from its own traffic, which counts where none is configured.
    pub taken: Option<MacAddr>,
}

/// What the host made of the configuration: numbers, and the state of links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realisation {
    /// The number of every switch.
    pub switches: BTreeMap<VswitchName, SwitchId>,
    /// The ports and uplinks that have a number.
    pub ports: BTreeMap<PortKey, Realised>,
}

/// What the data path is to do. Switches and ports without a number are left out.
pub fn compile(intent: &Intent, realisation: &Realisation) -> Config {
    let mut config = Config::default();
    let mut meters = BTreeMap::new();
    for (name, &id) in &realisation.switches {
        if intent.vswitches.contains_key(name) {
            config.switches.push(SwitchConfig::new(id));
        }
        if let Some(netflow) = intent.netflow.get(name) {
            meters.insert(id, netflow::meter(&netflow.spec));
        }
    }
    let mut teams = Teams::default();
    let groups = groups(intent, realisation, &mut teams);
    config.teams = teams.all();
    for (key, &realised) in &realisation.ports {
        let port = match key {
            PortKey::Port(name) => vm_port(intent, &groups, name, realised),
            PortKey::Uplink(interface) => uplink(intent, realisation, interface, realised),
        };
        config.ports.extend(port);
    }
    for switch in &mut config.switches {
        let mut ports = config.ports.iter();
        // A switch none of whose ports is metered pays for no meter.
        if ports.any(|port| port.metered && port.switch == switch.id) {
            switch.meter = meters.get(&switch.id).copied();
        }
    }
    config.switches.sort_by_key(|switch| switch.id);
    config.ports.sort_by_key(|port| port.id);
    config
}

/// What the ports of a port group have in common.
struct Group {
    switch: SwitchId,
    team: Option<TeamId>,
    policy: EffectivePolicy,
}

/// The port groups that have ports with a number, on switches that have one.
fn groups<'a>(
    intent: &'a Intent,
    realisation: &Realisation,
    teams: &mut Teams,
) -> BTreeMap<&'a PortgroupName, Group> {
    let mut groups = BTreeMap::new();
    let used = realisation.ports.keys().filter_map(|key| match key {
        PortKey::Port(name) => Some(&intent.ports.get(name)?.spec.portgroup),
        PortKey::Uplink(_) => None,
    });
    let used: BTreeSet<_> = used.collect();
    for name in used {
        let group = intent.portgroups.get(name).map(|object| &object.spec);
        let Some((group, switch)) =
            group.and_then(|group| Some((group, &intent.vswitches.get(&group.vswitch)?.spec)))
        else {
            continue;
        };
        let Some(&id) = realisation.switches.get(&switch.name) else {
            continue;
        };
        let policy = inherited(group, switch);
        // Without uplinks there is no world to reach, and nothing that could fail.
        let has_uplinks = !switch.uplinks.is_empty();
        let team = has_uplinks.then(|| teams.of(id, &policy.teaming, realisation));
        groups.insert(
            &group.name,
            Group {
                switch: id,
                team,
                policy,
            },
        );
    }
    groups
}

fn vm_port(
    intent: &Intent,
    groups: &BTreeMap<&PortgroupName, Group>,
    name: &PortName,
    realised: Realised,
) -> Option<PortConfig> {
    let port = &intent.ports.get(name)?.spec;
    let Group {
        switch,
        team,
        policy,
    } = groups.get(&port.portgroup)?;
    Some(PortConfig {
        admission: admission(port, realised.up),
        mac: port.mac.or(realised.taken),
        promiscuous: policy.promiscuous.value == Decision::Accept,
        mac_changes: policy.mac_changes.value == Decision::Accept,
        forged_transmits: policy.forged_transmits.value == Decision::Accept,
        mtu: policy.mtu.value.octets(),
        team: *team,
        bpdu_filter: policy.bpdu_filter.value == Toggle::Enabled,
        learning: learning(&policy.mac_learning),
        shape_in: shape(policy.shaping.ingress.value),
        shape_out: shape(policy.shaping.egress.value),
        metered: policy.netflow.value == Toggle::Enabled,
        ..PortConfig::vm(realised.id, *switch, policy.vlan.value.into())
    })
}

fn learning(policy: &EffectiveLearning) -> Option<LearningConfig> {
    policy.enabled.value.0.then(|| LearningConfig {
        limit: u16::try_from(policy.limit.value.number())
            .expect("a port learns at most 4096 addresses"),
        beyond: match policy.beyond.value {
            BeyondLimit::Allow => Beyond::Allow,
            BeyondLimit::Drop => Beyond::Drop,
        },
        flood: policy.flood.value.0,
        age: policy.age.value.duration(),
    })
}

fn shape(policy: Shaping) -> Option<ShapeConfig> {
    match policy {
        Shaping::Off => None,
        Shaping::To(limit) => Some(ShapeConfig {
            average: limit.average().bits_per_second(),
            peak: limit.peak().bits_per_second(),
            burst: limit.burst().octets(),
        }),
    }
}

fn uplink(
    intent: &Intent,
    realisation: &Realisation,
    interface: &InterfaceName,
    realised: Realised,
) -> Option<PortConfig> {
    let (name, _) = intent.uplinks().find(|(_, uplink)| *uplink == interface)?;
    let switch = &intent.vswitches.get(name)?.spec;
    Some(PortConfig {
        admission: if realised.up {
            Admission::Open
        } else {
            Admission::Down
        },
        mtu: switch.mtu.octets(),
        ..PortConfig::uplink(realised.id, *realisation.switches.get(name)?)
    })
}

/// What the administrator blocked is blocked, whatever its link does.
fn admission(port: &PortSpec, up: bool) -> Admission {
    if port.block {
        Admission::Blocked
    } else if up && port.link == LinkSetting::Up {
        Admission::Open
    } else {
        Admission::Down
    }
}
