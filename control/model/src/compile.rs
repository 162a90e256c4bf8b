//! From names, inheritance and intent to what the data path reads.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_datapath::{
    Admission, Config, PortConfig, PortId, SwitchConfig, SwitchId, TeamConfig, TeamId, TeamPolicy,
};
use weft_packet::MacAddr;

use crate::intent::Intent;
use crate::name::{InterfaceName, PortName, VswitchName};
use crate::policy::inherited;
use crate::spec::{Decision, LinkSetting, PortSpec};

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
    for (name, &id) in &realisation.switches {
        if intent.vswitches.contains_key(name) {
            config.switches.push(SwitchConfig {
                id,
                static_addresses: Vec::new(),
            });
        }
    }
    let mut teams: BTreeMap<&VswitchName, TeamId> = BTreeMap::new();
    for (name, &switch) in &realisation.switches {
        let Some(spec) = intent.vswitches.get(name).map(|object| &object.spec) else {
            continue;
        };
        let number = |interface: &InterfaceName| {
            let realised = realisation.ports.get(&PortKey::Uplink(interface.clone()));
            realised.map(|realised| realised.id)
        };
        if !spec.uplinks.is_empty() {
            teams.insert(name, TeamId(config.teams.len() as u16));
            config.teams.push(TeamConfig {
                switch,
                policy: TeamPolicy::SourceId,
                active: spec.uplinks.iter().filter_map(number).collect(),
                standby: Vec::new(),
                failback: true,
                notify: true,
                up_delay: Duration::from_millis(100),
            });
        }
    }
    for (key, &realised) in &realisation.ports {
        let port = match key {
            PortKey::Port(name) => vm_port(intent, realisation, name, realised, &teams),
            PortKey::Uplink(interface) => uplink(intent, realisation, interface, realised),
        };
        config.ports.extend(port);
    }
    config.switches.sort_by_key(|switch| switch.id);
    config.ports.sort_by_key(|port| port.id);
    config
}

fn vm_port(
    intent: &Intent,
    realisation: &Realisation,
    name: &PortName,
    realised: Realised,
    teams: &BTreeMap<&VswitchName, TeamId>,
) -> Option<PortConfig> {
    let (port, group, switch) = intent.chain(&intent.ports.get(name)?.spec).ok()?;
    let policy = inherited(group, switch);
    Some(PortConfig {
        admission: admission(port, realised.up),
        mac: port.mac.or(realised.taken),
        promiscuous: policy.promiscuous.value == Decision::Accept,
        mac_changes: policy.mac_changes.value == Decision::Accept,
        forged_transmits: policy.forged_transmits.value == Decision::Accept,
        mtu: policy.mtu.value.octets(),
        team: teams.get(&switch.name).copied(),
        ..PortConfig::vm(
            realised.id,
            *realisation.switches.get(&switch.name)?,
            policy.vlan.value.into(),
        )
    })
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
