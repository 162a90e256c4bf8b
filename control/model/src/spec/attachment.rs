//! What a port is attached to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SocketRole, VethEngine};
use crate::name::{InterfaceName, SocketPath};

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
            Self::Veth { interface, .. } | Self::Tap { device: interface } => Some(interface),
            Self::VhostUser(_) => None,
        }
    }

    /// The socket that the port has to itself.
    pub fn socket(&self) -> Option<&SocketPath> {
        match self {
            Self::VhostUser(VhostUser { socket, .. }) => Some(socket),
            Self::Veth { .. } | Self::Tap { .. } => None,
        }
    }

    /// The field of a port that names it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::VhostUser(_) => "vhostUser",
            Self::Tap { .. } => "tap",
        }
    }
}

/// The name of the interface, or the path of the socket.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veth { interface, .. } => interface.fmt(f),
            Self::VhostUser(VhostUser { socket, .. }) => socket.fmt(f),
            Self::Tap { device } => device.fmt(f),
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
}

impl TryFrom<AttachmentFields> for Attachment {
    type Error = &'static str;

    fn try_from(fields: AttachmentFields) -> Result<Self, &'static str> {
        let AttachmentFields {
            veth,
            engine,
            vhost_user,
            tap,
        } = fields;
        if veth.is_none() && engine != VethEngine::default() {
            return Err("'engine' belongs to 'veth: DEV', which is missing");
        }
        match (veth, vhost_user, tap) {
            (Some(interface), None, None) => Ok(Self::Veth { interface, engine }),
            (None, Some(vhost_user), None) => Ok(Self::VhostUser(vhost_user)),
            (None, None, Some(device)) => Ok(Self::Tap { device }),
            (None, None, None) => Err(
                "nothing is attached; name it with 'veth: DEV', 'vhostUser: {socket: PATH}' or 'tap: DEV'",
            ),
            _ => Err("a port has one of 'veth', 'vhostUser' and 'tap'"),
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
        }
        fields
    }
}
