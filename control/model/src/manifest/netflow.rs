//! NetFlow as a section of manifests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{HostName, VswitchName};
use crate::spec::{
    ActiveTimeout, Collectors, FlowDirection, FlowRoom, IdleTimeout, NetflowSpec, NetflowVersion,
    Sampling, SourceIp, YesNo,
};

/// Who is told of the flows of a switch, and how they are counted. Port groups that have theirs counted say `netflow: enabled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetflowSection {
    /// The switch.
    pub vswitch: VswitchName,
    /// In lab files: the host that has it. A lab of one host need not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Who is told: up to eight, each an address and a UDP port.
    pub collectors: Collectors,
    /// In which format.
    #[serde(default)]
    pub version: NetflowVersion,
    /// A flow that goes on is told after so long.
    #[serde(default)]
    pub active: ActiveTimeout,
    /// A flow is over when no packet of it came for so long.
    #[serde(default)]
    pub idle: IdleTimeout,
    /// One packet in so many is counted, at random; 0 and 1: every one. With version 5 at most 16383.
    #[serde(default)]
    pub sampling: Sampling,
    /// The observation domain. Absent: one that follows from the names of host and switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<u32>,
    /// The address that messages come from, of the family of each collector. Absent: that of the way to the collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<SourceIp>,
    /// Whether only frames between ports of the host are counted.
    #[serde(default)]
    pub internal_only: YesNo<false>,
    /// Which frames of a port are counted: those that its VM sends, those that it receives, or both.
    #[serde(default)]
    pub direction: FlowDirection,
    /// Flows that each poll thread has room for.
    #[serde(default)]
    pub flows: FlowRoom,
}

impl NetflowSection {
    /// What is asked for, wherever the switch is.
    pub fn spec(&self) -> NetflowSpec {
        let Self {
            vswitch,
            host: _,
            collectors,
            version,
            active,
            idle,
            sampling,
            domain,
            source_ip,
            internal_only,
            direction,
            flows,
        } = self.clone();
        NetflowSpec {
            vswitch,
            collectors,
            version,
            active,
            idle,
            sampling,
            domain,
            source_ip,
            internal_only,
            direction,
            flows,
        }
    }
}

impl From<NetflowSpec> for NetflowSection {
    fn from(spec: NetflowSpec) -> Self {
        let NetflowSpec {
            vswitch,
            collectors,
            version,
            active,
            idle,
            sampling,
            domain,
            source_ip,
            internal_only,
            direction,
            flows,
        } = spec;
        Self {
            vswitch,
            host: None,
            collectors,
            version,
            active,
            idle,
            sampling,
            domain,
            source_ip,
            internal_only,
            direction,
            flows,
        }
    }
}
