//! Manifests: the configuration of a host, or of a lab, as one file.

mod text;

use serde::{Deserialize, Serialize};
use weft_packet::MacAddr;
use weft_vlan::PortgroupVlan;

use crate::change::Change;
use crate::intent::Intent;
use crate::name::{HostName, InterfaceName, PortName, PortgroupName, VswitchName};
use crate::spec::{Mtu, PortSpec, PortgroupSecurity, PortgroupSpec, SwitchSecurity, VswitchSpec};
pub use text::{ManifestError, from_text};

/// A manifest. [`Manifest::parse`] reads YAML and JSON; `to_yaml` and `to_json` write them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The hosts of a lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostSpec>,
    /// The VMs of a lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmSpec>,
    /// Standard switches with their port groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vswitches: Vec<VswitchSection>,
    /// Ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
}

/// A host of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// Its name.
    pub name: HostName,
    /// Its interfaces that meet those of the other hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uplinks: Vec<InterfaceName>,
}

/// A VM of a lab: a namespace with one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The address of its adapter. `None`: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// How it is attached.
    #[serde(default)]
    pub engine: VmEngine,
}

/// How a VM of a lab is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Its port groups.
    #[serde(default)]
    pub portgroups: Vec<PortgroupSection>,
}

/// A port group within its switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl VswitchSection {
    /// The switch alone.
    pub fn spec(&self) -> VswitchSpec {
        let Self {
            name,
            uplinks,
            mtu,
            security,
            ..
        } = self.clone();
        VswitchSpec {
            name,
            uplinks,
            mtu,
            security,
        }
    }

    /// Its port groups.
    pub fn portgroup_specs(&self) -> impl Iterator<Item = PortgroupSpec> {
        self.portgroups.iter().cloned().map(
            |PortgroupSection {
                 name,
                 vlan,
                 security,
             }| PortgroupSpec {
                name,
                vswitch: self.name.clone(),
                vlan,
                security,
            },
        )
    }
}

impl Manifest {
    /// What adds all objects of a host's manifest, in an order in which each finds what it refers to.
    pub fn changes(&self) -> Vec<Change> {
        let switches = self
            .vswitches
            .iter()
            .map(|section| Change::AddVswitch(section.spec()));
        let groups = self
            .vswitches
            .iter()
            .flat_map(VswitchSection::portgroup_specs)
            .map(Change::AddPortgroup);
        let ports = self.ports.iter().cloned().map(Change::AddPort);
        switches.chain(groups).chain(ports).collect()
    }

    /// The specs of a host's configuration, sorted by name: equal configurations give equal manifests.
    pub fn export(intent: &Intent) -> Self {
        let section = |spec: &VswitchSpec| {
            let VswitchSpec {
                name,
                uplinks,
                mtu,
                security,
            } = spec.clone();
            let groups = intent.portgroups_of(&spec.name).cloned();
            let portgroups = groups.map(
                |PortgroupSpec {
                     name,
                     vlan,
                     security,
                     ..
                 }| PortgroupSection {
                    name,
                    vlan,
                    security,
                },
            );
            VswitchSection {
                portgroups: portgroups.collect(),
                name,
                host: None,
                uplinks,
                mtu,
                security,
            }
        };
        Self {
            vswitches: intent
                .vswitches
                .values()
                .map(|object| section(&object.spec))
                .collect(),
            ports: intent
                .ports
                .values()
                .map(|object| object.spec.clone())
                .collect(),
            ..Self::default()
        }
    }
}
