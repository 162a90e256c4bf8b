//! The reference switch: the same behaviour as the packet path, written to be obviously right and nothing else.
//!
//! It parses frames byte by byte, walks over all ports for every frame and shares no code with the packet path.

mod delivery;
mod learning;
mod teams;
mod wire;

use std::collections::BTreeMap;

use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::config::{Admission, Config, PortConfig, Role, SwitchId};
use crate::{DropReason, PortId};
use teams::Teams;
use wire::{Parsed, parse};

/// What becomes of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Copies in the order of ports, the original's and those of promiscuous mode.
    pub copies: BTreeMap<PortId, Vec<u8>>,
    /// Destinations whose port is closed.
    pub refused: BTreeMap<PortId, DropReason>,
    /// Why the frame itself went nowhere.
    pub dropped: Option<DropReason>,
}

/// A switch that is slow and obvious.
#[derive(Clone, Debug, Default)]
pub struct ReferenceSwitch {
    config: Config,
    /// First sources of ports without a configured address.
    taken: BTreeMap<PortId, MacAddr>,
    /// Adopted addresses.
    adopted: BTreeMap<PortId, MacAddr>,
    teams: Teams,
    /// What was learned behind ports, by switch, VLAN and address: the port, and the second in which it last sent from it.
    learned: BTreeMap<(SwitchId, u16, MacAddr), (PortId, u64)>,
    /// Full seconds.
    now: u64,
}

/// A frame that was admitted.
struct Frame {
    parsed: Parsed,
    vlan: u16,
    /// Its tags where the outer one is hidden.
    hidden: Vec<(u16, u16)>,
    /// Its tags where the outer one is shown.
    shown: Vec<(u16, u16)>,
}

fn carries(policy: &Policy, vlan: u16) -> bool {
    match policy {
        Policy::External => vlan == 0,
        Policy::Access(own) => own.id() == vlan,
        Policy::Trunk(set) => set.contains(vlan),
    }
}

impl ReferenceSwitch {
    /// Puts a configuration in force.
    pub fn apply(&mut self, config: &Config) {
        self.config = config.clone();
        self.teams.decide(config);
        for port in &config.ports {
            if port.role == Role::Uplink {
                self.taken.remove(&port.id);
                self.adopted.remove(&port.id);
            }
        }
        let ports: Vec<PortConfig> = self
            .config
            .ports
            .iter()
            .filter(|port| port.role == Role::Vm)
            .cloned()
            .collect();
        let mut claimed: Vec<(PortConfig, MacAddr)> = Vec::new();
        for port in ports {
            if port.mac.is_some() {
                self.taken.remove(&port.id);
            }
            if !port.mac_changes || port.effective_learning().is_some() {
                self.adopted.remove(&port.id);
            }
            for learned in [&mut self.taken, &mut self.adopted] {
                let Some(&mac) = learned.get(&port.id) else {
                    continue;
                };
                let taken_first = claimed.iter().any(|(other, held)| {
                    *held == mac && other.id != port.id && same_key(other, &port)
                });
                if taken_first || claimed_by_another(&self.config, &port, mac) {
                    learned.remove(&port.id);
                } else {
                    claimed.push((port.clone(), mac));
                }
            }
        }
        self.forget_learned();
    }

    /// Has time stand at this many ns.
    pub fn set_time(&mut self, now: u64) {
        self.teams.set_time(now);
        self.now = now / 1_000_000_000;
    }

    /// Tells of links of uplinks, and decides what that and the time change.
    pub fn set_links(&mut self, links: &[(PortId, bool)]) {
        for &(uplink, up) in links {
            self.teams.set_link(uplink, up);
        }
        self.teams.decide(&self.config);
    }

    /// Gives a port an adopted address.
    pub fn adopt(&mut self, port: PortId, mac: MacAddr) {
        self.adopted.remove(&port);
        let Some(own) = self.port(port).cloned() else {
            // It counts when a configuration brings the port in.
            self.adopted.insert(port, mac);
            return;
        };
        let vlan = match &own.vlan {
            Policy::External => Some(0),
            Policy::Access(vlan) => Some(vlan.id()),
            Policy::Trunk(_) => None,
        };
        let free = !self.taken_by_another(&own, mac)
            && !claimed_by_another(&self.config, &own, mac)
            && vlan.is_none_or(|vlan| !self.lives_behind_another(&own, vlan, mac));
        if own.mac_changes && own.effective_learning().is_none() && own.role == Role::Vm && free {
            self.adopted.insert(port, mac);
            if let Some(vlan) = vlan {
                self.learned.remove(&(own.switch, vlan, mac));
            }
        }
    }

