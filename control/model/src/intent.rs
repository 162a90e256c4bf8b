//! The whole configuration of a host, as its administrators asked for it.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::name::{InterfaceName, PortName, PortgroupName, VmkName, VswitchName, nearest};
use crate::spec::{Attachment, NetflowSpec, PortSpec, PortgroupSpec, VswitchSpec};

/// Tells one life of an object from another of the same name. Never used twice on a host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Uid(pub u64);

/// Which change an object was last written by. A write that names another one is refused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ResourceVersion(pub u64);

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<S> {
    /// Which life of the name this is.
    pub uid: Uid,
    /// The change that wrote it last.
    pub resource_version: ResourceVersion,
    /// What its administrator asked for.
    pub spec: S,
}

/// Kinds of objects.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A host.
    Host,
    /// A standard switch.
    Vswitch,
    /// A port group.
    Portgroup,
    /// A port.
    Port,
    /// The host's own interface on a port group, which is a port.
    Vmk,
    /// An uplink, by its interface.
    Uplink,
    /// The NetFlow of a switch, by the switch.
    Netflow,
    /// A network interface.
    Interface,
}

impl ObjectKind {
    /// The noun of the command line, where the kind has one.
    pub fn noun(self) -> Option<&'static str> {
        match self {
            Self::Host => Some("host"),
            Self::Vswitch => Some("vswitch"),
            Self::Portgroup => Some("portgroup"),
            Self::Port => Some("port"),
            Self::Vmk => Some("vmk"),
            Self::Uplink => Some("uplink"),
            Self::Netflow => Some("netflow"),
            Self::Interface => None,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Vswitch => "standard switch",
            Self::Portgroup => "port group",
            Self::Port => "port",
            Self::Vmk => "vmk",
            Self::Uplink => "uplink",
            Self::Netflow => "netflow",
            Self::Interface => "interface",
        })
    }
}

/// One object, named.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The object of this kind and name.
    pub fn new(kind: ObjectKind, name: impl fmt::Display) -> Self {
        Self {
            kind,
            name: name.to_string(),
        }
    }

    /// The NetFlow of a switch.
    pub fn netflow_of(vswitch: &VswitchName) -> Self {
        Self::new(ObjectKind::Netflow, vswitch)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

macro_rules! refers {
    ($($name:ty => $kind:ident),*) => {
        $(impl From<&$name> for ObjectRef {
            fn from(name: &$name) -> Self {
                Self::new(ObjectKind::$kind, name)
            }
        })*
    };
}

refers!(VswitchName => Vswitch, PortgroupName => Portgroup, PortName => Port, VmkName => Vmk);

impl From<&VswitchSpec> for ObjectRef {
    fn from(switch: &VswitchSpec) -> Self {
        (&switch.name).into()
    }
}

impl From<&PortgroupSpec> for ObjectRef {
    fn from(group: &PortgroupSpec) -> Self {
        (&group.name).into()
    }
}

impl From<&NetflowSpec> for ObjectRef {
    fn from(netflow: &NetflowSpec) -> Self {
        Self::netflow_of(&netflow.vswitch)
    }
}

/// The port as what it is to its administrator.
impl From<&PortSpec> for ObjectRef {
    fn from(port: &PortSpec) -> Self {
        let kind = match port.attachment {
            Attachment::Vmk(_) => ObjectKind::Vmk,
            Attachment::Veth { .. } | Attachment::VhostUser(_) | Attachment::Tap { .. } => {
                ObjectKind::Port
            }
        };
        Self::new(kind, &port.name)
    }
}

/// The configuration of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intent {
    /// How many writes there have been, ever. The source of [`Uid`] and [`ResourceVersion`], so it never goes back.
    pub revision: u64,
    /// The standard switches.
    pub vswitches: BTreeMap<VswitchName, Object<VswitchSpec>>,
    /// Their port groups.
    pub portgroups: BTreeMap<PortgroupName, Object<PortgroupSpec>>,
    /// The ports.
    pub ports: BTreeMap<PortName, Object<PortSpec>>,
    /// Who is told of the flows of switches, by switch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub netflow: BTreeMap<VswitchName, Object<NetflowSpec>>,
}

