//! Settings to change: what a `set` says, and what it leaves as it is.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use weft_packet::MacAddr;
use weft_vlan::PortgroupVlan;

use crate::name::PortgroupName;
use crate::spec::{
    ActiveTimeout, Attachment, Collectors, Decision, FlowDirection, FlowRoom, IdleTimeout,
    Inheritable, IpCidr, LearningPatch, LinkSetting, Mtu, NetflowSpec, NetflowVersion, PortSpec,
    PortgroupSecurity, PortgroupSpec, Sampling, Setting, ShapingPatch, SourceIp,
    SwitchLearningPatch, SwitchSecurity, SwitchShapingPatch, SwitchTeamingPatch, TeamingPatch,
    Toggle, VswitchSpec, YesNo, is_default,
};

/// Settings of a switch to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VswitchPatch {
    /// Largest payload of a frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Defaults of the security policy.
    pub security: SwitchSecurityPatch,
    /// Defaults of teaming.
    #[serde(skip_serializing_if = "is_default")]
    pub teaming: SwitchTeamingPatch,
    /// Defaults of shaping.
    #[serde(skip_serializing_if = "is_default")]
    pub shaping: SwitchShapingPatch,
    /// Defaults of MAC learning.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_learning: SwitchLearningPatch,
    /// Whether spanning tree frames of guests are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpdu_filter: Option<Toggle>,
    /// Whether flows are counted and told to the collectors of the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netflow: Option<Toggle>,
}

/// Leaves of a switch's security policy to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SwitchSecurityPatch {
    /// Whether ports receive every frame of the switch that their VLAN admits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<Decision>,
    /// Whether a port is reachable under an address that its guest chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_changes: Option<Decision>,
    /// Whether a port may send from an address that is not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forged_transmits: Option<Decision>,
}

/// Settings of a port group to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortgroupPatch {
    /// VLAN of the port group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<PortgroupVlan>,
    /// Its security policy.
    pub security: SecurityPatch,
    /// Its teaming.
    #[serde(skip_serializing_if = "is_default")]
    pub teaming: TeamingPatch,
    /// Its shaping.
    #[serde(skip_serializing_if = "is_default")]
    pub shaping: ShapingPatch,
    /// Its MAC learning.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_learning: LearningPatch,
    /// Whether spanning tree frames of guests are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpdu_filter: Option<Setting<Toggle>>,
    /// Whether flows are counted and told to the collectors of the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netflow: Option<Setting<Toggle>>,
}

/// Leaves of a port group's security policy to change; `inherit` gives a leaf back to the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecurityPatch {
    /// Whether ports receive every frame of the switch that their VLAN admits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<Inheritable>,
    /// Whether a port is reachable under an address that its guest chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_changes: Option<Inheritable>,
    /// Whether a port may send from an address that is not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forged_transmits: Option<Inheritable>,
}

/// Settings of a port to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortPatch {
    /// The port group to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portgroup: Option<PortgroupName>,
    /// The adapter's address; `null` takes it away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub mac: Option<Option<MacAddr>>,
    /// Whether the port is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSetting>,
    /// Whether the port is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<bool>,
}

/// Settings of the host's own interface to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VmkPatch {
    /// The port group to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portgroup: Option<PortgroupName>,
    /// Its address with prefix length; `null` takes it away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub ip: Option<Option<IpCidr>>,
    /// The adapter's address; `null` gives it the one that follows from its name.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub mac: Option<Option<MacAddr>>,
    /// Largest payload of a frame; `null` gives it its switch's.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub mtu: Option<Option<Mtu>>,
}

/// Settings of a switch's NetFlow to change; what is absent stays. Where there is none yet, the collectors make it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetflowPatch {
    /// Who is told, instead of all that were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collectors: Option<Collectors>,
    /// In which format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<NetflowVersion>,
    /// A flow that goes on is told after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveTimeout>,
    /// A flow is over when no packet of it came for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleTimeout>,
    /// One packet in so many is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// The observation domain; `null` for the one that follows from the names of host and switch.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub domain: Option<Option<u32>>,
    /// The address that messages come from; `null` for that of the way to the collector.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub source_ip: Option<Option<SourceIp>>,
    /// Whether only frames between ports of the host are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_only: Option<YesNo<false>>,
    /// Which frames of a port are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<FlowDirection>,
    /// Flows that each poll thread has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowRoom>,
}

/// A field that stands there, even as `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl VswitchPatch {
    /// Makes the change.
    pub fn apply(&self, spec: &mut VswitchSpec) {
        put(&mut spec.mtu, self.mtu);
        let SwitchSecurity {
            promiscuous,
            mac_changes,
            forged_transmits,
        } = &mut spec.security;
        put(promiscuous, self.security.promiscuous);
        put(mac_changes, self.security.mac_changes);
        put(forged_transmits, self.security.forged_transmits);
        self.teaming.apply(&mut spec.teaming);
        self.teaming.make_room(&mut spec.teaming);
        self.shaping.apply(&mut spec.shaping);
        self.mac_learning.apply(&mut spec.mac_learning);
        put(&mut spec.bpdu_filter, self.bpdu_filter);
        put(&mut spec.netflow, self.netflow);
    }
}

impl PortgroupPatch {
    /// Makes the change.
    pub fn apply(&self, spec: &mut PortgroupSpec) {
        put(&mut spec.vlan, self.vlan);
        let PortgroupSecurity {
            promiscuous,
            mac_changes,
            forged_transmits,
        } = &mut spec.security;
        put(promiscuous, self.security.promiscuous);
        put(mac_changes, self.security.mac_changes);
        put(forged_transmits, self.security.forged_transmits);
        self.teaming.apply(&mut spec.teaming);
        self.teaming.make_room(&mut spec.teaming);
        self.shaping.apply(&mut spec.shaping);
        self.mac_learning.apply(&mut spec.mac_learning);
        put(&mut spec.bpdu_filter, self.bpdu_filter);
        put(&mut spec.netflow, self.netflow);
    }
}

impl PortPatch {
    pub(crate) fn apply(&self, spec: &mut PortSpec) {
        if let Some(portgroup) = &self.portgroup {
            spec.portgroup = portgroup.clone();
        }
        put(&mut spec.mac, self.mac);
        put(&mut spec.link, self.link);
        put(&mut spec.block, self.block);
    }
}

impl VmkPatch {
    pub(crate) fn apply(&self, spec: &mut PortSpec) {
        if let Some(portgroup) = &self.portgroup {
            spec.portgroup = portgroup.clone();
        }
        put(&mut spec.mac, self.mac);
        if let Attachment::Vmk(vmk) = &mut spec.attachment {
            put(&mut vmk.ip, self.ip);
            put(&mut vmk.mtu, self.mtu);
        }
    }
}

impl NetflowPatch {
    /// Makes the change.
    pub fn apply(&self, spec: &mut NetflowSpec) {
        if let Some(collectors) = &self.collectors {
            spec.collectors = collectors.clone();
        }
        put(&mut spec.version, self.version);
        put(&mut spec.active, self.active);
        put(&mut spec.idle, self.idle);
        put(&mut spec.sampling, self.sampling);
        put(&mut spec.domain, self.domain);
        put(&mut spec.source_ip, self.source_ip);
        put(&mut spec.internal_only, self.internal_only);
        put(&mut spec.direction, self.direction);
        put(&mut spec.flows, self.flows);
    }
}

fn put<T: Copy>(field: &mut T, value: Option<T>) {
    *field = value.unwrap_or(*field);
}
