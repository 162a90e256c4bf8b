//! Manifests: the configuration of a host, or of a lab, as one file.

mod netflow;
mod text;

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use weft_packet::MacAddr;
use weft_vlan::PortgroupVlan;

use crate::change::Change;
use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::{HostName, InterfaceName, PortName, PortgroupName, VmkName, VswitchName};
use crate::spec::{
    IpCidr, LinkSetting, Mtu, PortSpec, PortgroupLearning, PortgroupSecurity, PortgroupShaping,
    PortgroupSpec, PortgroupTeaming, Setting, SwitchLearning, SwitchSecurity, SwitchShaping,
    SwitchTeaming, Toggle, VmkSpec, VswitchSpec, is_default,
};
pub use netflow::NetflowSection;
pub use text::{ManifestError, from_text};

/// The configuration of a host, or of a lab.
///
/// A section that it has says all there is of its kind; of one that it has not it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The hosts of a lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostSpec>,
    /// The VMs of a lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmSpec>,
    /// Standard switches with their port groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vswitches: Option<Vec<VswitchSection>>,
    /// Ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "without_vmks")]
    #[schemars(transform = refuse_vmks)]
    pub ports: Option<Vec<PortSpec>>,
    /// The host's own interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmks: Option<Vec<VmkSection>>,
    /// Who is told of the flows of switches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netflow: Option<Vec<NetflowSection>>,
}

/// Ports that are not the host's own interfaces, which have a section of their own.
fn without_vmks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<PortSpec>>, D::Error> {
    let ports = Option::<Vec<PortSpec>>::deserialize(deserializer)?;
    match ports.iter().flatten().find(|port| port.is_vmk()) {
        Some(vmk) => Err(D::Error::custom(format!(
            "port {}: the host's own interfaces stand in the section 'vmks', with 'ip' and 'mtu' beside their name",
            vmk.name
        ))),
        None => Ok(ports),
    }
}

/// The same in the schema.
fn refuse_vmks(schema: &mut Schema) {
    if let Some(items) = schema.get_mut("items") {
        let port = items.take();
        let vmk = json!({"required": ["vmk"], "properties": {"vmk": {"type": "object"}}});
        *items = json!({"allOf": [port, {"not": vmk}]});
    }
}

/// A host of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// Its name.
    pub name: HostName,
    /// Its interfaces that meet those of the other hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uplinks: Vec<InterfaceName>,
}

/// A VM of a lab: a namespace with one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmSpec {
    /// Its name, and that of its port.
    pub name: PortName,
    /// The host that it runs on. A lab of one host need not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The port group that it is connected to.
    pub portgroup: PortgroupName,
    /// Its address with prefix length, such as `192.168.10.1/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The address of its adapter. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// How it is attached.
    #[serde(default)]
    pub engine: VmEngine,
}

/// How a VM of a lab is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum VmEngine {
    /// A veth pair, AF_XDP on the host's end.
    #[default]
    Veth,
    /// A veth pair with its offloads, an AF_PACKET socket on the host's end.
    Packet,
    /// A TAP device.
    Tap,
}

/// A standard switch with its port groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VswitchSection {
    /// Its name.
    pub name: VswitchName,
    /// In lab files: the host that has it. A lab of one host need not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The interfaces through which it reaches the world.
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
    /// Its port groups.
    #[serde(default)]
    pub portgroups: Vec<PortgroupSection>,
}

/// A port group within its switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortgroupSection {
    /// Its name.
    pub name: PortgroupName,
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

/// One of the host's own interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmkSection {
    /// Its name, that of its port and of its device in the host's kernel.
    pub name: VmkName,
    /// In lab files: the host that has it. A lab of one host need not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The port group that it is connected to.
    pub portgroup: PortgroupName,
    /// Its address with prefix length, such as `10.0.0.11/24`. Absent: weft gives it none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpCidr>,
    /// The adapter's address. Absent: one that follows from the names of host and interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Largest payload of a frame, in octets. Absent: its switch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Whether its administrator wants it connected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link: LinkSetting,
    /// Whether its administrator blocked it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub block: bool,
}

impl VmkSection {
    /// The interface alone.
    pub fn spec(&self) -> VmkSpec {
        let Self {
            name,
            portgroup,
            ip,
            mac,
            mtu,
            link,
            block,
            ..
        } = self.clone();
        VmkSpec {
            name,
            portgroup,
            ip,
            mac,
            mtu,
            link,
            block,
        }
    }
}

