//! Whether a change cuts the operator off who asks for it.

use std::net::IpAddr;

use weft_api::{Problem, ProblemKind};
use weft_model::{
    Attachment, InterfaceName, LinkSetting, ObjectRef, PortKey, PortSpec, Vmk, VswitchName,
};
use weft_vlan::PortgroupVlan;

use super::{Host, Order};
use crate::state::State;

/// By where the host's own interface reaches others.
struct Path<'a> {
    switch: &'a VswitchName,
    vlan: PortgroupVlan,
    /// The length of its network's prefix, where weft sets it.
    prefix: Option<u8>,
    /// Whether its team has an uplink that can be used: with it, it reaches others than those on the host.
    leaves: bool,
}

impl Host {
    /// Refuses to take the last path from the interface over which the operator is connected. Of a dry run that is told to go on,
    /// returns instead what would be refused, a full sentence.
    ///
    /// # Errors
    /// `conflict`, unless the order says that it is meant. `failed`, if the kernel does not tell its addresses.
    pub(super) fn expect_to_stay_connected(
        &self,
        before: &State,
        next: &State,
        order: &Order,
    ) -> Result<Option<String>, Problem> {
        let is_of_interest = !order.yes || order.dry_run;
        let Some(address) = order.by.connected_to.filter(|_| is_of_interest) else {
            return Ok(None);
        };
        let device = self.plane.device_of(address)?;
        let is_on = |interface: &InterfaceName| {
            (before.links.get(interface)).is_some_and(|link| Some(link.index) == device)
        };
        let Some((vmk, what)) = cut(before, next, address, is_on) else {
            return Ok(None);
        };
        let object = ObjectRef::from(vmk);
        let lost = format!("you are connected over its address {address}, which {what}");
        if order.yes {
            return Ok(Some(format!("Of {object}: {lost}; it takes --yes.")));
        }
        Err(Problem::new(ProblemKind::Conflict, format!("{object}: {lost}"))
            .about(object)
            .with_remedy(
                "say --yes if that is meant, and have 'weft apply --confirm 60s' take it back if it fails",
            ))
    }
}

/// The host's own interface that has an address, and what becomes of the address, if others cannot reach it then.
fn cut<'a>(
    before: &'a State,
    next: &State,
    address: IpAddr,
    is_on: impl Fn(&InterfaceName) -> bool,
) -> Option<(&'a PortSpec, String)> {
    let has_it = |vmk: &Vmk| vmk.ip.is_some_and(|ip| ip.address() == address);
    // The kernel knows those that weft did not give, too, such as a DHCP client's.
    let holder = find(before, |vmk| is_on(&vmk.device)).or_else(|| find(before, has_it))?;
    let was = path_of(before, holder)?;
    let is_set = find(before, has_it).is_some();
    let stays = |vmk: &Vmk| !is_set && is_on(&vmk.device);
    let heir = find(next, has_it).or_else(|| find(next, stays));
    let is = heir.and_then(|heir| path_of(next, heir));
    let what = match is {
        Some(is) if is.vlan != was.vlan => format!("moves to VLAN {}", is.vlan),
        Some(is) if was.leaves && !is.leaves => {
            format!("loses its last uplink of standard switch {}", is.switch)
        }
        Some(is) if !was.leaves && is.switch != was.switch => {
            format!("moves to standard switch {}", is.switch)
        }
        // Who is of the network may be beyond it then, and so may its router.
        Some(Path {
            prefix: Some(prefix),
            ..
        }) if was.prefix.is_some_and(|was| was < prefix) => {
            format!("is of a smaller network then, /{prefix}")
        }
        Some(_) => return None,
        None => "loses its last path".to_owned(),
    };
    Some((holder, what))
}

fn find(state: &State, is_it: impl Fn(&Vmk) -> bool) -> Option<&PortSpec> {
    let mut ports = state.intent.ports.values().map(|object| &object.spec);
    ports.find(|port| matches!(&port.attachment, Attachment::Vmk(vmk) if is_it(vmk)))
}

/// The path of the host's own interface, if it is connected.
fn path_of<'a>(state: &'a State, vmk: &PortSpec) -> Option<Path<'a>> {
    if vmk.block || vmk.link == LinkSetting::Down {
        return None;
    }
    let intent = &state.intent;
    let group = &intent.portgroups.get(&vmk.portgroup)?.spec;
    let teaming = intent.effective_policy(&vmk.name).ok()?.teaming;
    let switch = &intent.vswitches.get(&group.vswitch)?.spec;
    let works = |interface: &InterfaceName| {
        let link = state.links.get(interface);
        let has_failed = || (state.failures).contains_key(&PortKey::Uplink(interface.clone()));
        link.is_some_and(|link| link.up && link.carrier) && !has_failed()
    };
    let mut team = (teaming.active.value.named().iter()).chain(&teaming.standby.value.0);
    let leaves = team.any(works);
    let prefix = match &vmk.attachment {
        Attachment::Vmk(Vmk { ip, .. }) => ip.map(|ip| ip.prefix()),
        _ => None,
    };
    Some(Path {
        switch: &switch.name,
        vlan: group.vlan,
        prefix,
        leaves,
    })
}
