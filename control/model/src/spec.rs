//! What an administrator asks for, object by object. The same fields stand in manifests, in the API and in the store.

mod attachment;
mod learning;
mod leaves;
mod mtu;
mod netflow;
mod number;
mod quantity;
mod setting;
mod shaping;
mod teaming;
mod vmk;
mod words;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use weft_packet::MacAddr;
use weft_vlan::PortgroupVlan;

pub use attachment::{Attachment, VhostUser};
use attachment::{AttachmentFields, VmkFields};
pub use learning::{
    BeyondLimit, EffectiveLearning, LearningAge, LearningLimit, LearningPatch, PortgroupLearning,
    SwitchLearning, SwitchLearningPatch,
};
pub use mtu::{Mtu, MtuError};
pub use netflow::{
    ActiveTimeout, Collector, Collectors, FlowDirection, FlowRoom, IdleTimeout, NetflowSpec,
    NetflowVersion, Sampling, SourceIp,
};
pub use number::{Number, YesNo};
pub use quantity::{Burst, Kind, Quantity, Rate, Seconds, Time, WithDefault};
pub use setting::Setting;
pub use shaping::{
    EffectiveShaping, Limit, PortgroupShaping, Shaping, ShapingPatch, SwitchShaping,
    SwitchShapingPatch,
};
pub use teaming::{
    ActiveUplinks, EffectiveTeaming, LbtPeriod, LbtThreshold, PortgroupTeaming, SwitchTeaming,
    SwitchTeamingPatch, TeamingPatch, TeamingPolicy, UpDelay, Uplinks,
};
pub use vmk::{IpCidr, IpCidrError, Vmk, VmkSpec, vmk_mac};
use words::words;

use crate::name::{InterfaceName, PortName, PortgroupName, VswitchName};

/// A standard switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VswitchSpec {
    /// Its name, unique on the host.
    pub name: VswitchName,
    /// The network interfaces through which the switch reaches the world. Empty: the switch is isolated.
    #[serde(default)]
    pub uplinks: Vec<InterfaceName>,
    /// Largest payload of a frame, in octets.
    #[serde(default)]
    pub mtu: Mtu,
    /// What its port groups inherit.
    #[serde(default)]
    pub security: SwitchSecurity,
    /// By which uplinks its ports reach the world.
    #[serde(default, skip_serializing_if = "is_default")]
    pub teaming: SwitchTeaming,
    /// Limits on what passes a port.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shaping: SwitchShaping,
    /// Whether addresses behind a port are learned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mac_learning: SwitchLearning,
    /// Whether spanning tree frames of guests are dropped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bpdu_filter: Toggle,
    /// Whether flows are counted and told to the collectors of the switch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub netflow: Toggle,
}

impl VswitchSpec {
    /// A switch of this name with defaults for everything else.
    pub fn new(name: VswitchName) -> Self {
        Self {
            name,
            uplinks: Vec::new(),
            mtu: Mtu::default(),
            security: SwitchSecurity::default(),
            teaming: SwitchTeaming::default(),
            shaping: SwitchShaping::default(),
            mac_learning: SwitchLearning::default(),
            bpdu_filter: Toggle::default(),
            netflow: Toggle::default(),
        }
    }

    /// The leaves of policies beyond security that are not as they are by default, by the names that they have in manifests.
    pub fn leaves(&self) -> Vec<(&'static str, String)> {
        let toggle = |toggle: Toggle| (!is_default(&toggle)).then(|| toggle.to_string());
        let (filter, netflow) = (toggle(self.bpdu_filter), toggle(self.netflow));
        let mut leaves = self.teaming.leaves();
        leaves.extend(self.shaping.leaves());
        leaves.extend(self.mac_learning.leaves());
        leaves.extend(filter.map(|filter| ("bpduFilter", filter)));
        leaves.extend(netflow.map(|netflow| ("netflow", netflow)));
        leaves
    }
}

/// A port group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortgroupSpec {
    /// Its name, unique on the host.
    pub name: PortgroupName,
    /// The switch that it belongs to.
    pub vswitch: VswitchName,
    /// 0: the switch adds no tag; 1-4094: the switch tags; 4095: the guest tags.
    #[serde(default)]
    pub vlan: PortgroupVlan,
    /// What differs from the switch.
    #[serde(default, skip_serializing_if = "PortgroupSecurity::inherits_all")]
    pub security: PortgroupSecurity,
    /// By which uplinks its ports reach the world.
    #[serde(default, skip_serializing_if = "is_default")]
    pub teaming: PortgroupTeaming,
    /// Limits on what passes a port.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shaping: PortgroupShaping,
    /// Whether addresses behind a port are learned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mac_learning: PortgroupLearning,
    /// Whether spanning tree frames of guests are dropped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bpdu_filter: Setting<Toggle>,
    /// Whether flows are counted and told to the collectors of the switch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub netflow: Setting<Toggle>,
}

