//! Rules about NetFlow.

use std::collections::HashMap;

use super::newest_first;
use crate::compile::domain;
use crate::error::ModelError;
use crate::intent::{Intent, ObjectRef};
use crate::name::HostName;
use crate::spec::{PortgroupSpec, Toggle, VswitchSpec};

/// What each switch tells can be told, and where flows are counted somebody is told of them.
pub(super) fn fit(intent: &Intent, changed: &[ObjectRef]) -> Result<(), ModelError> {
    for netflow in intent.netflow.values().map(|object| &object.spec) {
        let most = netflow.version.most_sampling();
        if netflow.sampling.number() > most {
            return Err(ModelError::SamplingBeyondVersion {
                object: netflow.into(),
                sampling: netflow.sampling,
                version: netflow.version,
                most,
            });
        }
        let Some(source_ip) = netflow.source_ip else {
            continue;
        };
        let is_v4 = source_ip.address().is_ipv4();
        let mut collectors = netflow.collectors.all().iter();
        if let Some(&collector) = collectors.find(|one| one.address().is_ipv4() != is_v4) {
            return Err(ModelError::SourceOfOtherFamily {
                object: netflow.into(),
                source_ip,
                collector,
            });
        }
    }
    for switch in intent.vswitches.values().map(|object| &object.spec) {
        if !intent.netflow.contains_key(&switch.name) {
            nobody_enables(intent, switch, changed)?;
        }
    }
    Ok(())
}

/// No collector is told of two switches with one domain, by which it tells them apart: it would take the sequence numbers of both for
/// those of one, and mix what options say.
pub(super) fn are_told_apart(
    intent: &Intent,
    host: &HostName,
    changed: &[ObjectRef],
) -> Result<(), ModelError> {
    let mut holders = HashMap::new();
    for netflow in intent.netflow.values().map(|object| &object.spec) {
        let domain = netflow.version.told_domain(domain(host, netflow));
        for &collector in netflow.collectors.all() {
            let told = (netflow.version, domain, collector.address());
            let Some(other) = holders.insert(told, netflow) else {
                continue;
            };
            let users = (ObjectRef::from(netflow), ObjectRef::from(other));
            let (object, holder) = newest_first(users.0, users.1, changed, |user| user);
            return Err(ModelError::DomainTaken {
                object,
                domain,
                version: netflow.version,
                holder,
                collector,
            });
        }
    }
    Ok(())
}

/// No port group of a switch has its flows counted. That the switch would have them is nothing before it has port groups.
fn nobody_enables(
    intent: &Intent,
    switch: &VswitchSpec,
    changed: &[ObjectRef],
) -> Result<(), ModelError> {
    let groups = intent.portgroups_of(&switch.name);
    let enabling: Vec<_> = groups
        .filter_map(|group| Some((group, enabled_by(group, switch)?)))
        .collect();
    let Some((first, _)) = enabling.first() else {
        return Ok(());
    };
    let mut users: Vec<_> = enabling.iter().map(|(_, by)| by.clone()).collect();
    users.dedup();
    let netflow = ObjectRef::netflow_of(&switch.name);
    let is_changed = |object: &&ObjectRef| changed.contains(object);
    let group = ObjectRef::from(&first.name);
    // The one that was changed, if only one was.
    let groups: Vec<_> = enabling
        .iter()
        .map(|(group, _)| ObjectRef::from(&group.name))
        .collect();
    let default = ObjectRef::from(&switch.name);
    match groups.iter().chain([&default]).find(is_changed) {
        None if changed.contains(&netflow) => Err(ModelError::NetflowInUse {
            object: netflow,
            users,
        }),
        one => Err(ModelError::NoCollector {
            object: one.cloned().unwrap_or(group),
            switch: Box::new(switch.name.clone()),
        }),
    }
}

/// Who has the flows of a port group counted.
fn enabled_by(group: &PortgroupSpec, switch: &VswitchSpec) -> Option<ObjectRef> {
    match (group.netflow.own(), switch.netflow) {
        (Some(Toggle::Enabled), _) => Some((&group.name).into()),
        (None, Toggle::Enabled) => Some((&switch.name).into()),
        (Some(Toggle::Disabled), _) | (None, Toggle::Disabled) => None,
    }
}
