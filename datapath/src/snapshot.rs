//! The compiled, immutable configuration that poll threads read.
//!
//! Everything that can be decided once is decided here: a poll thread finds per port a few flags and lists. Ports are
//! indexed by their [`PortId`], so that an index stays good from one snapshot to the next.

use std::collections::HashMap;
use std::sync::Arc;

use weft_mirror::PromiscuousSet;
use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::config::{
    Admission, Beyond, Config, PortConfig, Role, StaticAddress, SwitchConfig, SwitchId,
};
use crate::learned::LearnedTable;
use crate::learning::{LearnedAddress, Learning, LearningTable, second};
use crate::mac_table::{ANY_VLAN, MacTable, key, on_any_vlan, vlan_of};
use crate::port::{NO_ADDRESS, Port};
use crate::shaping::Bucket;
use crate::teaming::Way;
use crate::{DropReason, PortId};

/// One generation of the configuration, ready for forwarding.
pub(crate) struct Snapshot {
    ports: Box<[Option<PortEntry>]>,
    switches: Arc<[Switch]>,
    /// Some port has a limit, so that it matters what time it is.
    pub(crate) is_shaped: bool,
}

/// A port as the packet path sees it.
#[derive(Clone)]
pub(crate) struct PortEntry {
    pub(crate) port: Arc<Port>,
    /// Index of its switch in the snapshot.
    pub(crate) switch: usize,
    pub(crate) is_uplink: bool,
    /// Why frames to and from the port are dropped, if they are.
    pub(crate) closed: Option<DropReason>,
    pub(crate) vlan: Policy,
    /// Frames leave with the tags that belong on the wire; otherwise without the outer one.
    pub(crate) tagged: bool,
    /// The configured address, or [`NO_ADDRESS`].
    pub(crate) mac_bits: u64,
    pub(crate) mac_changes: bool,
    pub(crate) forged_transmits: bool,
    /// Where addresses behind the port are learned: what becomes of frames from those beyond its limit.
    pub(crate) learning: Option<Beyond>,
    /// Largest payload behind the Ethernet header and its tags.
    pub(crate) mtu: usize,
    /// Spanning tree frames that it sends are dropped.
    pub(crate) bpdu_filter: bool,
    /// How it leaves the switch.
    pub(crate) way: Way,
    /// The limit on what is received from the port.
    pub(crate) shape_in: Option<Arc<Bucket>>,
    /// Whether what is sent to it has a limit, which is with its transmit side.
    pub(crate) shapes_out: bool,
}

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
}

/// What of the data path outlives a snapshot: ports by number, those without an engine too, learned addresses by switch,
/// limits on what is received by port.
pub(crate) struct Attached<'a> {
    pub(crate) ports: &'a HashMap<PortId, Arc<Port>>,
    pub(crate) learned: &'a HashMap<SwitchId, Arc<LearnedTable>>,
    /// Of each port that has a team.
    pub(crate) ways: &'a HashMap<PortId, Way>,
    pub(crate) shape_in: &'a HashMap<PortId, Arc<Bucket>>,
    pub(crate) learning: &'a HashMap<SwitchId, Arc<LearningTable>>,
}

impl Snapshot {
    /// A snapshot in which no port is.
    pub(crate) fn empty() -> Self {
        Self {
            ports: Box::default(),
            switches: Arc::new([]),
            is_shaped: false,
        }
    }