impl From<VmkSpec> for VmkSection {
    fn from(spec: VmkSpec) -> Self {
        let VmkSpec {
            name,
            portgroup,
            ip,
            mac,
            mtu,
            link,
            block,
        } = spec;
        Self {
            name,
            host: None,
            portgroup,
            ip,
            mac,
            mtu,
            link,
            block,
        }
    }
}

impl VswitchSection {
    /// The switch alone.
    pub fn spec(&self) -> VswitchSpec {
        let Self {
            name,
            uplinks,
            mtu,
            security,
            teaming,
            shaping,
            mac_learning,
            bpdu_filter,
            netflow,
            ..
        } = self.clone();
        VswitchSpec {
            name,
            uplinks,
            mtu,
            security,
            teaming,
            shaping,
            mac_learning,
            bpdu_filter,
            netflow,
        }
    }

    /// Its port groups.
    pub fn portgroup_specs(&self) -> impl Iterator<Item = PortgroupSpec> {
        self.portgroups.iter().cloned().map(
            |PortgroupSection {
                 name,
                 vlan,
                 security,
                 teaming,
                 shaping,
                 mac_learning,
                 bpdu_filter,
                 netflow,
             }| PortgroupSpec {
                name,
                vswitch: self.name.clone(),
                vlan,
                security,
                teaming,
                shaping,
                mac_learning,
                bpdu_filter,
                netflow,
            },
        )
    }
}

impl Manifest {
    /// The JSON Schema (2020-12) of manifests. What it accepts may still be refused, as a path in octets that is too long.
    pub fn json_schema() -> Value {
        let generator = SchemaSettings::draft2020_12().for_deserialize();
        let schema = generator.into_generator().into_root_schema_for::<Self>();
        schema.to_value()
    }

    /// Its standard switches.
    pub fn vswitches(&self) -> &[VswitchSection] {
        self.vswitches.as_deref().unwrap_or_default()
    }

    /// Its ports.
    pub fn ports(&self) -> &[PortSpec] {
        self.ports.as_deref().unwrap_or_default()
    }

    /// The host's own interfaces.
    pub fn vmks(&self) -> &[VmkSection] {
        self.vmks.as_deref().unwrap_or_default()
    }

    /// Who is told of the flows of switches.
    pub fn netflow(&self) -> &[NetflowSection] {
        self.netflow.as_deref().unwrap_or_default()
    }

    /// What adds all objects of a host's manifest, in an order in which each finds what it refers to.
    pub fn changes(&self) -> Vec<Change> {
        let switches = self.vswitches().iter().map(VswitchSection::spec);
        let groups = self.portgroup_specs().map(Change::AddPortgroup);
        let ports = self.ports().iter().cloned().map(Change::AddPort);
        let switches = switches.map(Change::AddVswitch);
        let vmks = self.vmks().iter().map(VmkSection::spec).map(Change::AddVmk);
        let netflow = self.netflow().iter().map(NetflowSection::spec);
        let netflow = netflow.map(Change::PutNetflow);
        let switches = switches.chain(netflow);
        switches.chain(groups).chain(ports).chain(vmks).collect()
    }

    fn portgroup_specs(&self) -> impl Iterator<Item = PortgroupSpec> {
        let sections = self.vswitches().iter();
        sections.flat_map(VswitchSection::portgroup_specs)
    }

