//! A switch: who has an address, and who gets what everybody gets.

use std::collections::HashMap;
use std::sync::Arc;

use weft_mirror::PromiscuousSet;
use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::PortId;
use crate::config::{Admission, PortConfig, Role, StaticAddress, SwitchConfig};
use crate::learned::LearnedTable;
use crate::learning::{Learning, second};
use crate::mac_table::{ANY_VLAN, MacTable, key, on_any_vlan, vlan_of};
use crate::meter::Metering;

/// A switch as the packet path sees it.
pub(crate) struct Switch {
    pub(crate) addresses: MacTable,
    pub(crate) learned: Arc<LearnedTable>,
    /// Where a port learns.
    pub(crate) learning: Option<Learning>,
    pub(crate) promiscuous: PromiscuousSet<PortId>,
    /// Open VM ports that carry one VLAN (or, at 0, none), by VLAN.
    members: HashMap<u16, Box<[PortId]>, foldhash::fast::FixedState>,
    /// Open VM ports that trunk, each with its policy.
    trunks: Box<[(PortId, Policy)]>,
    /// VM ports that trunk, but not every VLAN: their addresses stand in the tables for any VLAN.
    limited: HashMap<PortId, Policy, foldhash::fast::FixedState>,
    /// There are several uplinks that frames may come in by, so that what left by one may come back by another.
    pub(crate) may_reflect: bool,
    /// How flows are counted, if they are.
    pub(crate) meter: Option<Metering>,
}

impl Switch {
    pub(super) fn build(
        config: &SwitchConfig,
        members: &[&PortConfig],
        learned: Arc<LearnedTable>,
        learning: Option<Learning>,
        meter: Option<Metering>,
        seed: u64,
    ) -> Self {
        let vms = || members.iter().filter(|port| port.role == Role::Vm);
        let open = || vms().filter(|port| port.admission == Admission::Open);
        let policies: HashMap<PortId, &Policy> = vms().map(|port| (port.id, &port.vlan)).collect();
        let reachable = |entry: &&StaticAddress| {
            policies
                .get(&entry.port)
                .is_some_and(|policy| policy.admits(entry.vlan))
        };
        let fixed = config.static_addresses.iter().filter(reachable);
        let own = vms().filter_map(|port| Some((table_key(&port.vlan, port.mac?), port.id)));
        // Of two entries with one key the later one stays: a port's own address before a static entry.
        let addresses: Vec<_> = fixed
            .map(|entry| (key(entry.vlan, entry.mac), entry.port))
            .chain(own)
            .collect();
        let mut by_vlan: HashMap<u16, Vec<PortId>> = HashMap::new();
        for port in open() {
            match &port.vlan {
                Policy::External => by_vlan.entry(0).or_default().push(port.id),
                Policy::Access(vlan) => by_vlan.entry(vlan.id()).or_default().push(port.id),
                Policy::Trunk(_) => {}
            }
        }
        let uplinks = members
            .iter()
            .filter(|port| port.role == Role::Uplink && port.admission == Admission::Open);
        Self {
            addresses: MacTable::build(&addresses, seed),
            learned,
            learning,
            promiscuous: PromiscuousSet::new(
                open()
                    .filter(|port| port.promiscuous)
                    .map(|port| (port.id, port.vlan.clone())),
            ),
            members: by_vlan
                .into_iter()
                .map(|(vlan, ports)| (vlan, ports.into()))
                .collect(),
            trunks: open()
                .filter(|port| matches!(port.vlan, Policy::Trunk(_)))
                .map(|port| (port.id, port.vlan.clone()))
                .collect(),
            limited: vms()
                .filter(|port| {
                    matches!(&port.vlan, Policy::Trunk(_)) && port.vlan != Policy::trunk_all()
                })
                .map(|port| (port.id, port.vlan.clone()))
                .collect(),
            may_reflect: uplinks.count() > 1,
            meter,
        }
    }

    /// The port that has the address of `key` on its VLAN, by configuration or by its own traffic, or behind which it was
    /// learned.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<PortId> {
        self.find_configured(key).or_else(|| self.find_learned(key))
    }

    #[inline]
    fn find_configured(&self, key: u64) -> Option<PortId> {
        self.addresses
            .find(key)
            .filter(|port| self.carries(*port, key))
    }

    /// What a trunk took or adopted holds on all its VLANs, of which it sent on one: what was learned on another one before
    /// stays there.
    #[inline(never)]
    fn find_learned(&self, key: u64) -> Option<PortId> {
        let behind = || self.learning.as_ref()?.find(key);
        self.learned
            .holder(key)
            .or_else(|| behind().filter(|port| self.carries(*port, key)))
            .or_else(|| self.find_taken_on_any_vlan(key))
    }

    fn find_taken_on_any_vlan(&self, key: u64) -> Option<PortId> {
        self.learned
            .holder(on_any_vlan(key))
            .filter(|port| self.carries(*port, key))
    }

    /// The port whose own the address is on just this VLAN, or by configuration on every one.
    pub(super) fn find_fixed(&self, key: u64) -> Option<PortId> {
        self.find_configured(key)
            .or_else(|| self.learned.holder(key))
    }

    /// The port whose own the address is.
    pub(crate) fn find_own(&self, key: u64) -> Option<PortId> {
        self.find_fixed(key)
            .or_else(|| self.find_taken_on_any_vlan(key))
    }

    /// Whether the address was learned behind another port, which has sent from it of late.
    pub(crate) fn is_learned_by_another(&self, key: u64, port: PortId, now: u64) -> bool {
        let learning = self.learning.as_ref();
        learning.is_some_and(|learning| learning.is_held_by_another(key, port, second(now)))
    }

    /// Whether a port that may be found under any VLAN carries that of `key`.
    #[inline]
    pub(super) fn carries(&self, port: PortId, key: u64) -> bool {
        self.limited.is_empty()
            || self
                .limited
                .get(&port)
                .is_none_or(|policy| policy.admits(vlan_of(key)))
    }

    /// Every open VM port that carries `vlan`.
    #[inline]
    pub(crate) fn members(&self, vlan: u16) -> impl Iterator<Item = PortId> {
        let access = self.members.get(&vlan).map_or(&[][..], |ports| ports);
        let trunks = self
            .trunks
            .iter()
            .filter(move |(_, policy)| policy.admits(vlan));
        access.iter().copied().chain(trunks.map(|(port, _)| *port))
    }
}

/// The key of a port's own address.
pub(super) fn table_key(policy: &Policy, mac: MacAddr) -> u64 {
    match policy {
        Policy::External => key(0, mac),
        Policy::Access(vlan) => key(vlan.id(), mac),
        Policy::Trunk(_) => key(ANY_VLAN, mac),
    }
}
