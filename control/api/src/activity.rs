//! What moves on a host, as counters at one instant: two of them make rates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_model::HostName;

use crate::finding::FindingGroup;
use crate::object::PortState;

/// Everything that `weft top` shows, in one answer. Rates are differences of two of these, divided by the difference of
/// [`uptime_nanoseconds`](Self::uptime_nanoseconds): how long the answers took does not matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// The host's name.
    pub host: HostName,
    /// The agent's process. Counters of another one have nothing to do with these.
    pub pid: u32,
    /// Nanoseconds since the agent started.
    pub uptime_nanoseconds: u64,
    /// The poll threads.
    pub threads: Vec<ThreadActivity>,
    /// Ports and uplinks.
    pub ports: Vec<PortActivity>,
    /// What is wrong, worst first, with what has the same cause in one entry.
    pub problems: Vec<FindingGroup>,
}

/// Counters of a poll thread since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadActivity {
    /// Its number.
    pub index: usize,
    /// The core that it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// Frames that it moved.
    pub frames: u64,
    /// Cycles of the time stamp counter that passed.
    pub elapsed_cycles: u64,
    /// Of these, in passes that moved frames.
    pub busy_cycles: u64,
    /// Nanoseconds that it slept.
    pub asleep_nanoseconds: u64,
}

/// Counters of a port since it was added, or since the agent started. Maps of reasons hold only those that occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortActivity {
    /// The port's name, or the uplink's interface.
    pub name: String,
    /// Whether it is an uplink.
    pub uplink: bool,
    /// Whether it takes part in forwarding.
    pub state: PortState,
    /// Frames that the switch received from the port.
    pub rx_frames: u64,
    /// Their octets.
    pub rx_bytes: u64,
    /// Frames that the switch delivered to the port.
    pub tx_frames: u64,
    /// Their octets.
    pub tx_bytes: u64,
    /// Frames and copies dropped in either direction, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drops: BTreeMap<String, u64>,
    /// Frames that the kernel dropped before the switch could see them, by its reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kernel_drops: BTreeMap<String, u64>,
}
