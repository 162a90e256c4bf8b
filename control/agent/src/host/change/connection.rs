//! Whether a change cuts the operator off who asks for it.

use std::net::IpAddr;

use weft_api::{Problem, ProblemKind};
use weft_model::{Attachment, InterfaceName, LinkSetting, ObjectRef, PortSpec, Vmk, VswitchName};
use weft_vlan::PortgroupVlan;

use super::Order;
use crate::state::State;

/// By where the host's own interface reaches others.
struct Path<'a> {
    switch: &'a VswitchName,
    vlan: PortgroupVlan,
    /// Whether its team has an uplink that can be used: with it, it reaches others than those on the host.
    leaves: bool,
}

/// Refuses to take the last path from the interface over which the operator is connected.
///
/// # Errors
/// `conflict`, unless the order says that it is meant.
pub(super) fn expect_to_stay_connected(
    before: &State,
    next: &State,
    order: &Order,
) -> Result<(), Problem> {
    let Some(address) = order.by.connected_to.filter(|_| !order.yes) else {
        return Ok(());
    };
    let Some((vmk, was)) = path_of(before, address) else {
        return Ok(());
    };
    let what = match path_of(next, address) {
        Some((_, is)) if is.vlan != was.vlan => format!("moves to VLAN {}", is.vlan),
        Some((_, is)) if was.leaves && !is.leaves => {
            format!("loses its last uplink of standard switch {}", is.switch)
        }
        Some((_, is)) if !was.leaves && is.switch != was.switch => {
            format!("moves to standard switch {}", is.switch)
        }
        Some(_) => return Ok(()),
        None => "loses its last path".to_owned(),
    };
    let object = ObjectRef::from(vmk);
    let message = format!("{object}: you are connected over its address {address}, which {what}");
    Err(Problem::new(ProblemKind::Conflict, message)
        .about(object)
        .with_remedy(
            "say --yes if that is meant, and have 'weft apply --confirm 60s' take it back if it fails",
        ))
}

/// The host's own interface that has an address and is connected, and its path.
fn path_of(state: &State, address: IpAddr) -> Option<(&PortSpec, Path<'_>)> {
    let intent = &state.intent;
    let mut ports = intent.ports.values().map(|object| &object.spec);
    let vmk = ports.find(|port| match &port.attachment {
        Attachment::Vmk(Vmk { ip: Some(ip), .. }) => ip.address() == address,
        _ => false,
    })?;
    if vmk.block || vmk.link == LinkSetting::Down {
        return None;
    }
    let group = &intent.portgroups.get(&vmk.portgroup)?.spec;
    let teaming = intent.effective_policy(&vmk.name).ok()?.teaming;
    let switch = &intent.vswitches.get(&group.vswitch)?.spec;
    let works = |interface: &InterfaceName| {
        let link = state.links.get(interface);
        link.is_some_and(|link| link.up && link.carrier)
    };
    let mut team = (teaming.active.value.named().iter()).chain(&teaming.standby.value.0);
    let leaves = team.any(works);
    let path = Path {
        switch: &switch.name,
        vlan: group.vlan,
        leaves,
    };
    Some((vmk, path))
}
