//! Objects as the agent shows them, and changes to them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{
    InterfaceName, ObjectRef, Outcome, PortName, PortSpec, PortgroupName, PortgroupPatch,
    PortgroupSpec, ResourceVersion, TeamingPolicy, Uid, VmkSpec, VswitchName, VswitchSpec,
};
use weft_packet::MacAddr;

/// An object: what was asked for, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<S, T> {
    /// Its name.
    pub name: String,
    /// Which life of the name this is.
    pub uid: Uid,
    /// The change that wrote it last.
    pub resource_version: ResourceVersion,
    /// What was asked for.
    pub spec: S,
    /// What became of it.
    pub status: T,
}

/// A standard switch.
pub type Vswitch = Envelope<VswitchSpec, VswitchStatus>;
/// A port group.
pub type Portgroup = Envelope<PortgroupSpec, PortgroupStatus>;
/// A port.
pub type Port = Envelope<PortSpec, PortStatus>;

/// One of the host's own interfaces.
pub type Vmk = Envelope<VmkSpec, PortStatus>;

/// How a switch stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VswitchStatus {
    /// Its port groups.
    pub portgroups: Vec<PortgroupName>,
    /// How many ports it has, without uplinks.
    pub ports: usize,
    /// How many of them are up.
    pub ports_up: usize,
}

/// How a port group stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortgroupStatus {
    /// How many ports it has.
    pub ports: usize,
    /// How many of them are up.
    pub ports_up: usize,
}

/// Whether a port takes part in forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PortState {
    /// It does.
    Up,
    /// Its link, its interface or its administrator keeps it down.
    Down,
    /// Its administrator blocked it.
    Blocked,
}

/// How a port stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    /// The switch that it is on.
    pub vswitch: VswitchName,
    /// Whether it takes part in forwarding.
    pub state: PortState,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What moves its frames; absent while nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
    /// The addresses that the switch delivers to it; the first is the effective one.
    pub addresses: Vec<PortAddress>,
    /// What it has learned; absent where its port group does not learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<PortLearning>,
}

/// What a port has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortLearning {
    /// Addresses behind it, on each VLAN for itself.
    pub addresses: usize,
    /// How many there may be.
    pub limit: usize,
}

impl PortStatus {
    /// The address that forged transmits are compared with.
    pub fn effective_mac(&self) -> Option<MacAddr> {
        self.addresses.first().map(|address| address.mac)
    }
}

/// An address of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortAddress {
    /// The address.
    pub mac: MacAddr,
    /// Where it comes from.
    pub source: AddressSource,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AddressSource {
    /// From the port's settings.
    Configured,
    /// The first source that the port sent, where none is configured.
    Taken,
    /// A later source that the port sent.
    Adopted,
    /// One of several behind the port, where its port group learns.
    Learned,
    /// From the names of host and interface: one of the host's own interfaces, for which none is configured.
    Generated,
}

impl fmt::Display for AddressSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "configured",
            Self::Taken => "taken",
            Self::Adopted => "adopted",
            Self::Learned => "learned",
            Self::Generated => "generated",
        })
    }
}

/// What moves a port's frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// `af-xdp`, `packet`, `tap` or `vhost-user`.
    pub kind: String,
    /// `native` or `generic`, of an AF_XDP engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<String>,
    /// `zero-copy` or `copy`, of an AF_XDP engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_mode: Option<String>,
    /// Receive queues served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u32>,
    /// The driver of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Whether its memory is on huge pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<bool>,
    /// How the VM is connected, of a vhost-user engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestStatus>,
    /// What the operator should know, each a full sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a VM is connected to its port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestStatus {
    /// `waiting`, `negotiating`, `running` or `failed`.
    pub state: String,
    /// Why it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often its hypervisor has connected since the port was attached.
    pub connections: u64,
    /// Virtio features that its driver accepted, by the names of the virtio specification.
    pub features: Vec<String>,
    /// The queues that it uses.
    pub queues: Vec<GuestQueue>,
}

/// A queue between a VM and its port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestQueue {
    /// `receiveq1` and so on, which carry frames to the VM, or `transmitq1` and so on, from it.
    pub name: String,
    /// Entries of its ring.
    pub size: u16,
    /// Of these, buffers that the driver made available and has not got back: room for frames in a `receiveq`, frames that
    /// wait in a `transmitq`.
    pub available: u16,
    /// As many there were when the queue started. Where an agent was killed, up to 32 of the frames that a `transmitq` held
    /// then are forwarded for the second time.
    pub found: u16,
}

/// An uplink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// The switch that has it.
    pub vswitch: VswitchName,
    /// Its interface.
    pub interface: InterfaceName,
    /// Whether it takes part in forwarding.
    pub state: UplinkState,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the kernel sees a carrier; absent while the interface does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<bool>,
    /// Speed in megabits per second, where the driver tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// What moves its frames; absent while nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
    /// What it is to each port group of its switch.
    #[serde(default)]
    pub teams: Vec<UplinkTeam>,
}

/// Whether an uplink takes part in forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UplinkState {
    /// It does.
    Up,
    /// Its link or its interface keeps it down.
    Down,
    /// Its link has just come up, and is used when it has been up for long enough.
    Waiting,
    /// Its link goes up and down too often, and is not used for a while.
    Unstable,
}

/// What an uplink is to a port group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UplinkTeam {
    /// The port group.
    pub portgroup: PortgroupName,
    /// How the port group's ports choose among their uplinks.
    pub policy: TeamingPolicy,
    /// Its place in their order.
    pub place: UplinkPlace,
    /// The ports that leave by it at this moment; with `iphash`, some of whose frames do.
    pub ports: Vec<PortName>,
    /// Why these do, or why none does.
    pub reason: String,
}

/// The place of an uplink in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UplinkPlace {
    /// Used while it is usable.
    Active,
    /// Stands in for an active one.
    Standby,
    /// Not used.
    Unused,
}

impl fmt::Display for UplinkPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Unused => "unused",
        })
    }
}

/// Makes an interface an uplink of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UplinkRequest {
    /// The switch.
    pub vswitch: VswitchName,
    /// The interface.
    pub interface: InterfaceName,
}

/// Changes settings of several port groups together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortgroupsRequest {
    /// The port groups.
    pub portgroups: Vec<PortgroupName>,
    /// What to change of each.
    pub set: PortgroupPatch,
}

/// How far to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// Until the change is durable.
    None,
    /// Until it is in force on the poll threads.
    #[default]
    Applied,
}

/// How to make a change: query parameters of every changing request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangeOptions {
    /// Only say what would change.
    pub dry_run: bool,
    /// How far to wait.
    pub wait: Wait,
    /// Take an interface even if it carries addresses or the operator's connection.
    pub yes: bool,
    /// Refuse unless the object is at this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<ResourceVersion>,
}

/// What a change did, or with `dryRun` would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeResult {
    /// The object.
    pub object: ObjectRef,
    /// `created`, `changed` with `fields`, `unchanged` or `deleted`.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether it was only asked what would change.
    pub dry_run: bool,
    /// Ports whose settings in force change with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortName>,
    /// Ports and uplinks whose traffic pauses, because they are opened anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupted: Vec<ObjectRef>,
    /// Interfaces that are taken or released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceName>,
    /// What the operator should know, each a full sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