impl PortgroupSpec {
    /// A port group without a VLAN that inherits everything.
    pub fn new(name: PortgroupName, vswitch: VswitchName) -> Self {
        Self {
            name,
            vswitch,
            vlan: PortgroupVlan::NONE,
            security: PortgroupSecurity::default(),
            teaming: PortgroupTeaming::default(),
            shaping: PortgroupShaping::default(),
            mac_learning: PortgroupLearning::default(),
            bpdu_filter: Setting::default(),
            netflow: Setting::default(),
        }
    }

    /// The leaves of policies beyond security that are set, by the names that they have in manifests.
    pub fn leaves(&self) -> Vec<(&'static str, String)> {
        let filter = self.bpdu_filter.own().map(ToString::to_string);
        let netflow = self.netflow.own().map(ToString::to_string);
        let mut leaves = self.teaming.leaves();
        leaves.extend(self.shaping.leaves());
        leaves.extend(self.mac_learning.leaves());
        leaves.extend(filter.map(|filter| ("bpduFilter", filter)));
        leaves.extend(netflow.map(|netflow| ("netflow", netflow)));
        leaves
    }
}

/// A port: where one VM adapter or interface is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PortFields", into = "PortFields")]
pub struct PortSpec {
    /// Its name, unique on the host.
    pub name: PortName,
    /// The port group that it is connected to.
    pub portgroup: PortgroupName,
    /// The adapter's address. `None`: the first source that the port sends.
    pub mac: Option<MacAddr>,
    /// What it is attached to.
    pub attachment: Attachment,
    /// Whether its administrator wants it connected.
    pub link: LinkSetting,
    /// Whether its administrator blocked it.
    pub block: bool,
}

impl PortSpec {
    /// A connected port on one end of a veth pair, without a configured address.
    pub fn veth(name: PortName, portgroup: PortgroupName, interface: InterfaceName) -> Self {
        let engine = VethEngine::AfXdp;
        Self::new(name, portgroup, Attachment::Veth { interface, engine })
    }

    /// Whether it is the host's own interface.
    pub fn is_vmk(&self) -> bool {
        matches!(self.attachment, Attachment::Vmk(_))
    }

    /// A connected port without a configured address.
    pub fn new(name: PortName, portgroup: PortgroupName, attachment: Attachment) -> Self {
        Self {
            name,
            portgroup,
            mac: None,
            attachment,
            link: LinkSetting::Up,
            block: false,
        }
    }
}

/// A port: where one VM adapter or interface is attached, by one of `veth`, `vhostUser`, `tap` and `vmk`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "PortSpec", transform = attached_once)]
struct PortFields {
    /// Its name, unique on the host.
    name: PortName,
    /// The port group that it is connected to.
    portgroup: PortgroupName,
    /// The adapter's address. Absent: the first source that the port sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
    /// The host's end of a veth pair, or any other Ethernet interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    veth: Option<InterfaceName>,
    /// What moves the frames of `veth`.
    #[serde(default, skip_serializing_if = "is_default")]
    engine: VethEngine,
    /// The socket of a VM's network adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost_user: Option<VhostUser>,
    /// A TAP device, made with the port where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tap: Option<InterfaceName>,
    /// The host's own interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vmk: Option<VmkFields>,
    /// Whether its administrator wants it connected.
    #[serde(default, skip_serializing_if = "is_default")]
    link: LinkSetting,
    /// Whether its administrator blocked it.
    #[serde(default, skip_serializing_if = "is_default")]
    block: bool,
}

/// What the parser asks of the attachment as a whole.
fn attached_once(schema: &mut Schema) {
    let has = |field: &str, kind: &str| json!({"required": [field], "properties": {field: {"type": kind}}});
    let attachments = [
        ("veth", "string"),
        ("vhostUser", "object"),
        ("tap", "string"),
        ("vmk", "object"),
    ];
    let attachments = attachments.map(|(field, kind)| has(field, kind));
    schema.insert("oneOf".to_owned(), json!(attachments));
    let other_engine = json!({
        "required": ["engine"],
        "properties": {"engine": {"not": {"const": VethEngine::default()}}},
    });
    schema.insert("if".to_owned(), other_engine);
    schema.insert("then".to_owned(), has("veth", "string"));
}

