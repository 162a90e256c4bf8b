//! What teams may be.

use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::{InterfaceName, nearest};
use crate::spec::{PortgroupSpec, TeamingPolicy, VswitchSpec};

const ACTIVE: &str = "teaming.active";
const STANDBY: &str = "teaming.standby";

/// Checks the teams of every switch and port group.
///
/// # Errors
/// The first that cannot be.
pub(super) fn fit(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    for switch in intent.vswitches.values().map(|object| &object.spec) {
        let teaming = &switch.teaming;
        in_order(
            &(&switch.name).into(),
            switch,
            teaming.active.named(),
            &teaming.standby.0,
        )?;
        if teaming.policy == TeamingPolicy::IpHash && !teaming.standby.0.is_empty() {
            let object = ObjectRef::from(&switch.name);
            return Err(ModelError::StandbyWithIpHash {
                policy: Box::new(object.clone()),
                order: Box::new(object.clone()),
                object,
                standby: teaming.standby.to_string(),
            });
        }
    }
    for group in intent.portgroups.values().map(|object| &object.spec) {
        let switch = &intent.vswitch(&group.vswitch)?.spec;
        let (active, standby) = (group.teaming.active.own(), group.teaming.standby.own());
        in_order(
            &(&group.name).into(),
            switch,
            active.map_or(&[], |active| active.named()),
            standby.map_or(&[], |standby| standby.0.as_slice()),
        )?;
        no_standby_with_iphash(group, switch, changed)?;
    }
    Ok(())
}

/// Uplinks of the switch, each in one place.
fn in_order(
    object: &ObjectRef,
    switch: &VswitchSpec,
    active: &[InterfaceName],
    standby: &[InterfaceName],
) -> Result<(), ModelError> {
    let mut seen: Vec<&InterfaceName> = Vec::new();
    let active = active.iter().map(|uplink| (ACTIVE, uplink));
    let standby = standby.iter().map(|uplink| (STANDBY, uplink));
    for (field, uplink) in active.chain(standby) {
        if !switch.uplinks.contains(uplink) {
            let known = switch.uplinks.iter().map(InterfaceName::as_str);
            return Err(ModelError::NoSuchUplink {
                object: object.clone(),
                field,
                interface: uplink.to_string(),
                switch: Box::new(switch.name.clone()),
                nearest: nearest(uplink.as_str(), known).map(str::to_owned),
            });
        }
        if seen.contains(&uplink) {
            return Err(ModelError::TwiceInTeam {
                object: object.clone(),
                field,
                interface: uplink.to_string(),
            });
        }
        seen.push(uplink);
    }
    Ok(())
}

/// The switches at the other end take all uplinks of a team by `iphash` for one link (vSphere).
fn no_standby_with_iphash(
    group: &PortgroupSpec,
    switch: &VswitchSpec,
    changed: &[ObjectRef],
) -> Result<(), ModelError> {
    let (own, default) = (ObjectRef::from(&group.name), ObjectRef::from(&switch.name));
    let (policy, by_whom) = match group.teaming.policy.own() {
        Some(policy) => (policy, &own),
        None => (&switch.teaming.policy, &default),
    };
    let (standby, order) = if group.teaming.orders() {
        (group.teaming.standby.own(), &own)
    } else {
        (Some(&switch.teaming.standby), &default)
    };
    let standby = standby.filter(|standby| !standby.0.is_empty());
    let Some(standby) = standby.filter(|_| *policy == TeamingPolicy::IpHash) else {
        return Ok(());
    };
    // The one that was changed, if only one was.
    let by_switch = changed.contains(&default) && !changed.contains(&own);
    Err(ModelError::StandbyWithIpHash {
        object: if by_switch { &default } else { &own }.clone(),
        policy: Box::new(by_whom.clone()),
        standby: standby.to_string(),
        order: Box::new(order.clone()),
    })
}
