//! The compiled, immutable configuration that poll threads read.
//!
//! Everything that can be decided once is decided here: a poll thread finds per port a few flags and lists. Ports are
//! indexed by their [`PortId`], so that an index stays good from one snapshot to the next.

mod learned;
mod switch;

use std::collections::HashMap;
use std::sync::Arc;

use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::config::{Admission, Beyond, Config, PortConfig, Role, SwitchId};
use crate::learned::LearnedTable;
use crate::learning::{Learning, LearningTable};
use crate::meter::{MeterId, Metering};
use crate::port::{NO_ADDRESS, Port};
use crate::shaping::Bucket;
use crate::teaming::Way;
use crate::{DropReason, PortId};
pub(crate) use switch::Switch;
use switch::table_key;

/// One generation of the configuration, ready for forwarding.
pub(crate) struct Snapshot {
    ports: Box<[Option<PortEntry>]>,
    switches: Arc<[Switch]>,
    /// Some port has a limit, so that it matters what time it is.
    pub(crate) is_shaped: bool,
    /// The last meter that there was when it was made.
    pub(crate) last_meter: MeterId,
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
    /// Its flows are counted, if its switch counts any.
    pub(crate) metered: bool,
    /// Tells it from ports that had its number before it.
    pub(crate) life: u8,
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
    /// How many ports had a number before the one that has it.
    pub(crate) lives: &'a HashMap<PortId, u8>,
    /// Of each switch that has a meter.
    pub(crate) meters: &'a HashMap<SwitchId, MeterId>,
    pub(crate) last_meter: MeterId,
}

impl Snapshot {
    /// A snapshot in which no port is.
    pub(crate) fn empty() -> Self {
        Self {
            ports: Box::default(),
            switches: Arc::new([]),
            is_shaped: false,
            last_meter: MeterId::default(),
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
                let meter = attached.meters.get(&switch.id).zip(switch.meter.as_ref());
                let meter = meter.map(|(id, config)| Metering::new(*id, config));
                Switch::build(switch, &members, learned, learning, meter, seed)
            })
            .collect();
        let is_shaped = |port: &PortEntry| port.shape_in.is_some() || port.shapes_out;
        Self {
            is_shaped: ports.iter().flatten().any(is_shaped),
            last_meter: attached.last_meter,
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
            last_meter: self.last_meter,
        }
    }

    /// What a meter is to do, and the position of its switch.
    pub(crate) fn metering(&self, id: MeterId) -> Option<(usize, &Metering)> {
        let mut switches = self.switches.iter().enumerate();
        switches.find_map(|(index, switch)| {
            let metering = switch.meter.as_ref().filter(|metering| metering.id == id);
            metering.map(|metering| (index, metering))
        })
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
            metered: config.metered,
            life: attached.lives.get(&config.id).copied().unwrap_or_default(),
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
