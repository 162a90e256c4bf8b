//! What the agent reports: health, policy, addresses and counters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::{HostName, ObjectRef, PortName, VswitchName};
use weft_packet::MacAddr;

use crate::finding::Finding;
use crate::object::AddressSource;

/// The health of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The host's name.
    pub host: HostName,
    /// The agent's version.
    pub version: String,
    /// The agent's process.
    pub pid: u32,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// The poll threads.
    pub threads: Vec<ThreadReport>,
    /// How many objects there are.
    pub counts: Counts,
    /// What is wrong, worst first. Empty: nothing.
    pub problems: Vec<Finding>,
}

/// One poll thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadReport {
    /// Its number.
    pub index: usize,
    /// The core that it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// Receive queues of ports and uplinks that it owns.
    pub queues: usize,
    /// Frames that it moved since its start.
    pub frames_total: u64,
    /// Share of the time since its start that it spent on frames, 0-1.
    pub busy_share: f64,
    /// Share of the time since its start that it slept, 0-1.
    pub asleep_share: f64,
    /// For how long it has been standing still, in seconds, if it is stalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_seconds: Option<u64>,
    /// Cycles of the time stamp counter per frame, once it moved 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles_per_frame: Option<f64>,
}

/// How many objects there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Standard switches.
    pub vswitches: usize,
    /// Port groups.
    pub portgroups: usize,
    /// Ports.
    pub ports: usize,
    /// Ports that are up.
    pub ports_up: usize,
    /// Uplinks.
    pub uplinks: usize,
    /// Uplinks that are up.
    pub uplinks_up: usize,
}

/// A port's policy after inheritance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// The port.
    pub port: PortName,
    /// Every leaf.
    pub leaves: Vec<PolicyLeaf>,
}

/// One leaf of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLeaf {
    /// Its name as a path in manifests, such as `security.promiscuous`.
    pub leaf: String,
    /// The value in force.
    pub value: String,
    /// The object that sets it.
    pub from: ObjectRef,
}

/// An address that a switch delivers to a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FdbEntry {
    /// The switch.
    pub vswitch: VswitchName,
    /// The VLANs in which the address is known.
    pub vlan: FdbVlan,
    /// The address.
    pub mac: MacAddr,
    /// The port that has it.
    pub port: PortName,
    /// Where the address comes from.
    pub source: FdbSource,
    /// Of a learned one: full seconds since the port last sent from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

/// Where an entry comes from.
pub type FdbSource = AddressSource;

/// The VLANs of an entry: a number, or `"all"` for a port where guests tag.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(untagged)]
pub enum FdbVlan {
    /// One VLAN; 0 is untagged.
    One(u16),
    /// Every VLAN.
    All(AllVlans),
}

/// The word `"all"`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AllVlans {
    /// Every VLAN.
    All,
}

impl FdbVlan {
    /// Every VLAN.
    pub const ALL: Self = Self::All(AllVlans::All);
}

impl std::fmt::Display for FdbVlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(vlan) => vlan.fmt(f),
            Self::All(_) => f.write_str("all"),
        }
    }
}

/// The counters of a port, or of an uplink by its interface: since it was added, or since the agent started.
///
/// `rxFrames = rxDelivered + rxUndelivered + sum(rxDrops)` and `txAttempts = txFrames + txQueued + sum(txDrops)`. Maps of
/// reasons hold only those that occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortStats {
    /// The port's name, or the uplink's interface.
    pub name: String,
    /// Whether it is an uplink.
    #[serde(default)]
    pub uplink: bool,
    /// Frames that the switch received from the port.
    pub rx_frames: u64,
    /// Their octets.
    pub rx_bytes: u64,
    /// Frames that the switch delivered to the port.
    pub tx_frames: u64,
    /// Their octets.
    pub tx_bytes: u64,
    /// Of those received: delivered to at least one destination.
    pub rx_delivered: u64,
    /// Of those received: sent to destinations none of which could take it.
    pub rx_undelivered: u64,
    /// Copies meant for the port.
    pub tx_attempts: u64,
    /// Of these: those that wait at this moment for the port's limit.
    #[serde(default)]
    pub tx_queued: u64,
    /// Frames whose checksum was only the pseudo-header sum, and which the switch completed.
    pub checksums_completed: u64,
    /// Frames dropped in either direction, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Of these: frames received from the port.
    pub rx_drops: BTreeMap<String, u64>,
    /// Of these: copies meant for the port.
    pub tx_drops: BTreeMap<String, u64>,
    /// Large frames of TCP and trains of UDP datagrams that had to be cut for the port, which does not take them whole.
    #[serde(default)]
    pub segmented: u64,
    /// The frames that they were cut into.
    #[serde(default)]
    pub segments: u64,
    /// Frames that the kernel dropped before the switch could see them, by its reasons, since the interface was opened.
    pub kernel_drops: BTreeMap<String, u64>,
}

/// Every reason to drop a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DropsReport {
    /// One entry per reason, also those that did not occur.
    pub reasons: Vec<DropCount>,
}

/// How often a reason occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DropCount {
    /// The reason.
    pub reason: String,
    /// Frames and copies, over all ports and uplinks.
    pub count: u64,
    /// What happened, and where to look.
    pub help: String,
    /// The ports where it occurred, most first.
    pub ports: Vec<PortDrops>,
}

/// How often a reason occurred at one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortDrops {
    /// The port's name, or the uplink's interface.
    pub name: String,
    /// Of frames received from it.
    pub rx: u64,
    /// Of copies meant for it.
    pub tx: u64,
}