    /// What makes a host's configuration that of the manifest: objects of its sections that it does not name are deleted, those
    /// that it names are as it says, with defaults where it is silent. To be made together, by [`Intent::transact`].
    ///
    /// # Errors
    /// [`ModelError::Inconsistent`] where it names an object twice. [`ModelError::NameTaken`] where one of the host's own interfaces
    /// is to have the name of a port of which it says nothing, or the other way round.
    pub fn plan(&self, intent: &Intent) -> Result<Vec<Change>, ModelError> {
        let switches: Vec<_> = self.vswitches().iter().map(VswitchSection::spec).collect();
        let groups: Vec<_> = self.portgroup_specs().collect();
        let vmks = self.vmks().iter().map(VmkSection::spec);
        let vmks: Vec<_> = vmks.map(PortSpec::from).collect();
        let named = Named {
            switches: once(switches.iter().map(|spec| &spec.name))?,
            groups: once(groups.iter().map(|spec| &spec.name))?,
            ports: once(self.ports().iter().chain(&vmks).map(|spec| &spec.name))?,
        };
        let netflow: Vec<_> = self.netflow().iter().map(NetflowSection::spec).collect();
        let told = once_of(
            netflow.iter().map(|spec| &spec.vswitch),
            ObjectRef::netflow_of,
        )?;
        let mut changes: Vec<_> = switches.iter().cloned().map(Change::PutVswitch).collect();
        changes.extend(groups.iter().cloned().map(Change::PutPortgroup));
        if self.ports.is_none() || self.vmks.is_none() {
            let mut ports = self.ports().iter().chain(&vmks);
            ports.try_for_each(|port| intent.is_of_its_kind(port))?;
        }
        let ports = self.ports().iter().chain(&vmks);
        changes.extend(ports.cloned().map(Change::PutPort));
        // Last, when nothing refers to them any more.
        let gone = intent.ports.values().map(|object| &object.spec);
        let gone = gone.filter(|port| !named.ports.contains(&port.name));
        for port in gone {
            match VmkSpec::of(port) {
                Some(vmk) if self.vmks.is_some() => changes.push(Change::DelVmk(vmk.name)),
                None if self.ports.is_some() => changes.push(Change::DelPort(port.name.clone())),
                _ => {}
            }
        }
        if self.netflow.is_some() {
            let gone = intent.netflow.values().map(|object| &object.spec);
            let gone = gone.filter(|spec| !told.contains(&spec.vswitch));
            changes.extend(gone.map(|spec| Change::DelNetflow(spec.vswitch.clone())));
        }
        if self.vswitches.is_some() {
            let gone = intent.portgroups.keys();
            let gone = gone.filter(|name| !named.groups.contains(name));
            changes.extend(gone.cloned().map(Change::DelPortgroup));
            let gone = intent.vswitches.keys();
            let gone = gone.filter(|name| !named.switches.contains(name));
            changes.extend(gone.cloned().map(Change::DelVswitch));
        }
        // Behind the switches that go: with one goes its NetFlow, and who names one that goes is refused.
        changes.extend(netflow.iter().cloned().map(Change::PutNetflow));
        Ok(changes)
    }

    /// The specs of a host's configuration, sorted by name: equal configurations give equal manifests.
    pub fn export(intent: &Intent) -> Self {
        let section = |spec: &VswitchSpec| {
            let VswitchSpec {
                name,
                uplinks,
                mtu,
                security,
                teaming,
                shaping,
                mac_learning,
                bpdu_filter,
                netflow,
            } = spec.clone();
            let groups = intent.portgroups_of(&spec.name).cloned();
            let portgroups = groups.map(
                |PortgroupSpec {
                     name,
                     vlan,
                     security,
                     teaming,
                     shaping,
                     mac_learning,
                     bpdu_filter,
                     netflow,
                     ..
                 }| PortgroupSection {
                    name,
                    vlan,
                    security,
                    teaming,
                    shaping,
                    mac_learning,
                    bpdu_filter,
                    netflow,
                },
            );
            VswitchSection {
                portgroups: portgroups.collect(),
                name,
                host: None,
                uplinks,
                mtu,
                security,
                teaming,
                shaping,
                mac_learning,
                bpdu_filter,
                netflow,
            }
        };
        let switches = intent.vswitches.values();
        let ports = intent.ports.values().map(|object| &object.spec);
        let netflow = intent.netflow.values();
        let (vmks, ports): (Vec<_>, Vec<_>) = ports.partition(|port| port.is_vmk());
        let vmks = vmks.into_iter().filter_map(VmkSpec::of);
        Self {
            vswitches: Some(switches.map(|object| section(&object.spec)).collect()),
            ports: Some(ports.into_iter().cloned().collect()),
            vmks: Some(vmks.map(VmkSection::from).collect()),
            netflow: Some(netflow.map(|object| object.spec.clone().into()).collect()),
            ..Self::default()
        }
    }
}

/// The names that a manifest has.
struct Named<'a> {
    switches: BTreeSet<&'a VswitchName>,
    groups: BTreeSet<&'a PortgroupName>,
    ports: BTreeSet<&'a PortName>,
}

/// Names, each of which may come once.
fn once<'a, N: Ord>(names: impl Iterator<Item = &'a N>) -> Result<BTreeSet<&'a N>, ModelError>
where
    ObjectRef: From<&'a N>,
{
    once_of(names, ObjectRef::from)
}

/// The same, of objects that are not what has the name.
fn once_of<'a, N: Ord>(
    names: impl Iterator<Item = &'a N>,
    object: impl Fn(&'a N) -> ObjectRef,
) -> Result<BTreeSet<&'a N>, ModelError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ModelError::Inconsistent {
                object: object(name),
                problem: "stands twice in the manifest".to_owned(),
            });
        }
    }
    Ok(seen)
}