    /// Forwards one frame.
    pub fn forward(&mut self, from: PortId, frame: &[u8]) -> Outcome {
        let Some(port) = self.port(from).cloned() else {
            return Outcome::default();
        };
        match self.admit(&port, frame) {
            Ok(frame) => self.deliver(&port, &frame),
            Err(reason) => Outcome {
                dropped: Some(reason),
                ..Outcome::default()
            },
        }
    }

    fn admit(&mut self, port: &PortConfig, frame: &[u8]) -> Result<Frame, DropReason> {
        match port.admission {
            Admission::Open => {}
            Admission::Down => return Err(DropReason::PortDown),
            Admission::Blocked => return Err(DropReason::PortBlocked),
        }
        let parsed = parse(frame).ok_or(DropReason::Runt)?;
        if parsed.rest.len() - 2 > usize::from(port.mtu) {
            return Err(DropReason::TooLong);
        }
        let outer = parsed.tags.first().copied();
        let vid = outer.map_or(0, |(_, tci)| tci & 0xfff);
        let priority = outer.map_or(0, |(_, tci)| tci & 0xf000);
        let hidden = parsed.tags.get(1..).unwrap_or_default().to_vec();
        if vid == 4095 {
            return Err(DropReason::VlanReserved);
        }
        let (vlan, shown) = match &port.vlan {
            Policy::Trunk(set) if set.contains(vid) => (vid, parsed.tags.clone()),
            Policy::Trunk(_) => return Err(DropReason::VlanNotMember),
            _ if vid != 0 || parsed.tags.len() > 1 => return Err(DropReason::VlanTagNotAllowed),
            Policy::External => (0, Vec::new()),
            Policy::Access(own) => (own.id(), vec![(0x8100, priority | own.id())]),
        };
        if port.role == Role::Vm {
            self.check_source(port, parsed.src, vlan)?;
        }
        Ok(Frame {
            parsed,
            vlan,
            hidden,
            shown,
        })
    }

    fn check_source(
        &mut self,
        port: &PortConfig,
        src: MacAddr,
        vlan: u16,
    ) -> Result<(), DropReason> {
        let own = [
            port.mac,
            self.taken.get(&port.id).copied(),
            self.adopted.get(&port.id).copied(),
        ];
        if own.contains(&Some(src)) {
            return Ok(());
        }
        let nameless = port.mac.is_none() && !self.taken.contains_key(&port.id);
        let usable = src.octets()[0] & 1 == 0 && src.octets() != [0; 6];
        let owner = self.owner(port.switch, vlan, src);
        let lives_elsewhere = self.lives_behind_another(port, vlan, src);
        let free = owner.is_none_or(|owner| owner == port.id) && !lives_elsewhere;
        if nameless && usable && free && !self.taken_by_another(port, src) {
            self.taken.insert(port.id, src);
            self.learned.remove(&(port.switch, vlan, src));
            return Ok(());
        }
        if !port.forged_transmits {
            return Err(DropReason::ForgedTransmit);
        }
        match port.effective_learning() {
            Some(learning) if usable => self.learn(port, &learning, src, vlan),
            _ => Ok(()),
        }
    }

    /// The port that has `mac` on `vlan`, or behind which it was learned. What a trunk took comes last: it sent from it on one
    /// of its VLANs only.
    fn holder(&self, switch: SwitchId, vlan: u16, mac: MacAddr) -> Option<PortId> {
        let learned = || {
            self.learned
                .get(&(switch, vlan, mac))
                .map(|(port, _)| *port)
        };
        self.configured_holder(switch, vlan, mac)
            .or_else(|| self.taken_holder(switch, vlan, mac, false))
            .or_else(learned)
            .or_else(|| self.taken_holder(switch, vlan, mac, true))
    }

