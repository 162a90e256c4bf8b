//! Why a change is refused.

use weft_packet::MacAddr;

use crate::fields::FieldChange;
use crate::intent::{ObjectRef, ResourceVersion};

/// Why a change is refused. The text says what is wrong; [`ModelError::remedy`] says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// There is no such object.
    #[error("{object} does not exist")]
    Unknown {
        /// What was asked for.
        object: ObjectRef,
        /// The existing name that was most likely meant.
        suggestion: Option<String>,
    },
    /// There is no such object to delete. No other one is suggested for that: it is only told of.
    #[error("{object} does not exist")]
    NothingToDelete {
        /// What was to be deleted.
        object: ObjectRef,
        /// The nearest existing name.
        nearest: Option<String>,
    },
    /// An object refers to one that does not exist.
    #[error("{object}: {target} does not exist")]
    UnknownTarget {
        /// The object that refers.
        object: ObjectRef,
        /// What it refers to.
        target: ObjectRef,
        /// The existing name that was most likely meant.
        suggestion: Option<String>,
    },
    /// The name is taken by an object with other settings.
    #[error("{object} exists already with other settings: {}", listed(.differing))]
    AlreadyExists {
        /// The object.
        object: ObjectRef,
        /// What differs: as it is, and as it was asked for.
        differing: Vec<FieldChange>,
    },
    /// The object cannot go while others use it.
    #[error("{object} is in use by {}", named(.users))]
    InUse {
        /// The object.
        object: ObjectRef,
        /// Who uses it.
        users: Vec<ObjectRef>,
    },
    /// A network interface serves one port or one uplink.
    #[error("{object}: interface {interface} is used by {holder}")]
    InterfaceTaken {
        /// The object that asked for it.
        object: ObjectRef,
        /// The field that names it.
        field: &'static str,
        /// The interface.
        interface: String,
        /// Who has it.
        holder: ObjectRef,
    },
    /// A socket serves one port.
    #[error("{object}: socket {socket} is used by {holder}")]
    SocketTaken {
        /// The port that asked for it.
        object: ObjectRef,
        /// The socket.
        socket: String,
        /// Who has it.
        holder: ObjectRef,
    },
    /// One uplink per switch for now.
    #[error(
        "{object}: it has the uplink {present} already, and a switch takes one for now; teaming is not supported yet"
    )]
    OneUplink {
        /// The switch.
        object: ObjectRef,
        /// The uplink that it has.
        present: String,
        /// The uplink that was asked for.
        wanted: String,
    },
    /// A new switch with more than one uplink.
    #[error("{object}: {} are named, and a switch takes one for now; teaming is not supported yet", .wanted.join(" and "))]
    SeveralUplinks {
        /// The switch.
        object: ObjectRef,
        /// The uplinks that were asked for.
        wanted: Vec<String>,
    },
    /// The interface is no uplink of the switch.
    #[error("{object}: {interface} is not one of its uplinks")]
    NotAnUplink {
        /// The switch.
        object: ObjectRef,
        /// The interface.
        interface: String,
        /// The uplink with the nearest name.
        nearest: Option<String>,
    },
    /// The address is not one that an adapter can have.
    #[error("{object}: {mac} is {problem}")]
    BadMac {
        /// The port.
        object: ObjectRef,
        /// The address.
        mac: MacAddr,
        /// Why not.
        problem: &'static str,
    },
    /// Two ports that can reach each other have one address.
    #[error("{object}: {holder} has the address {mac} already, on the same switch and VLAN")]
    MacTaken {
        /// The port that asked for it.
        object: ObjectRef,
        /// The address.
        mac: MacAddr,
        /// The port that has it.
        holder: ObjectRef,
    },
    /// Somebody else wrote the object since it was read.
    #[error("{object} has changed since it was read: it is at version {}, not {}", .current.0, .expected.0)]
    Stale {
        /// The object.
        object: ObjectRef,
        /// The version that the writer had read.
        expected: ResourceVersion,
        /// The version that it has.
        current: ResourceVersion,
    },
    /// A rule of the model did not hold in what was given as a whole, such as a state file.
    #[error("{object}: {problem}")]
    Inconsistent {
        /// The object.
        object: ObjectRef,
        /// What is wrong.
        problem: String,
    },
}

