//! Configurations that tests begin with: one switch, and ports whose number is in their address.

use std::time::Duration;

use weft_packet::MacAddr;
use weft_vlan::{Policy, VlanId};

use crate::config::{
    Config, MeterConfig, PortConfig, PortId, Role, SwitchConfig, SwitchId, TeamConfig, TeamId,
    TeamPolicy,
};

/// A local address for a number: `02:00:00:00:` and its two octets.
pub const fn mac(number: u16) -> MacAddr {
    let [high, low] = number.to_be_bytes();
    MacAddr::new([2, 0, 0, 0, high, low])
}

/// A port in one VLAN, of which it sees no tags.
///
/// # Panics
/// There is no such VLAN.
pub fn access(vlan: u16) -> Policy {
    Policy::Access(VlanId::new(vlan).expect("a VLAN is 1 to 4094"))
}

/// A port with the address of its number.
pub fn port(id: u16, vlan: Policy) -> PortConfig {
    PortConfig {
        mac: Some(mac(id)),
        ..PortConfig::vm(PortId(id), SwitchId(0), vlan)
    }
}

/// Counts every packet, in both directions, with room for so many flows.
pub const fn meter(flows: usize) -> MeterConfig {
    MeterConfig {
        flows,
        active: Duration::from_secs(60),
        idle: Duration::from_secs(15),
        sampling: 0,
        ingress: true,
        egress: true,
        internal_only: false,
    }
}

/// Switch 0, with these ports.
pub fn one_switch(ports: impl IntoIterator<Item = PortConfig>) -> Config {
    Config {
        switches: vec![SwitchConfig::new(SwitchId(0))],
        teams: Vec::new(),
        ports: ports.into_iter().collect(),
    }
}

/// The same, where its uplinks, if it has any, are one team by which all other ports leave.
pub fn one_team(policy: TeamPolicy, ports: impl IntoIterator<Item = PortConfig>) -> Config {
    let mut config = one_switch(ports);
    let ports = config.ports.iter();
    let uplinks = ports.filter(|port| port.role == Role::Uplink);
    let active: Vec<_> = uplinks.map(|port| port.id).collect();
    if active.is_empty() {
        return config;
    }
    config.teams.push(TeamConfig {
        switch: SwitchId(0),
        policy,
        active,
        standby: Vec::new(),
        failback: true,
        notify: true,
        up_delay: Duration::ZERO,
    });
    let ports = config.ports.iter_mut();
    for port in ports.filter(|port| port.role == Role::Vm) {
        port.team = Some(TeamId(0));
    }
    config
}
