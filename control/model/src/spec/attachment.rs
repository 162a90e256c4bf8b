//! What a port is attached to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IpCidr, Mtu, SocketRole, VethEngine, Vmk};
use crate::name::{InterfaceName, PortName, SocketPath, VmkName};

/// What a port is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// The host's end of a veth pair, or any other Ethernet interface.
    Veth {
        /// The interface, which exists before the port.
        interface: InterfaceName,
        /// What moves its frames.
        engine: VethEngine,
    },
    /// A VM's network adapter.
    VhostUser(VhostUser),
    /// A TAP device, made with the port where it is not there.
    Tap {
        /// Its name.
        device: InterfaceName,
    },
    /// The host's own kernel.
    Vmk(Vmk),
}

/// The socket of a VM's network adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VhostUser {
    /// Where switch and hypervisor meet.
    pub socket: SocketPath,
    /// Which of them connects.
    #[serde(default)]
    pub role: SocketRole,
}

impl Attachment {
    /// The network interface that the port has to itself.
    pub fn interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Veth { interface, .. }
            | Self::Tap { device: interface }
            | Self::Vmk(Vmk {
                device: interface, ..
            }) => Some(interface),
            Self::VhostUser(_) => None,
        }
    }

    /// The socket that the port has to itself.
    pub fn socket(&self) -> Option<&SocketPath> {
        match self {
            Self::VhostUser(VhostUser { socket, .. }) => Some(socket),
            Self::Veth { .. } | Self::Tap { .. } | Self::Vmk(_) => None,
        }
    }

    /// The field of a port that names it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::VhostUser(_) => "vhostUser",
            Self::Tap { .. } => "tap",
            Self::Vmk(_) => "name",
        }
    }
}

/// The name of the interface, or the path of the socket.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veth { interface, .. } => interface.fmt(f),
            Self::VhostUser(VhostUser { socket, .. }) => socket.fmt(f),
            Self::Tap { device } | Self::Vmk(Vmk { device, .. }) => device.fmt(f),
        }
    }
}

/// An attachment as it stands among the fields of a port, by its key.
#[derive(Default)]
pub(super) struct AttachmentFields {
    pub(super) veth: Option<InterfaceName>,
    pub(super) engine: VethEngine,
    pub(super) vhost_user: Option<VhostUser>,
    pub(super) tap: Option<InterfaceName>,
    pub(super) vmk: Option<VmkFields>,
}

/// The host's own interface, made with the port and named as it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "VmkAttachment")]
pub(super) struct VmkFields {
    /// Its address with prefix length, such as `10.0.0.11/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpCidr>,
    /// Largest payload of a frame, in octets. Absent: its switch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
}

impl AttachmentFields {
    /// The attachment of the port of this name.
    pub(super) fn of(self, port: &PortName) -> Result<Attachment, String> {
        let Self {
            veth,
            engine,
            vhost_user,
            tap,
            vmk,
        } = self;
        if veth.is_none() && engine != VethEngine::default() {
            return Err("'engine' belongs to 'veth: DEV', which is missing".to_owned());
        }
        match (veth, vhost_user, tap, vmk) {
            (Some(interface), None, None, None) => Ok(Attachment::Veth { interface, engine }),
            (None, Some(vhost_user), None, None) => Ok(Attachment::VhostUser(vhost_user)),
            (None, None, Some(device), None) => Ok(Attachment::Tap { device }),
            (None, None, None, Some(VmkFields { ip, mtu })) => {
                let name: VmkName = port.as_str().parse().map_err(|error| format!("{error}"))?;
                let device = (&name).into();
                Ok(Attachment::Vmk(Vmk { device, ip, mtu }))
            }
            (None, None, None, None) => Err(
                "nothing is attached; name it with 'veth: DEV', 'vhostUser: {socket: PATH}' or 'tap: DEV'"
                    .to_owned(),
            ),
            _ => Err("a port has one of 'veth', 'vhostUser', 'tap' and 'vmk'".to_owned()),
        }
    }
}

impl From<Attachment> for AttachmentFields {
    fn from(attachment: Attachment) -> Self {
        let mut fields = Self::default();
        match attachment {
            Attachment::Veth { interface, engine } => {
                fields.veth = Some(interface);
                fields.engine = engine;
            }
            Attachment::VhostUser(vhost_user) => fields.vhost_user = Some(vhost_user),
            Attachment::Tap { device } => fields.tap = Some(device),
            Attachment::Vmk(Vmk { ip, mtu, .. }) => fields.vmk = Some(VmkFields { ip, mtu }),
        }
        fields
    }
}