/// Whether a value may be left out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TryFrom<PortFields> for PortSpec {
    type Error = String;

    fn try_from(fields: PortFields) -> Result<Self, String> {
        let PortFields {
            name,
            portgroup,
            mac,
            veth,
            engine,
            vhost_user,
            tap,
            vmk,
            link,
            block,
        } = fields;
        let attachment = AttachmentFields {
            veth,
            engine,
            vhost_user,
            tap,
            vmk,
        };
        let attachment = attachment
            .of(&name)
            .map_err(|problem| format!("port {name}: {problem}"))?;
        Ok(Self {
            name,
            portgroup,
            mac,
            attachment,
            link,
            block,
        })
    }
}

impl From<PortSpec> for PortFields {
    fn from(port: PortSpec) -> Self {
        let PortSpec {
            name,
            portgroup,
            mac,
            attachment,
            link,
            block,
        } = port;
        let AttachmentFields {
            veth,
            engine,
            vhost_user,
            tap,
            vmk,
        } = attachment.into();
        Self {
            name,
            portgroup,
            mac,
            veth,
            engine,
            vhost_user,
            tap,
            vmk,
            link,
            block,
        }
    }
}

/// The security policy of a switch; vSphere's defaults for standard switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SwitchSecurity {
    /// Whether ports receive every frame of the switch that their VLAN admits.
    pub promiscuous: Decision,
    /// Whether a port is reachable under an address that its guest chose.
    pub mac_changes: Decision,
    /// Whether a port may send from an address that is not its own.
    pub forged_transmits: Decision,
}

impl Default for SwitchSecurity {
    fn default() -> Self {
        Self {
            promiscuous: Decision::Reject,
            mac_changes: Decision::Accept,
            forged_transmits: Decision::Accept,
        }
    }
}

/// The security policy of a port group, each leaf set or left to its switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortgroupSecurity {
    /// Whether ports receive every frame of the switch that their VLAN admits.
    #[serde(skip_serializing_if = "is_default")]
    pub promiscuous: Inheritable,
    /// Whether a port is reachable under an address that its guest chose.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_changes: Inheritable,
    /// Whether a port may send from an address that is not its own.
    #[serde(skip_serializing_if = "is_default")]
    pub forged_transmits: Inheritable,
}

impl PortgroupSecurity {
    /// Whether no leaf is set.
    pub fn inherits_all(&self) -> bool {
        *self == Self::default()
    }
}

/// The value of a policy leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Allowed.
    Accept,
    /// Not allowed.
    Reject,
}

words!(Decision { Accept = "accept", Reject = "reject" });

/// A policy leaf that is set, or left to the object above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Inheritable {
    /// Allowed.
    Accept,
    /// Not allowed.
    Reject,
    /// As the object above says.
    #[default]
    Inherit,
}

words!(Inheritable { Accept = "accept", Reject = "reject", Inherit = "inherit" });

impl Inheritable {
    /// The decision, where one was made.
    pub fn decision(self) -> Option<Decision> {
        match self {
            Self::Accept => Some(Decision::Accept),
            Self::Reject => Some(Decision::Reject),
            Self::Inherit => None,
        }
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Toggle {
    /// It is.
    Enabled,
    /// It is not.
    #[default]
    Disabled,
}

words!(Toggle { Enabled = "enabled", Disabled = "disabled" });

/// What moves the frames of a port on a network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VethEngine {
    /// AF_XDP sockets: short frames fast, without the kernel's stack.
    #[default]
    AfXdp,
    /// AF_PACKET sockets: large frames of TCP uncut, with their offloads.
    Packet,
}

words!(VethEngine { AfXdp = "af-xdp", Packet = "packet" });

/// Which end of a vhost-user socket the switch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SocketRole {
    /// The hypervisor listens and the switch connects, so that either can be restarted without the other.
    #[default]
    Client,
    /// The switch listens.
    Server,
}

words!(SocketRole { Client = "client", Server = "server" });

/// Whether the adapter's cable is plugged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LinkSetting {
    /// Plugged in.
    #[default]
    Up,
    /// Pulled.
    Down,
}

words!(LinkSetting { Up = "up", Down = "down" });
