//! Who gets a frame that was admitted.

use weft_packet::MacAddr;
use weft_vlan::Policy;

use super::wire::{build, ip_spread};
use super::{Frame, Outcome, ReferenceSwitch, carries};
use crate::config::{Admission, PortConfig, Role};
use crate::{DropReason, PortId};

/// Who gets a frame, and why the frame itself goes nowhere.
type Found = (Vec<PortId>, Option<DropReason>);

impl ReferenceSwitch {
    pub(super) fn deliver(&mut self, from: &PortConfig, frame: &Frame) -> Outcome {
        let dst = frame.parsed.dst;
        let (destinations, dropped) = if dst.octets()[0] & 1 == 1 {
            self.flood(from, frame)
        } else {
            match self.holder(from.switch, frame.vlan, dst) {
                Some(holder) => self.hand_to(holder, from, frame),
                None => self.hand_out(from, frame),
            }
        };
        let mut outcome = Outcome {
            dropped,
            ..Outcome::default()
        };
        for id in destinations {
            let Some(port) = self.port(id) else { continue };
            let tags = if matches!(port.vlan, Policy::Trunk(_)) {
                &frame.shown
            } else {
                &frame.hidden
            };
            match port.admission {
                Admission::Open => drop(outcome.copies.insert(id, build(&frame.parsed, tags))),
                Admission::Down => drop(outcome.refused.insert(id, DropReason::PortDown)),
                Admission::Blocked => drop(outcome.refused.insert(id, DropReason::PortBlocked)),
            }
        }
        outcome
    }

    /// Broadcast and multicast.
    fn flood(&mut self, from: &PortConfig, frame: &Frame) -> Found {
        if let Some(reason) = control_frame(from, frame.parsed.dst.octets()) {
            return (Vec::new(), Some(reason));
        }
        if self.is_reflected(from, frame) {
            return (Vec::new(), Some(DropReason::ReversePath));
        }
        let members = self.members(from, frame.vlan);
        let way_out = self.way_out(from, frame);
        let mut destinations = self.of_those_here(from, &members);
        destinations.extend(way_out.flatten());
        let dropped = destinations.is_empty().then(|| match way_out {
            Some(None) => DropReason::NoUplink,
            _ if from.role == Role::Uplink && !members.is_empty() => DropReason::ReversePath,
            _ => DropReason::NoReceiver,
        });
        (destinations, dropped)
    }

    /// Unicast that a port has.
    fn hand_to(&self, holder: PortId, from: &PortConfig, frame: &Frame) -> Found {
        let members = self.members(from, frame.vlan);
        let promiscuous = members.iter().filter(|port| port.promiscuous);
        let mut destinations: Vec<_> = promiscuous.map(|port| port.id).collect();
        if holder == from.id {
            return (destinations, Some(DropReason::SamePort));
        }
        let takes = || self.teams.takes(holder, from.id, frame.parsed.dst);
        if from.role == Role::Uplink && !takes() {
            return (Vec::new(), Some(DropReason::ReversePath));
        }
        destinations.push(holder);
        (destinations, None)
    }

    /// Unicast that nobody has.
    fn hand_out(&mut self, from: &PortConfig, frame: &Frame) -> Found {
        let is_open = |port: &&PortConfig| {
            port.switch == from.switch && port.role == Role::Vm && port.admission == Admission::Open
        };
        let open: Vec<_> = self.config.ports.iter().filter(is_open).collect();
        let somebody_floods = open.iter().any(|port| floods(port));
        let somebody_watches = open.iter().any(|port| port.promiscuous);
        let reflected = (somebody_floods || somebody_watches) && self.is_reflected(from, frame);
        let members = self.members(from, frame.vlan);
        let way_out = self.way_out(from, frame);
        let here = |wanted: fn(&PortConfig) -> bool| {
            let ports = members.iter().filter(|port| wanted(port) && !reflected);
            self.of_those_here(from, &ports.copied().collect::<Vec<_>>())
        };
        let mut destinations = here(floods);
        destinations.extend(way_out.flatten());
        let dropped = destinations.is_empty().then(|| match way_out {
            Some(None) => DropReason::NoUplink,
            _ if from.role == Role::Uplink && members.iter().any(|port| floods(port)) => {
                DropReason::ReversePath
            }
            _ if reflected && somebody_floods => DropReason::ReversePath,
            _ => DropReason::UnknownUnicast,
        });
        destinations.extend(here(|port| port.promiscuous));
        (destinations, dropped)
    }

    /// The other VM ports that carry the VLAN.
    fn members(&self, from: &PortConfig, vlan: u16) -> Vec<&PortConfig> {
        let ports = self.config.ports.iter();
        ports
            .filter(|port| {
                port.switch == from.switch
                    && port.id != from.id
                    && port.role == Role::Vm
                    && port.admission == Admission::Open
                    && carries(&port.vlan, vlan)
            })
            .collect()
    }

    /// Of these ports, those that what came in by this uplink is for; all, where it came from a VM.
    fn of_those_here(&self, from: &PortConfig, ports: &[&PortConfig]) -> Vec<PortId> {
        let is_here = |port: &&&PortConfig| {
            let own = port.mac.or_else(|| self.taken.get(&port.id).copied());
            let own = own.unwrap_or(MacAddr::BROADCAST);
            from.role != Role::Uplink || self.teams.has(port.id, from.id, own)
        };
        let ports = ports.iter().filter(is_here);
        ports.map(|port| port.id).collect()
    }

    /// The uplink by which a VM's frame leaves, if its switch has any, and one is usable.
    fn way_out(&self, from: &PortConfig, frame: &Frame) -> Option<Option<PortId>> {
        let parsed = &frame.parsed;
        match from.role {
            Role::Uplink => None,
            Role::Vm => self.teams.uplink(from.id, parsed.src, ip_spread(parsed)),
        }
    }

    /// The source of a frame from an uplink is here, by another uplink. One that was learned and is silent has left.
    fn is_reflected(&mut self, from: &PortConfig, frame: &Frame) -> bool {
        if from.role != Role::Uplink {
            return false;
        }
        let (src, vlan) = (frame.parsed.src, frame.vlan);
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
}

/// The port gets unicast frames to addresses that nobody has.
fn floods(port: &PortConfig) -> bool {
    let learning = port.effective_learning();
    learning.is_some_and(|learning| learning.flood)
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
