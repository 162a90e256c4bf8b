//! What the control side hands to the data path: plain data, no names, no inheritance.
//!
//! The control side compiles its intent into a [`Config`]; [`Datapath::apply`](crate::Datapath::apply) turns
//! that into the immutable snapshot which poll threads read.

use std::fmt;
use std::time::Duration;

use weft_packet::MacAddr;
use weft_vlan::Policy;

/// A port of the data path: a small dense number that the control side allocates and that stays with the port for as long
/// as it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

impl PortId {
    /// Most ports that one data path carries.
    pub const MAX_PORTS: usize = 8192;

    /// The position of the port in tables that are indexed by port.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}

/// A switch of the data path: a number that the control side allocates and keeps for the switch's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwitchId(pub u16);

/// Everything that the data path is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The switches; frames never pass from one to another.
    pub switches: Vec<SwitchConfig>,
    /// The teams that ports name by their position.
    pub teams: Vec<TeamConfig>,
    /// The ports of all switches, uplinks included.
    pub ports: Vec<PortConfig>,
}

/// One switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Its number.
    pub id: SwitchId,
    /// Static entries of its address table, beside the ports' own addresses.
    pub static_addresses: Vec<StaticAddress>,
    /// How the flows of its metered ports are counted, if they are.
    pub meter: Option<MeterConfig>,
}

impl SwitchConfig {
    /// A switch without anything special.
    pub fn new(id: SwitchId) -> Self {
        Self {
            id,
            static_addresses: Vec::new(),
            meter: None,
        }
    }
}

/// How the flows of a switch are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    /// Flows that each poll thread has room for.
    pub flows: usize,
    /// A flow that goes on is told after so long.
    pub active: Duration,
    /// A flow is over when no packet of it came for so long.
    pub idle: Duration,
    /// One packet in so many is counted, at random; 0 and 1: every one.
    pub sampling: u32,
    /// Frames that a metered port sends are counted.
    pub ingress: bool,
    /// Frames that a metered port receives are counted; those that another one sends only once.
    pub egress: bool,
    /// Only frames between ports of the host are.
    pub internal_only: bool,
}

/// An address that a switch delivers to a port, whatever the port sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The VLAN on which it holds, 0 for none.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
    /// A VM port of the switch.
    pub port: PortId,
}

/// The uplinks by which ports may leave their switch, and how each port's is chosen.
///
/// Ports with equal teams share what a team remembers: which uplinks stand in for failed ones, where there is no failback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TeamConfig {
    /// The switch whose uplinks these are.
    pub switch: SwitchId,
    /// How an uplink is chosen among those in use.
    pub policy: TeamPolicy,
    /// Uplinks in use while they are usable, in order.
    pub active: Vec<PortId>,
    /// Uplinks that stand in for active ones, in order. An uplink in neither list is not used at all.
    pub standby: Vec<PortId>,
    /// Whether an uplink that recovers displaces its stand-in at once. Otherwise it waits until another one fails.
    pub failback: bool,
    /// Whether switches beyond an uplink are told the addresses that are reached through it from now on.
    pub notify: bool,
    /// How long a link has to be up before it is used again.
    pub up_delay: Duration,
}

/// How an uplink is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TeamPolicy {
    /// By the port's number, once.
    SourceId,
    /// By the source address.
    SourceMac,
    /// By source and destination address of each IP packet; frames of other protocols by their source address.
    IpHash,
    /// The first usable one.
    Explicit,
    /// By the port's number at first; later the busiest port of an overloaded uplink moves.
    Load {
        /// How often loads are compared.
        period: Duration,
        /// Share of an uplink's speed above which it is overloaded, in percent (1-100).
        threshold: u8,
    },
}

/// The position of a team in [`Config::teams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TeamId(pub u16);

