//! What the operator can do about a refused change.

use super::{ModelError, named};
use crate::fields::FieldChange;
use crate::intent::{ObjectKind, ObjectRef};

impl ModelError {
    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unknown { object, .. } if object.kind == ObjectKind::Netflow => {
                format!("make it with '{}'", collecting(&object.name))
            }
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
            Self::NotAnUplink {
                nearest: Some(near),
                ..
            } => format!("the nearest of its uplinks is {near}"),
            Self::NoSuchUplink {
                nearest: Some(near),
                ..
            } => format!("did you mean {near}?"),
            Self::NoSuchUplink {
                nearest: None,
                interface,
                switch,
                ..
            } => format!(
                "see 'weft uplink list', or first run 'weft uplink add {} {interface}'",
                quoted(switch.as_str())
            ),
            Self::NotAnUplink { nearest: None, .. } => "see 'weft uplink list'".to_owned(),
            Self::TwiceInTeam { .. } => "name it once".to_owned(),
            Self::StandbyWithIpHash { policy, order, .. } => format!(
                "choose another policy with '{} --teaming POLICY', or have none standby with '{} --standby none'",
                setting(policy),
                setting(order)
            ),
            Self::UplinkInTeam { users, .. } => {
                let first = users.first().map(setting).unwrap_or_default();
                format!("first take it out of there, as with '{first} --active DEV,...'")
            }
            Self::BadMac { .. } => "use a unicast address such as 02:00:00:00:00:01".to_owned(),
            Self::MacTaken { .. } => "give each port its own address".to_owned(),
            Self::IpTaken { .. } => "give each interface its own address".to_owned(),
            Self::MtuBeyondSwitch {
                mtu,
                switch,
                carried,
                ..
            } => format!(
                "use at most {carried}, or first run 'weft vswitch set {} --mtu {mtu}'",
                quoted(switch.as_str())
            ),
            Self::MtuBelowVmk { mtu, vmk, .. } => {
                format!("first run '{} --mtu {mtu}'", setting(vmk))
            }
            Self::NameTaken { object, .. } => {
                format!("choose another name for the {}", object.kind)
            }
            Self::IsVmk { object } => {
                format!("run 'weft vmk del {}'", quoted(&object.name))
            }
            Self::NoCollector { switch, .. } => {
                format!("first run '{}'", collecting(switch.as_str()))
            }
            Self::NetflowInUse { users, .. } => disabling(users),
            Self::SamplingBeyondVersion { most, .. } => {
                format!("use 0-{most}, or another version")
            }
            Self::SourceOfOtherFamily { object, .. } => format!(
                "use a source of the collectors' family, or none with '{} --source-ip none'",
                setting(object)
            ),
            Self::DomainTaken { object, .. } => {
                format!("name another with '{} --domain N'", setting(object))
            }
            Self::Stale { .. } => "read the object again and repeat the change".to_owned(),
            Self::Inconsistent { .. } => "correct it and try again".to_owned(),
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
        format!("change it with '{}'", setting(object))
    };
    how + ", or choose another name"
}

/// The command that changes settings of an object.
fn setting(object: &ObjectRef) -> String {
    let noun = object.kind.noun().unwrap_or("vswitch");
    format!("weft {noun} set {}", quoted(&object.name))
}

/// The command that names a collector of a switch.
fn collecting(switch: &str) -> String {
    format!("weft netflow set {} --collector ADDR:PORT", quoted(switch))
}

/// What to run so that nobody has NetFlow enabled.
fn disabling(users: &[ObjectRef]) -> String {
    let commands = [ObjectKind::Portgroup, ObjectKind::Vswitch].map(|kind| {
        let of_kind = users.iter().filter(|user| user.kind == kind);
        let names: Vec<_> = of_kind.map(|user| quoted(&user.name)).collect();
        let noun = kind.noun().filter(|_| !names.is_empty())?;
        let names = names.join(" ");
        Some(format!("'weft {noun} set {names} --netflow disabled'"))
    });
    let commands: Vec<_> = commands.into_iter().flatten().collect();
    format!("first run {}", commands.join(" and "))
}

/// A name as a shell takes it, within a command that stands in single quotes.
fn quoted(name: &str) -> String {
    if name.contains(' ') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    }
}