    /// Compiles a configuration. A port without an engine has its place and its addresses, and is down; one of a switch
    /// that is not there is left out.
    pub(crate) fn build(config: &Config, attached: &Attached<'_>, seed: u64) -> Self {
        let index: HashMap<SwitchId, usize> = config
            .switches
            .iter()
            .enumerate()
            .map(|(at, switch)| (switch.id, at))
            .collect();
        let size = config
            .ports
            .iter()
            .map(|port| port.id.index() + 1)
            .max()
            .unwrap_or(0);
        let mut ports: Vec<Option<PortEntry>> = (0..size).map(|_| None).collect();
        let mut effective = Vec::with_capacity(config.ports.len());
        for config in &config.ports {
            let (Some(port), Some(&switch)) =
                (attached.ports.get(&config.id), index.get(&config.switch))
            else {
                continue;
            };
            let mut config = config.clone();
            if port.info.is_none() && config.admission == Admission::Open {
                config.admission = Admission::Down;
            }
            ports[config.id.index()] = Some(PortEntry::new(&config, port, switch, attached));
            effective.push(config);
        }
        let switches: Vec<_> = config
            .switches
            .iter()
            .map(|switch| {
                let members: Vec<&PortConfig> = effective
                    .iter()
                    .filter(|port| port.switch == switch.id)
                    .collect();
                let learned = attached
                    .learned
                    .get(&switch.id)
                    .map_or_else(|| Arc::new(LearnedTable::new(seed)), Arc::clone);
                let learning = Learning::build(switch.id, &members, || {
                    attached
                        .learning
                        .get(&switch.id)
                        .map_or_else(|| Arc::new(LearningTable::new(seed)), Arc::clone)
                });
                Switch::build(switch, &members, learned, learning, seed)
            })
            .collect();
        let is_shaped = |port: &PortEntry| port.shape_in.is_some() || port.shapes_out;
        Self {
            is_shaped: ports.iter().flatten().any(is_shaped),
            ports: ports.into_boxed_slice(),
            switches: switches.into(),
        }
    }

    /// The same configuration where ports leave by other ways.
    pub(crate) fn with_ways(&self, ways: &HashMap<PortId, Way>) -> Self {
        let mut ports = self.ports.clone();
        for entry in ports.iter_mut().flatten() {
            let way = ways.get(&entry.port.id);
            entry.way = way.cloned().unwrap_or(Way::ISOLATED);
        }
        Self {
            ports,
            switches: Arc::clone(&self.switches),
            is_shaped: self.is_shaped,
        }
    }

    /// One more than the largest port number in use.
    pub(crate) fn port_slots(&self) -> usize {
        self.ports.len()
    }

    /// The port with that number, if it is configured and attached.
    #[inline]
    pub(crate) fn port(&self, id: PortId) -> Option<&PortEntry> {
        self.ports.get(id.index()).and_then(Option::as_ref)
    }

    /// Every port that is configured and attached.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &PortEntry> {
        self.ports.iter().flatten()
    }

    /// The switch of a port.
    #[inline]
    pub(crate) fn switch_of(&self, port: &PortEntry) -> &Switch {
        &self.switches[port.switch]
    }

    /// Makes the addresses that ports have from their traffic findable under this snapshot's VLANs, beside what older
    /// snapshots need. A port loses a taken address once it has a configured one, and any address that is another port's
    /// under the same key: by configuration, or, of two that only a change brought together, the lower number's.
    pub(crate) fn offer_learned(&self) {
        let mut holders: HashMap<(usize, u64), PortId> = HashMap::new();
        for entry in self.ports.iter().flatten() {
            let (switch, port) = (self.switch_of(entry), &entry.port);
            if entry.is_uplink {
                port.set_taken(None);
                port.set_adopted(None);
                continue;
            }
            let mut claim = |bits: u64| {
                if bits == NO_ADDRESS {
                    return true;
                }
                let key = entry.key(MacAddr::from_bits(bits));
                let configured = switch
                    .addresses
                    .holder(key)
                    .is_none_or(|holder| holder == port.id);
                configured && *holders.entry((entry.switch, key)).or_insert(port.id) == port.id
            };
            if entry.mac_bits != NO_ADDRESS || !claim(port.taken_bits()) {
                port.set_taken(None);
            }
            if !entry.mac_changes || !claim(port.adopted_bits()) {
                port.set_adopted(None);
            }
            for mac in port.learned() {
                switch.learned.assign(entry.key(mac), port.id);
            }
        }
    }

    /// Gives a port an adopted address, or takes it away. `now` is the monotonic time in ns.
    pub(crate) fn adopt(&self, id: PortId, mac: Option<MacAddr>, now: u64) {
        let Some(entry) = self.port(id).filter(|entry| !entry.is_uplink) else {
            return;
        };
        let (port, switch) = (&entry.port, self.switch_of(entry));
        let before = port.adopted_bits();
        port.set_adopted(None);
        if before != NO_ADDRESS && before != port.taken_bits() {
            switch
                .learned
                .release(entry.key(MacAddr::from_bits(before)), id);
        }
        let Some(mac) = mac.filter(|_| entry.mac_changes) else {
            return;
        };
        let key = entry.key(mac);
        let configured = switch
            .addresses
            .holder(key)
            .is_some_and(|holder| holder != id);
        let learning = switch.learning.as_ref();
        let writer = learning.map(|learning| learning.table.write());
        if configured || switch.is_learned_by_another(key, id, now) {
            return;
        }
        if switch.learned.claim(key, id) {
            port.set_adopted(Some(mac));
            if let Some(writer) = writer {
                writer.release(key);
            }
        }
    }

    /// Forgets every learned address that this snapshot does not need; called when no older one is in use.
    pub(crate) fn settle_learned(&self) {
        for (index, switch) in self.switches.iter().enumerate() {
            switch.learned.retain(|key, port| {
                self.port(port).is_some_and(|entry| {
                    entry.switch == index && entry.port.learned().any(|mac| entry.key(mac) == key)
                })
            });
            if let Some(learning) = &switch.learning {
                learning.settle(|key, port| {
                    switch.carries(port, key) && switch.find_fixed(key).is_none()
                });
            }
        }
    }

    /// Lets the learned addresses of every switch age.
    pub(crate) fn age_learned(&self, second: u32) {
        for learning in self.learning() {
            learning.age(second);
        }
    }

    /// What a switch learned.
    pub(crate) fn learned_addresses(&self, switch: SwitchId, second: u32) -> Vec<LearnedAddress> {
        let learning = self.learning().find(|learning| learning.switch == switch);
        learning.map_or_else(Vec::new, |learning| learning.list(second))
    }

    /// How many addresses a port has learned.
    pub(crate) fn learned_count(&self, port: PortId) -> usize {
        let learning = self
            .port(port)
            .and_then(|entry| self.switch_of(entry).learning.as_ref());
        learning.map_or(0, |learning| learning.table.count(port) as usize)
    }

    pub(crate) fn learning(&self) -> impl Iterator<Item = &Learning> {
        let switches = self.switches.iter();
        switches.filter_map(|switch| switch.learning.as_ref())
    }
}

