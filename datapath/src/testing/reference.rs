//! The reference switch: the same behaviour as the packet path, written to be obviously right and nothing else.
//!
//! It parses frames byte by byte, walks over all ports for every frame and shares no code with the packet path.

mod teams;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::config::{Admission, Beyond, Config, PortConfig, Role, SwitchId};
use crate::{DropReason, LearnedAddress, PortId};
use teams::Teams;

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

/// A frame taken apart.
struct Parsed {
    dst: MacAddr,
    src: MacAddr,
    /// (TPID, TCI), outer first.
    tags: Vec<(u16, u16)>,
    /// From the EtherType on.
    rest: Vec<u8>,
}

fn parse(frame: &[u8]) -> Option<Parsed> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let dst: [u8; 6] = frame.get(0..6)?.try_into().ok()?;
    let src: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let mut at = 12;
    let mut tags = Vec::new();
    while matches!(word(at)?, 0x8100 | 0x88a8) && tags.len() < weft_packet::MAX_TAGS {
        tags.push((word(at)?, word(at + 2)?));
        at += 4;
    }
    word(at)?;
    Some(Parsed {
        dst: MacAddr::new(dst),
        src: MacAddr::new(src),
        tags,
        rest: frame[at..].to_vec(),
    })
}

fn build(parsed: &Parsed, tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = [parsed.dst.octets(), parsed.src.octets()].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(&parsed.rest);
    frame
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

    /// Forgets what the configuration in force does not let stay behind its port.
    fn forget_learned(&mut self) {
        let learned = std::mem::take(&mut self.learned);
        self.learned = learned
            .into_iter()
            .filter(|((switch, vlan, mac), (holder, _))| {
                let Some(port) = self.port(*holder) else {
                    return false;
                };
                port.switch == *switch
                    && port.effective_learning().is_some()
                    && port.admission == Admission::Open
                    && carries(&port.vlan, *vlan)
                    && self.configured_holder(*switch, *vlan, *mac).is_none()
                    && self.taken_holder(*switch, *vlan, *mac, false).is_none()
            })
            .collect();
        self.forget_beyond_limits();
    }

    /// Forgets what ports have learned beyond their limits, what they sent from longest ago first.
    fn forget_beyond_limits(&mut self) {
        let mut learned: Vec<_> = self.learned.iter().map(|(&a, &b)| (a, b)).collect();
        learned.sort_by_key(|&(address, (_, seen))| (Reverse(seen), address));
        let mut counts: BTreeMap<PortId, u16> = BTreeMap::new();
        for (address, (port, _)) in learned {
            let count = counts.entry(port).or_default();
            *count += 1;
            let learning = self.port(port).and_then(PortConfig::effective_learning);
            if learning.is_none_or(|learning| *count > learning.limit) {
                self.learned.remove(&address);
            }
        }
    }

    /// Forgets learned addresses that were silent for too long.
    pub fn age(&mut self) {
        let learned = std::mem::take(&mut self.learned);
        self.learned = learned
            .into_iter()
            .filter(|(_, (port, seen))| {
                let learning = self.port(*port).and_then(PortConfig::effective_learning);
                learning.is_some_and(|learning| self.now - seen <= learning.age.as_secs())
            })
            .collect();
    }

    /// What a switch learned, as [`Datapath::learned_addresses`](crate::Datapath::learned_addresses) says it.
    pub fn learned(&self, switch: SwitchId) -> Vec<LearnedAddress> {
        let learned = self.learned.iter();
        learned
            .filter(|((of, ..), _)| *of == switch)
            .map(|(&(_, vlan, mac), &(port, seen))| LearnedAddress {
                vlan,
                mac,
                port,
                age: Duration::from_secs(self.now - seen),
            })
            .collect()
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
            Ok((parsed, vlan, untagged, tagged)) => {
                self.deliver(&port, &parsed, vlan, &untagged, &tagged)
            }
            Err(reason) => Outcome {
                dropped: Some(reason),
                ..Outcome::default()
            },
        }
    }

    /// Returns the frame, its VLAN, and the tags it has where the outer one is hidden and where it is shown.
    #[allow(clippy::type_complexity)]
    fn admit(
        &mut self,
        port: &PortConfig,
        frame: &[u8],
    ) -> Result<(Parsed, u16, Vec<(u16, u16)>, Vec<(u16, u16)>), DropReason> {
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
        let inner = parsed.tags.get(1..).unwrap_or_default().to_vec();
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
        Ok((parsed, vlan, inner, shown))
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
        let Some(learning) = port.effective_learning().filter(|_| usable) else {
            return Ok(());
        };
        let entry = (port.switch, vlan, src);
        let known = self
            .learned
            .get(&entry)
            .is_some_and(|(holder, _)| *holder == port.id);
        if !known {
            if owner.is_some() || lives_elsewhere {
                return Ok(());
            }
            let behind = |(holder, _): &&(PortId, u64)| *holder == port.id;
            if self.learned.values().filter(behind).count() >= usize::from(learning.limit) {
                return match learning.beyond {
                    Beyond::Allow => Ok(()),
                    Beyond::Drop => Err(DropReason::LearningLimit),
                };
            }
        }
        self.learned.insert(entry, (port.id, self.now));
        Ok(())
    }

    /// Another port has the address learned behind it, and sent from it in this second or the one before.
    fn lives_behind_another(&self, own: &PortConfig, vlan: u16, mac: MacAddr) -> bool {
        let entry = self.learned.get(&(own.switch, vlan, mac));
        entry.is_some_and(|(port, seen)| *port != own.id && self.now - seen < 2)
    }

    fn deliver(
        &mut self,
        from: &PortConfig,
        parsed: &Parsed,
        vlan: u16,
        hidden: &[(u16, u16)],
        shown: &[(u16, u16)],
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let floods = self.config.ports.iter().any(|port| {
            let learning = port.effective_learning();
            port.switch == from.switch
                && port.admission == Admission::Open
                && learning.is_some_and(|learning| learning.flood)
        });
        let shows = self.config.ports.iter().any(|port| {
            port.switch == from.switch
                && port.role == Role::Vm
                && port.admission == Admission::Open
                && port.promiscuous
        });
        let dst = parsed.dst.octets();
        let is_unknown = self.holder(from.switch, vlan, parsed.dst).is_none();
        let asks = if dst[0] & 1 == 1 {
            control_frame(from, dst).is_none()
        } else {
            is_unknown && (floods || shows)
        };
        let inbound = from.role == Role::Uplink;
        // The host's own frame, back by another uplink.
        let reflected = inbound && asks && self.is_reflected(from, parsed.src, vlan);
        let members: Vec<&PortConfig> = self
            .config
            .ports
            .iter()
            .filter(|port| {
                port.switch == from.switch && port.id != from.id && port.role == Role::Vm
            })
            .filter(|port| port.admission == Admission::Open && carries(&port.vlan, vlan))
            .collect();
        let way_out = if inbound {
            None
        } else {
            self.teams.uplink(from.id, parsed.src, ip_spread(parsed))
        };
        let flooded_to = |port: &PortConfig| {
            let own = port.mac.or_else(|| self.taken.get(&port.id).copied());
            !inbound
                || self
                    .teams
                    .has(port.id, from.id, own.unwrap_or(MacAddr::BROADCAST))
        };
        let mut destinations: Vec<PortId> = Vec::new();
        if dst[0] & 1 == 1 {
            if let Some(reason) = control_frame(from, dst) {
                outcome.dropped = Some(reason);
            } else if reflected {
                outcome.dropped = Some(DropReason::ReversePath);
            } else {
                let listeners = members.iter().filter(|port| flooded_to(port));
                destinations.extend(listeners.map(|port| port.id));
                destinations.extend(way_out.flatten());
                if destinations.is_empty() {
                    outcome.dropped = Some(match way_out {
                        Some(None) => DropReason::NoUplink,
                        _ if inbound && !members.is_empty() => DropReason::ReversePath,
                        _ => DropReason::NoReceiver,
                    });
                }
            }
        } else {
            let promiscuous = members.iter().filter(|port| port.promiscuous);
            let promiscuous: Vec<&PortConfig> = promiscuous.copied().collect();
            match self.holder(from.switch, vlan, parsed.dst) {
                Some(holder) if holder == from.id => {
                    outcome.dropped = Some(DropReason::SamePort);
                    destinations.extend(promiscuous.iter().map(|port| port.id));
                }
                Some(holder) if inbound && !self.teams.takes(holder, from.id, parsed.dst) => {
                    outcome.dropped = Some(DropReason::ReversePath);
                }
                Some(holder) => {
                    destinations.push(holder);
                    destinations.extend(promiscuous.iter().map(|port| port.id));
                }
                None => {
                    let flooded = members.iter().filter(|port| {
                        let learning = port.effective_learning();
                        learning.is_some_and(|learning| learning.flood)
                    });
                    let flooded: Vec<&PortConfig> = flooded.copied().collect();
                    let here = |ports: &[&PortConfig]| -> Vec<PortId> {
                        let ports = ports.iter().filter(|port| flooded_to(port) && !reflected);
                        ports.map(|port| port.id).collect()
                    };
                    destinations.extend(here(&flooded));
                    destinations.extend(way_out.flatten());
                    if destinations.is_empty() {
                        outcome.dropped = Some(match way_out {
                            Some(None) => DropReason::NoUplink,
                            _ if inbound && !flooded.is_empty() => DropReason::ReversePath,
                            _ if reflected && floods => DropReason::ReversePath,
                            _ => DropReason::UnknownUnicast,
                        });
                    }
                    destinations.extend(here(&promiscuous));
                }
            }
        }
        for id in destinations {
            let Some(port) = self.port(id) else { continue };
            let tags = if matches!(port.vlan, Policy::Trunk(_)) {
                shown
            } else {
                hidden
            };
            match port.admission {
                Admission::Open => drop(outcome.copies.insert(id, build(parsed, tags))),
                Admission::Down => drop(outcome.refused.insert(id, DropReason::PortDown)),
                Admission::Blocked => drop(outcome.refused.insert(id, DropReason::PortBlocked)),
            }
        }
        outcome
    }

    /// The source of a frame from an uplink is here, by another uplink. One that was learned and is silent has left.
    fn is_reflected(&mut self, from: &PortConfig, src: MacAddr, vlan: u16) -> bool {
        let open_uplinks = self.config.ports.iter().filter(|port| {
            port.switch == from.switch
                && port.role == Role::Uplink
                && port.admission == Admission::Open
        });
        let several = open_uplinks.count() > 1;
        let Some(holder) = self.holder(from.switch, vlan, src) else {
            return false;
        };
        let entry = (from.switch, vlan, src);
        let fixed = self.configured_holder(from.switch, vlan, src).is_some()
            || self.taken_holder(from.switch, vlan, src, false).is_some();
        if let (false, Some((_, seen))) = (fixed, self.learned.get(&entry))
            && self.now - seen >= if several { 5 } else { 2 }
        {
            self.learned.remove(&entry);
            return false;
        }
        several
            && self.port(holder).is_some_and(|holder| {
                holder.admission == Admission::Open && !self.teams.has(holder.id, from.id, src)
            })
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

/// Why a frame to a reserved group address goes nowhere, if it does not.
fn control_frame(from: &PortConfig, dst: [u8; 6]) -> Option<DropReason> {
    let reserved = dst[..5] == [1, 0x80, 0xc2, 0, 0] && dst[5] < 16;
    let bpdu = reserved && (dst[5] == 0 || dst[5] == 8) || dst == [1, 0, 0xc, 0xcc, 0xcc, 0xcd];
    let trunk = from.role == Role::Uplink || matches!(from.vlan, Policy::Trunk(_));
    if bpdu && from.bpdu_filter {
        Some(DropReason::BpduFilter)
    } else if reserved && !bpdu && (dst[5] == 1 || !trunk) {
        Some(DropReason::ControlFrame)
    } else {
        None
    }
}

/// Exclusive or of the addresses of an IP packet, in pieces of four octets.
fn ip_spread(parsed: &Parsed) -> Option<u32> {
    let packet = &parsed.rest[2..];
    let addresses = match (&parsed.rest[..2], packet.first()? >> 4) {
        ([0x08, 0x00], 4) => packet.get(12..20)?,
        ([0x86, 0xdd], 6) => packet.get(8..40)?,
        _ => return None,
    };
    let mut sum = [0; 4];
    for (at, octet) in addresses.iter().enumerate() {
        sum[at % 4] ^= octet;
    }
    Some(u32::from_be_bytes(sum))
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