    /// The port whose own `mac` is on `vlan`.
    fn owner(&self, switch: SwitchId, vlan: u16, mac: MacAddr) -> Option<PortId> {
        self.configured_holder(switch, vlan, mac)
            .or_else(|| self.taken_holder(switch, vlan, mac, false))
            .or_else(|| self.taken_holder(switch, vlan, mac, true))
    }

    /// The port that has `mac` on `vlan` by configuration: an access port before a static entry before a trunk.
    fn configured_holder(&self, switch: SwitchId, vlan: u16, mac: MacAddr) -> Option<PortId> {
        let configured = |trunks: bool| {
            let mut ports = self.carriers(switch, vlan, trunks);
            ports.find(|port| port.mac == Some(mac)).map(|port| port.id)
        };
        configured(false)
            .or_else(|| static_holder(&self.config, switch, vlan, mac))
            .or_else(|| configured(true))
    }

    /// The access port, or the trunk, that has `mac` on `vlan` from its traffic.
    fn taken_holder(
        &self,
        switch: SwitchId,
        vlan: u16,
        mac: MacAddr,
        trunks: bool,
    ) -> Option<PortId> {
        let own = |port: &&PortConfig| {
            self.taken.get(&port.id) == Some(&mac) || self.adopted.get(&port.id) == Some(&mac)
        };
        let mut ports = self.carriers(switch, vlan, trunks);
        ports.find(own).map(|port| port.id)
    }

    /// The VM ports of a switch that carry `vlan`, and trunk or do not.
    fn carriers(
        &self,
        switch: SwitchId,
        vlan: u16,
        trunks: bool,
    ) -> impl Iterator<Item = &PortConfig> {
        self.config.ports.iter().filter(move |port| {
            port.switch == switch
                && port.role == Role::Vm
                && carries(&port.vlan, vlan)
                && matches!(port.vlan, Policy::Trunk(_)) == trunks
        })
    }

    /// Another port of the switch has the address from its traffic, under the same key.
    fn taken_by_another(&self, own: &PortConfig, mac: MacAddr) -> bool {
        self.config.ports.iter().any(|port| {
            port.id != own.id
                && same_key(port, own)
                && (self.taken.get(&port.id) == Some(&mac)
                    || self.adopted.get(&port.id) == Some(&mac))
        })
    }

    fn port(&self, id: PortId) -> Option<&PortConfig> {
        self.config.ports.iter().find(|port| port.id == id)
    }
}

/// Two VM ports of one switch whose addresses stand side by side: on the same VLAN, or both on any.
fn same_key(one: &PortConfig, other: &PortConfig) -> bool {
    one.switch == other.switch
        && one.role == Role::Vm
        && other.role == Role::Vm
        && (one.vlan == other.vlan
            || matches!(
                (&one.vlan, &other.vlan),
                (Policy::Trunk(_), Policy::Trunk(_))
            ))
}

/// Another port of the switch has the address by configuration, under the same key.
fn claimed_by_another(config: &Config, own: &PortConfig, mac: MacAddr) -> bool {
    let configured = |port: &PortConfig| port.mac == Some(mac) && same_key(port, own);
    if let Some(port) = config.ports.iter().find(|port| configured(port)) {
        return port.id != own.id;
    }
    let vlan = match &own.vlan {
        Policy::External => 0,
        Policy::Access(vlan) => vlan.id(),
        // A static entry holds on one VLAN, a trunk's address on any.
        Policy::Trunk(_) => return false,
    };
    static_holder(config, own.switch, vlan, mac).is_some_and(|port| port != own.id)
}

/// The port that has the address by a static entry, if it carries the VLAN. Of several entries the last one holds.
fn static_holder(config: &Config, switch: SwitchId, vlan: u16, mac: MacAddr) -> Option<PortId> {
    let switch = config
        .switches
        .iter()
        .find(|candidate| candidate.id == switch)?;
    let reachable = |port: PortId| {
        config.ports.iter().any(|candidate| {
            candidate.id == port
                && candidate.switch == switch.id
                && candidate.role == Role::Vm
                && carries(&candidate.vlan, vlan)
        })
    };
    switch
        .static_addresses
        .iter()
        .filter(|entry| entry.vlan == vlan && entry.mac == mac && reachable(entry.port))
        .map(|entry| entry.port)
        .next_back()
}