impl PortEntry {
    fn new(config: &PortConfig, port: &Arc<Port>, switch: usize, attached: &Attached<'_>) -> Self {
        let way = attached.ways.get(&config.id);
        Self {
            port: Arc::clone(port),
            switch,
            is_uplink: config.role == Role::Uplink,
            closed: closed(config.admission),
            tagged: matches!(config.vlan, Policy::Trunk(_)),
            vlan: config.vlan.clone(),
            mac_bits: config.mac.map_or(NO_ADDRESS, MacAddr::to_bits),
            // What a port that learns sends from is learned, so that it needs to adopt nothing.
            mac_changes: config.mac_changes && config.effective_learning().is_none(),
            forged_transmits: config.forged_transmits,
            learning: config.effective_learning().map(|learning| learning.beyond),
            mtu: usize::from(config.mtu),
            bpdu_filter: config.bpdu_filter,
            way: way.cloned().unwrap_or(Way::ISOLATED),
            shape_in: attached.shape_in.get(&config.id).map(Arc::clone),
            shapes_out: config.shape_out.is_some(),
        }
    }

    /// Whether frames come from the port itself. The VM of one that is down, or without a guest, may be on another host.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.closed.is_none() && self.port.is_inhabited()
    }

    /// The port's own address: configured, or its first source.
    #[inline]
    pub(crate) fn own_address(&self) -> MacAddr {
        let bits = match self.mac_bits {
            NO_ADDRESS => self.port.taken_bits(),
            bits => bits,
        };
        MacAddr::from_bits(bits)
    }

    /// The key under which an address of this port is found.
    pub(crate) fn key(&self, mac: MacAddr) -> u64 {
        table_key(&self.vlan, mac)
    }
}

fn closed(admission: Admission) -> Option<DropReason> {
    match admission {
        Admission::Open => None,
        Admission::Down => Some(DropReason::PortDown),
        Admission::Blocked => Some(DropReason::PortBlocked),
    }
}

fn table_key(policy: &Policy, mac: MacAddr) -> u64 {
    match policy {
        Policy::External => key(0, mac),
        Policy::Access(vlan) => key(vlan.id(), mac),
        Policy::Trunk(_) => key(ANY_VLAN, mac),
    }
}

impl Switch {
    fn build(
        config: &SwitchConfig,
        members: &[&PortConfig],
        learned: Arc<LearnedTable>,
        learning: Option<Learning>,
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
    fn find_fixed(&self, key: u64) -> Option<PortId> {
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
    fn carries(&self, port: PortId, key: u64) -> bool {
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
