//! Why a change is refused.

mod remedy;

use std::net::IpAddr;

use weft_packet::MacAddr;

use crate::fields::FieldChange;
use crate::intent::{ObjectRef, ResourceVersion};
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
    /// Collectors could not tell two switches apart.
    #[error(
        "{object}: {domain}{} is also that of {holder}, and collector {collector} is told by both",
        .version.domain_hint()
    )]
    DomainTaken {
        /// The NetFlow.
        object: ObjectRef,
        /// The observation domain, as it is told.
        domain: u32,
        /// The format.
        version: NetflowVersion,
        /// The NetFlow that has it.
        holder: ObjectRef,
        /// Who is told of both switches.
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
            | Self::DomainTaken { object, .. }
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
            Self::DomainTaken { .. } => Some("domain".to_owned()),
            Self::Stale { .. } => Some("resourceVersion".to_owned()),
            Self::Unknown { .. }
            | Self::NothingToDelete { .. }
            | Self::InUse { .. }
            | Self::IsVmk { .. }
            | Self::NetflowInUse { .. }
            | Self::Inconsistent { .. } => None,
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
