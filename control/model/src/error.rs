//! Why a change is refused.

use std::net::IpAddr;

use weft_packet::MacAddr;

use crate::fields::FieldChange;
use crate::intent::{ObjectKind, ObjectRef, ResourceVersion};
use crate::name::VswitchName;
use crate::spec::{Collector, Mtu, NetflowVersion, Sampling, SourceIp};

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
    /// A team names an interface that is no uplink of its switch.
    #[error("{object}: {interface} is not an uplink of standard switch {switch}")]
    NoSuchUplink {
        /// The switch or port group whose team it is.
        object: ObjectRef,
        /// The field that names it.
        field: &'static str,
        /// The interface.
        interface: String,
        /// The switch.
        switch: Box<VswitchName>,
        /// The uplink with the nearest name.
        nearest: Option<String>,
    },
    /// A team names an uplink twice.
    #[error("{object}: {interface} is named twice, and an uplink is either active or standby")]
    TwiceInTeam {
        /// The switch or port group whose team it is.
        object: ObjectRef,
        /// The field that names it the second time.
        field: &'static str,
        /// The uplink.
        interface: String,
    },
    /// A team by `iphash` with standby uplinks, which are in no hash.
    #[error(
        "{object}: iphash takes no standby uplinks; the policy is that of {policy}, and {standby} is standby by {order}"
    )]
    StandbyWithIpHash {
        /// The switch or port group that was to change.
        object: ObjectRef,
        /// Who sets the policy.
        policy: Box<ObjectRef>,
        /// The standby uplinks.
        standby: String,
        /// Who sets them.
        order: Box<ObjectRef>,
    },
    /// An uplink cannot go while teams name it.
    #[error("{object}: its uplink {interface} is in the team of {}", named(.users))]
    UplinkInTeam {
        /// The switch.
        object: ObjectRef,
        /// The uplink.
        interface: String,
        /// The switch and the port groups that name it.
        users: Vec<ObjectRef>,
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
    /// Two of the host's interfaces have one IP address.
    #[error("{object}: {holder} has the address {ip} already")]
    IpTaken {
        /// The interface that asked for it.
        object: ObjectRef,
        /// The address.
        ip: IpAddr,
        /// The interface that has it.
        holder: ObjectRef,
    },
    /// The host's own interface is to send longer frames than its switch carries.
    #[error("{object}: MTU {mtu} is larger than that of standard switch {switch}, {carried}")]
    MtuBeyondSwitch {
        /// The interface.
        object: ObjectRef,
        /// What it asked for.
        mtu: Mtu,
        /// The switch.
        switch: Box<VswitchName>,
        /// The switch's.
        carried: Mtu,
    },
    /// A switch is to carry less than the host's own interface on it sends.
    #[error("{object}: MTU {mtu} is smaller than that of {vmk}, {sent}")]
    MtuBelowVmk {
        /// The switch.
        object: ObjectRef,
        /// What it is to carry.
        mtu: Mtu,
        /// The interface.
        vmk: Box<ObjectRef>,
        /// What that sends.
        sent: Mtu,
    },
    /// The host's own interface and another port have one name.
    #[error("{object}: {holder} has this name")]
    NameTaken {
        /// What asked for it.
        object: ObjectRef,
        /// What has it.
        holder: ObjectRef,
    },
    /// The host's own interface is not deleted as ports are.
    #[error("{object} is the host's own interface, and not deleted as a port")]
    IsVmk {
        /// The interface.
        object: ObjectRef,
    },
    /// Flows of a port group are to be counted, and nobody would be told of them.
    #[error("{object}: flows are to be told, and standard switch {switch} has no collector")]
    NoCollector {
        /// The switch or port group that was to change.
        object: ObjectRef,
        /// The switch.
        switch: Box<VswitchName>,
    },
    /// The NetFlow of a switch cannot go while port groups have it enabled.
    #[error("{object} is in use by {}", named(.users))]
    NetflowInUse {
        /// The NetFlow.
        object: ObjectRef,
        /// The switch and the port groups that enable it.
        users: Vec<ObjectRef>,
    },
    /// More packets for each that is counted than the format can tell.
    #[error("{object}: {sampling} is out of range; version {version} tells up to {most}")]
    SamplingBeyondVersion {
        /// The NetFlow.
        object: ObjectRef,
        /// What it asked for.
        sampling: Sampling,
        /// The format.
        version: NetflowVersion,
        /// The most that it can tell.
        most: u32,
    },
    /// Messages cannot come from an address of the other family.
    #[error(
        "{object}: {source_ip} cannot send to collector {collector}: one is IPv4 and the other IPv6"
    )]
    SourceOfOtherFamily {
        /// The NetFlow.
        object: ObjectRef,
        /// The source.
        source_ip: SourceIp,
        /// The collector.
        collector: Collector,
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
            | Self::NotAnUplink { object, .. }
            | Self::NoSuchUplink { object, .. }
            | Self::TwiceInTeam { object, .. }
            | Self::StandbyWithIpHash { object, .. }
            | Self::UplinkInTeam { object, .. }
            | Self::BadMac { object, .. }
            | Self::MacTaken { object, .. }
            | Self::IpTaken { object, .. }
            | Self::MtuBeyondSwitch { object, .. }
            | Self::MtuBelowVmk { object, .. }
            | Self::NameTaken { object, .. }
            | Self::IsVmk { object }
            | Self::NoCollector { object, .. }
            | Self::NetflowInUse { object, .. }
            | Self::SamplingBeyondVersion { object, .. }
            | Self::SourceOfOtherFamily { object, .. }
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
            Self::InterfaceTaken { field, .. }
            | Self::NoSuchUplink { field, .. }
            | Self::TwiceInTeam { field, .. } => Some((*field).to_owned()),
            Self::StandbyWithIpHash { .. } => Some("teaming.standby".to_owned()),
            Self::SocketTaken { .. } => Some("vhostUser.socket".to_owned()),
            Self::NotAnUplink { .. } | Self::UplinkInTeam { .. } => Some("uplinks".to_owned()),
            Self::BadMac { .. } | Self::MacTaken { .. } => Some("mac".to_owned()),
            Self::IpTaken { .. } => Some("ip".to_owned()),
            Self::MtuBeyondSwitch { .. } | Self::MtuBelowVmk { .. } => Some("mtu".to_owned()),
            Self::NameTaken { .. } => Some("name".to_owned()),
            Self::NoCollector { .. } => Some("netflow".to_owned()),
            Self::SamplingBeyondVersion { .. } => Some("sampling".to_owned()),
            Self::SourceOfOtherFamily { .. } => Some("sourceIp".to_owned()),
            Self::Stale { .. } => Some("resourceVersion".to_owned()),
            Self::Unknown { .. }
            | Self::NothingToDelete { .. }
            | Self::InUse { .. }
            | Self::IsVmk { .. }
            | Self::NetflowInUse { .. }
            | Self::Inconsistent { .. } => None,
        }
    }

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
            }
            | Self::NoSuchUplink {
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
