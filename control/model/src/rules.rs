//! What must hold in every configuration, whichever way it came about.

mod netflow;
mod teams;
mod vmks;

use std::collections::HashMap;

use weft_packet::MacAddr;
use weft_vlan::PortgroupVlan;

use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::{
    HostName, InterfaceName, PortName, PortgroupName, SocketPath, VswitchName, nearest,
};
use crate::spec::PortSpec;

/// Checks a whole configuration. Where two objects contradict each other, the error is about the one that is among `changed`,
/// if only one is.
///
/// # Errors
/// The first rule that does not hold.
pub(crate) fn check(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    targets_exist(intent)?;
    interfaces_serve_once(intent, changed)?;
    sockets_serve_once(intent, changed)?;
    teams::fit(intent, changed)?;
    addresses_are_unique(intent, changed, |port| port.mac)?;
    vmks::fit(intent, changed)?;
    netflow::fit(intent, changed)
}

fn targets_exist(intent: &Intent) -> Result<(), ModelError> {
    for group in intent.portgroups.values().map(|object| &object.spec) {
        if !intent.vswitches.contains_key(&group.vswitch) {
            let known = intent.vswitches.keys().map(VswitchName::as_str);
            return Err(unknown_target(
                (&group.name).into(),
                (&group.vswitch).into(),
                known,
            ));
        }
    }
    for netflow in intent.netflow.values().map(|object| &object.spec) {
        if !intent.vswitches.contains_key(&netflow.vswitch) {
            let known = intent.vswitches.keys().map(VswitchName::as_str);
            return Err(unknown_target(
                netflow.into(),
                (&netflow.vswitch).into(),
                known,
            ));
        }
    }
    for port in intent.ports.values().map(|object| &object.spec) {
        if !intent.portgroups.contains_key(&port.portgroup) {
            let known = intent.portgroups.keys().map(PortgroupName::as_str);
            return Err(unknown_target(port.into(), (&port.portgroup).into(), known));
        }
    }
    Ok(())
}

fn unknown_target<'a>(
    object: ObjectRef,
    target: ObjectRef,
    known: impl IntoIterator<Item = &'a str>,
) -> ModelError {
    let suggestion = nearest(&target.name, known).map(str::to_owned);
    ModelError::UnknownTarget {
        object,
        target,
        suggestion,
    }
}

fn interfaces_serve_once(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    let ports = intent.ports.values().filter_map(|object| {
        let port = &object.spec;
        let attachment = &port.attachment;
        Some((
            attachment.interface()?,
            (ObjectRef::from(port), attachment.field()),
        ))
    });
    let uplinks = intent
        .uplinks()
        .map(|(switch, interface)| (interface, (ObjectRef::from(switch), "uplinks")));
    let mut holders: HashMap<&InterfaceName, (ObjectRef, &'static str)> = HashMap::new();
    for (interface, user) in ports.chain(uplinks) {
        if let Some(other) = holders.insert(interface, user.clone()) {
            let ((object, field), (holder, _)) = newest_first(user, other, changed, |user| &user.0);
            return Err(ModelError::InterfaceTaken {
                object,
                field,
                interface: interface.to_string(),
                holder,
            });
        }
    }
    Ok(())
}

fn sockets_serve_once(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    let mut holders: HashMap<&SocketPath, ObjectRef> = HashMap::new();
    for port in intent.ports.values().map(|object| &object.spec) {
        let Some(socket) = port.attachment.socket() else {
            continue;
        };
        if let Some(other) = holders.insert(socket, (&port.name).into()) {
            let (object, holder) = newest_first((&port.name).into(), other, changed, |user| user);
            return Err(ModelError::SocketTaken {
                object,
                socket: socket.to_string(),
                holder,
            });
        }
    }
    Ok(())
}

fn addresses_are_unique(
    intent: &Intent,
    changed: &[ObjectRef],
    address: impl Fn(&PortSpec) -> Option<MacAddr>,
) -> Result<(), ModelError> {
    let mut holders: HashMap<(&VswitchName, MacAddr), Vec<(PortgroupVlan, &PortSpec)>> =
        HashMap::new();
    for port in intent.ports.values().map(|object| &object.spec) {
        let Some(mac) = address(port) else { continue };
        if !mac.is_unicast_source() {
            let problem = if mac.is_zero() {
                "the zero address"
            } else {
                "a multicast address"
            };
            return Err(ModelError::BadMac {
                object: port.into(),
                mac,
                problem,
            });
        }
        let (_, group, switch) = intent.chain(port)?;
        let others = holders.entry((&switch.name, mac)).or_default();
        if let Some((_, other)) = others.iter().find(|(vlan, _)| overlap(*vlan, group.vlan)) {
            let (object, holder) =
                newest_first(ObjectRef::from(port), (*other).into(), changed, |user| user);
            return Err(ModelError::MacTaken {
                object,
                mac,
                holder,
            });
        }
        others.push((group.vlan, port));
    }
    Ok(())
}

/// Whether a frame of one port group can reach the other.
fn overlap(one: PortgroupVlan, other: PortgroupVlan) -> bool {
    one == other || one == PortgroupVlan::GUEST_TAGGING || other == PortgroupVlan::GUEST_TAGGING
}

/// Of two users in conflict, the one that was changed, then the other.
fn newest_first<T>(
    one: T,
    other: T,
    changed: &[ObjectRef],
    object: impl Fn(&T) -> &ObjectRef,
) -> (T, T) {
    if changed.contains(object(&other)) && !changed.contains(object(&one)) {
        (other, one)
    } else {
        (one, other)
    }
}

impl Intent {
    /// Whether a frame of one port can reach the other: they are on one switch, in VLANs that overlap.
    pub fn share_a_domain(&self, one: &PortName, other: &PortName) -> bool {
        let domain = |name| {
            let (_, group, switch) = self.chain(&self.ports.get(name)?.spec).ok()?;
            Some((&switch.name, group.vlan))
        };
        match (domain(one), domain(other)) {
            (Some((switch, vlan)), Some((other_switch, other_vlan))) => {
                switch == other_switch && overlap(vlan, other_vlan)
            }
            _ => false,
        }
    }

    /// Checks what follows from the name of a host: that no port has an address that one of the host's own interfaces has by its name, and
    /// that collectors can tell the host's switches apart. Of two that contradict each other, the error is about the one that is among
    /// `changed`, if only one is.
    ///
    /// # Errors
    /// [`ModelError::MacTaken`], [`ModelError::DomainTaken`].
    pub fn check_on(&self, host: &HostName, changed: &[ObjectRef]) -> Result<(), ModelError> {
        addresses_are_unique(self, changed, |port| port.adapter_mac(host))?;
        netflow::are_told_apart(self, host, changed)
    }

    /// Checks a configuration that did not come about by [`Intent::apply`], such as one from a file.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), ModelError> {
        let names = (self
            .vswitches
            .iter()
            .map(|(name, object)| (ObjectRef::from(name), *name == object.spec.name)))
        .chain(
            self.portgroups
                .iter()
                .map(|(name, object)| (name.into(), *name == object.spec.name)),
        )
        .chain(
            self.ports
                .iter()
                .map(|(name, object)| (name.into(), *name == object.spec.name)),
        )
        .chain(
            self.netflow
                .iter()
                .map(|(name, object)| (ObjectRef::netflow_of(name), *name == object.spec.vswitch)),
        );
        for (object, same) in names {
            if !same {
                return Err(ModelError::Inconsistent {
                    object,
                    problem: "is stored under another name".to_owned(),
                });
            }
        }
        check(self, &[])
    }
}
