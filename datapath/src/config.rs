//! What the control side hands to the data path: plain data, no names, no inheritance.
//!
//! The control side compiles its intent into a [`Config`]; [`Datapath::apply`](crate::Datapath::apply) turns
//! that into the immutable snapshot which poll threads read.

use std::fmt;

use weft_packet::MacAddr;
use weft_vlan::Policy;

/// A port of the data path: a small dense number that the control side allocates (lowest free one) and that
/// stays with the port for as long as it is attached.
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
    /// MAC changes accepted: the port also adopts the latest other source that it sends.
    pub mac_changes: bool,
    /// Forged transmits accepted: frames from any source pass.
    pub forged_transmits: bool,
    /// Largest payload of a frame in octets, after the Ethernet header and its tags (1280-9000).
    pub mtu: u16,
}