impl ModelError {
    /// The object that the error is about.
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Unknown { object, .. }
            | Self::NothingToDelete { object, .. }
            | Self::UnknownTarget { object, .. }
            | Self::AlreadyExists { object, .. }
            | Self::InUse { object, .. }
            | Self::InterfaceTaken { object, .. }
            | Self::SocketTaken { object, .. }
            | Self::OneUplink { object, .. }
            | Self::SeveralUplinks { object, .. }
            | Self::NotAnUplink { object, .. }
            | Self::BadMac { object, .. }
            | Self::MacTaken { object, .. }
            | Self::Stale { object, .. }
            | Self::Inconsistent { object, .. } => object,
        }
    }

    /// The field that the error is about, as it is written in a manifest.
    pub fn field(&self) -> Option<String> {
        match self {
            Self::UnknownTarget { target, .. } => target.kind.noun().map(str::to_owned),
            Self::AlreadyExists { differing, .. } => {
                differing.first().map(|change| change.field.clone())
            }
            Self::InterfaceTaken { field, .. } => Some((*field).to_owned()),
            Self::SocketTaken { .. } => Some("vhostUser.socket".to_owned()),
            Self::OneUplink { .. } | Self::SeveralUplinks { .. } | Self::NotAnUplink { .. } => {
                Some("uplinks".to_owned())
            }
            Self::BadMac { .. } | Self::MacTaken { .. } => Some("mac".to_owned()),
            Self::Stale { .. } => Some("resourceVersion".to_owned()),
            Self::Unknown { .. }
            | Self::NothingToDelete { .. }
            | Self::InUse { .. }
            | Self::Inconsistent { .. } => None,
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unknown { object, suggestion }
            | Self::UnknownTarget {
                target: object,
                suggestion,
                ..
            } => unknown_remedy(object, suggestion.as_deref()),
            Self::NothingToDelete { object, nearest } => match nearest {
                Some(near) => format!("the nearest existing name is {near}"),
                None => unknown_remedy(object, None),
            },
            Self::AlreadyExists { object, differing } => exists_remedy(object, differing),
            Self::InUse { users, .. } => "first remove ".to_owned() + &named(users),
            Self::InterfaceTaken { holder, .. } => {
                format!("use another interface, or first release it from {holder}")
            }
            Self::SocketTaken { holder, .. } => {
                format!("give each adapter its own socket, or first delete {holder}")
            }
            Self::OneUplink {
                object, present, ..
            } => {
                format!(
                    "first run 'weft uplink del {} {present}'",
                    quoted(&object.name)
                )
            }
            Self::SeveralUplinks { .. } => "name one uplink".to_owned(),
            Self::NotAnUplink {
                nearest: Some(near),
                ..
            } => format!("the nearest of its uplinks is {near}"),
            Self::NotAnUplink { nearest: None, .. } => "see 'weft uplink list'".to_owned(),
            Self::BadMac { .. } => "use a unicast address such as 02:00:00:00:00:01".to_owned(),
            Self::MacTaken { .. } => "give each port its own address".to_owned(),
            Self::Stale { .. } => "read the object again and repeat the change".to_owned(),
            Self::Inconsistent { .. } => "correct it and try again".to_owned(),
        }
    }

    /// The nearest existing name, for one that does not exist.
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::Unknown { suggestion, .. }
            | Self::UnknownTarget { suggestion, .. }
            | Self::NothingToDelete {
                nearest: suggestion,
                ..
            }
            | Self::NotAnUplink {
                nearest: suggestion,
                ..
            } => suggestion.as_deref(),
            _ => None,
        }
    }
}

fn unknown_remedy(object: &ObjectRef, suggestion: Option<&str>) -> String {
    match (suggestion, object.kind.noun()) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, Some(noun)) => format!("see 'weft {noun} list'"),
        (None, None) => "see 'ip link'".to_owned(),
    }
}

/// What there is for settings that differ: some have a command, others belong to the object for life.
fn exists_remedy(object: &ObjectRef, differing: &[FieldChange]) -> String {
    let noun = object.kind.noun().unwrap_or("vswitch");
    let name = quoted(&object.name);
    let differs = |fields: &[&str]| {
        let name = |change: &FieldChange| {
            change
                .field
                .split('.')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        differing
            .iter()
            .any(|change| fields.contains(&name(change).as_str()))
    };
    let how = if differs(&["vswitch", "veth", "engine", "vhostUser", "tap"]) {
        format!("delete it with 'weft {noun} del {name}' and add it again")
    } else if differs(&["uplinks"]) {
        format!(
            "change its uplinks with 'weft uplink add {name} DEV' and 'weft uplink del {name} DEV'"
        )
    } else {
        format!("change it with 'weft {noun} set {name}'")
    };
    how + ", or choose another name"
}

/// A name as a shell takes it, within a command that stands in single quotes.
fn quoted(name: &str) -> String {
    if name.contains(' ') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    }
}

/// At most five of them by name: a port group may have thousands of ports.
fn named(objects: &[ObjectRef]) -> String {
    const MOST: usize = 5;
    let mut text = objects
        .iter()
        .take(MOST)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if objects.len() > MOST {
        text += &format!(" and {} more", objects.len() - MOST);
    }
    text
}

fn listed(changes: &[FieldChange]) -> String {
    changes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