/// Learning of addresses behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearningConfig {
    /// Addresses that the port may have learned at a time, its own not counted (1-4096).
    pub limit: u16,
    /// What becomes of frames from addresses beyond the limit.
    pub beyond: Beyond,
    /// Whether the port gets unicast frames to addresses that nobody has.
    pub flood: bool,
    /// How long an address stays that sends nothing.
    pub age: Duration,
}

/// What becomes of frames whose source could not be learned because the port's limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They are forwarded, and their source is not learned.
    Allow,
    /// They are dropped: `LearningLimit`.
    Drop,
}

/// A limit on what passes a port in one direction: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeConfig {
    /// Bits per second on the long run: how fast the bucket fills.
    pub average: u64,
    /// Bits per second while the bucket lasts; at least the average.
    pub peak: u64,
    /// Octets that the bucket holds.
    pub burst: u64,
}

/// What a port is to its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A VM's adapter, a host interface or a lab interface: unicast reaches it by its address.
    Vm,
    /// A physical NIC, or a veth standing for one: the way to everything that is not on this host.
    Uplink,
}

/// Whether a port takes part in forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Open,
    /// Its link is down, its engine is gone or its administrator took it down: `PortDown`.
    Down,
    /// An administrator blocked it: `PortBlocked`.
    Blocked,
}

/// One port with its effective policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Its number.
    pub id: PortId,
    /// The switch that it belongs to.
    pub switch: SwitchId,
    /// VM port or uplink.
    pub role: Role,
    /// Whether it takes part in forwarding.
    pub admission: Admission,
    /// VLAN admission and tagging. An uplink carries [`Policy::trunk_all`].
    pub vlan: Policy,
    /// The configured address. `None`: the first source that the port sends becomes its address.
    pub mac: Option<MacAddr>,
    /// Promiscuous mode accepted: the port receives every frame of its switch that its VLAN policy admits.
    pub promiscuous: bool,
    /// MAC changes accepted: the port also adopts the latest other source that it sends, unless it learns.
    pub mac_changes: bool,
    /// Forged transmits accepted: frames from any source pass.
    pub forged_transmits: bool,
    /// Largest payload of a frame in octets, after the Ethernet header and its tags (1280-9000).
    pub mtu: u16,
    /// The uplinks that the port may use. `None`: it does not leave the host; an uplink has none.
    pub team: Option<TeamId>,
    /// Whether spanning tree frames that the port sends are dropped: `BpduFilter`.
    pub bpdu_filter: bool,
    /// Whether addresses behind the port are learned, where forged transmits are accepted.
    pub learning: Option<LearningConfig>,
    /// The limit on what the switch receives from the port.
    pub shape_in: Option<ShapeConfig>,
    /// The limit on what it delivers to the port.
    pub shape_out: Option<ShapeConfig>,
    /// Whether its flows are counted, where its switch counts any.
    pub metered: bool,
}

impl PortConfig {
    /// An open VM port with vSphere's defaults for standard switches, without a configured address or a way out.
    pub fn vm(id: PortId, switch: SwitchId, vlan: Policy) -> Self {
        Self {
            id,
            switch,
            role: Role::Vm,
            admission: Admission::Open,
            vlan,
            mac: None,
            promiscuous: false,
            mac_changes: true,
            forged_transmits: true,
            mtu: 1500,
            team: None,
            bpdu_filter: false,
            learning: None,
            shape_in: None,
            shape_out: None,
            metered: false,
        }
    }

    /// How addresses behind the port are learned, if they are. An uplink learns none, and a port whose forged transmits are
    /// rejected has none to learn: it is then as if learning were off.
    pub fn effective_learning(&self) -> Option<LearningConfig> {
        self.learning
            .filter(|_| self.forged_transmits && self.role == Role::Vm)
    }

    /// An open uplink.
    pub fn uplink(id: PortId, switch: SwitchId) -> Self {
        Self {
            role: Role::Uplink,
            mac_changes: false,
            ..Self::vm(id, switch, Policy::trunk_all())
        }
    }
}