impl Intent {
    /// The switch of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest name.
    pub fn vswitch(&self, name: &VswitchName) -> Result<&Object<VswitchSpec>, ModelError> {
        find(ObjectKind::Vswitch, name, &self.vswitches)
    }

    /// The port group of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest name.
    pub fn portgroup(&self, name: &PortgroupName) -> Result<&Object<PortgroupSpec>, ModelError> {
        find(ObjectKind::Portgroup, name, &self.portgroups)
    }

    /// The port of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest name.
    pub fn port(&self, name: &PortName) -> Result<&Object<PortSpec>, ModelError> {
        find(ObjectKind::Port, name, &self.ports)
    }

    /// The host's own interface of this name, which is a port.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest name.
    pub fn vmk(&self, name: &VmkName) -> Result<&Object<PortSpec>, ModelError> {
        let vmks = || self.ports.values().filter(|port| port.spec.is_vmk());
        let found = vmks().find(|port| port.spec.name.as_str() == name.as_str());
        found.ok_or_else(|| {
            let known = vmks().map(|port| port.spec.name.as_str());
            ModelError::Unknown {
                object: name.into(),
                suggestion: nearest(name.as_str(), known).map(str::to_owned),
            }
        })
    }

    /// The NetFlow of a switch.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], of the switch or of its NetFlow.
    pub fn netflow_of(&self, vswitch: &VswitchName) -> Result<&Object<NetflowSpec>, ModelError> {
        self.vswitch(vswitch)?;
        self.netflow
            .get(vswitch)
            .ok_or_else(|| ModelError::Unknown {
                object: ObjectRef::netflow_of(vswitch),
                suggestion: None,
            })
    }

    /// The port groups of a switch, by name.
    pub fn portgroups_of<'a>(
        &'a self,
        vswitch: &'a VswitchName,
    ) -> impl Iterator<Item = &'a PortgroupSpec> {
        self.portgroups
            .values()
            .map(|object| &object.spec)
            .filter(move |group| group.vswitch == *vswitch)
    }

    /// The ports of a port group, by name.
    pub fn ports_of<'a>(
        &'a self,
        portgroup: &'a PortgroupName,
    ) -> impl Iterator<Item = &'a PortSpec> {
        self.ports
            .values()
            .map(|object| &object.spec)
            .filter(move |port| port.portgroup == *portgroup)
    }

    /// Every uplink with its switch, by switch.
    pub fn uplinks(&self) -> impl Iterator<Item = (&VswitchName, &InterfaceName)> {
        self.vswitches.values().flat_map(|object| {
            object
                .spec
                .uplinks
                .iter()
                .map(|uplink| (&object.spec.name, uplink))
        })
    }

    /// Who uses a network interface: a port, or the switch that has it as an uplink.
    pub fn holder_of(&self, interface: &InterfaceName) -> Option<ObjectRef> {
        let port = self
            .ports
            .values()
            .find(|port| port.spec.attachment.interface() == Some(interface));
        let switch = || {
            self.uplinks()
                .find(|(_, uplink)| *uplink == interface)
                .map(|(switch, _)| switch.into())
        };
        port.map(|port| (&port.spec).into()).or_else(switch)
    }

    /// An object written by the next revision.
    pub(crate) fn create<S>(&mut self, spec: S) -> Object<S> {
        self.revision += 1;
        Object {
            uid: Uid(self.revision),
            resource_version: ResourceVersion(self.revision),
            spec,
        }
    }
}

fn find<'a, N: Ord + fmt::Display + AsStr, S>(
    kind: ObjectKind,
    name: &N,
    objects: &'a BTreeMap<N, Object<S>>,
) -> Result<&'a Object<S>, ModelError> {
    objects.get(name).ok_or_else(|| ModelError::Unknown {
        object: ObjectRef::new(kind, name),
        suggestion: nearest(name.as_str(), objects.keys().map(AsStr::as_str)).map(str::to_owned),
    })
}

/// The name types, as [`find`] needs them.
trait AsStr {
    fn as_str(&self) -> &str;
}

macro_rules! as_str {
    ($($name:ty),*) => {
        $(impl AsStr for $name {
            fn as_str(&self) -> &str {
                self.as_str()
            }
        })*
    };
}

as_str!(VswitchName, PortgroupName, PortName);
