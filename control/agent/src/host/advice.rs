//! Policies that cannot do what they say, as they are set or as things stand.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_api::{Cause, Finding};
use weft_datapath::LinkState;
use weft_model::{Decision, ObjectKind, ObjectRef, PortKey, PortgroupName};

use super::Host;
use crate::state::{State, quoted};

impl Host {
    /// Port groups that cannot leave the host or learn nothing, ports that have learned as much as they may, links that are
    /// not used.
    pub(super) fn advice(&self, state: &State) -> Vec<Finding> {
        let mut findings = self.cut_off(state);
        findings.extend(self.unstable(state));
        findings.extend(learners(state).filter_map(|(group, _)| forged(state, group)));
        findings.extend(self.full(state));
        findings
    }

    /// Port groups none of whose uplinks is usable, for some port, where no uplink that is down says as much.
    fn cut_off(&self, state: &State) -> Vec<Finding> {
        let mut groups: BTreeMap<&PortgroupName, usize> = BTreeMap::new();
        for (port, way) in self.plane.datapath().ways() {
            let Some(PortKey::Port(name)) = state.key(port).filter(|_| way.is_empty()) else {
                continue;
            };
            if let Some(object) = state.intent.ports.get(name) {
                *groups.entry(&object.spec.portgroup).or_default() += 1;
            }
        }
        let finding = |(group, ports): (&PortgroupName, usize)| Finding {
            object: group.into(),
            cause: Cause::NoUplink,
            reason: format!(
                "none of its uplinks is usable: what {} would send to the world is dropped",
                match ports {
                    1 => "its port".to_owned(),
                    many => format!("{many} of its ports"),
                }
            ),
            next: "weft uplink list".to_owned(),
        };
        let is_told = |group: &PortgroupName| {
            let policy = state.intent.portgroup_policy(group);
            policy.is_ok_and(|policy| {
                let team = &policy.teaming;
                let mut uplinks = team
                    .active
                    .value
                    .named()
                    .iter()
                    .chain(&team.standby.value.0);
                uplinks.any(|uplink| {
                    let key = PortKey::Uplink(uplink.clone());
                    state.link_obstacle(&key).is_some()
                })
            })
        };
        groups.retain(|group, _| !is_told(group));
        groups.into_iter().map(finding).collect()
    }

    fn unstable(&self, state: &State) -> Vec<Finding> {
        let uplinks = state.intent.uplinks().filter_map(|(_, interface)| {
            let id = state.id(&PortKey::Uplink(interface.clone()))?;
            let (link, _) = self.plane.datapath().link_state(id, Duration::ZERO);
            matches!(link, LinkState::Unstable { .. }).then(|| Finding {
                object: ObjectRef::new(ObjectKind::Uplink, interface),
                cause: Cause::Warning,
                reason: "its link went down more than 60 times within a minute; it is not used until it has been stable"
                    .to_owned(),
                next: format!("weft uplink show {interface}"),
            })
        });
        uplinks.collect()
    }

    /// Ports that have learned as many addresses as they may.
    fn full(&self, state: &State) -> Vec<Finding> {
        let limits: BTreeMap<_, _> = learners(state).collect();
        let ports = state.intent.ports.values().filter_map(|object| {
            let port = &object.spec;
            let limit = *limits.get(&port.portgroup)?;
            let id = state.id(&PortKey::Port(port.name.clone()))?;
            let learned = self.plane.datapath().learned_count(id);
            (learned >= limit).then(|| Finding {
                object: (&port.name).into(),
                cause: Cause::Warning,
                reason: format!(
                    "it has learned {learned} addresses, as many as it may; others behind it are not learned"
                ),
                next: format!(
                    "weft fdb list; weft portgroup set {} --learning-limit N",
                    quoted(&port.portgroup)
                ),
            })
        });
        ports.collect()
    }
}

/// The port groups that learn, each with its limit.
fn learners(state: &State) -> impl Iterator<Item = (&PortgroupName, usize)> {
    state.intent.portgroups.keys().filter_map(|name| {
        let policy = state.intent.portgroup_policy(name).ok()?;
        let learning = &policy.mac_learning;
        let limit = learning.limit.value.count();
        learning.enabled.value.0.then_some((name, limit))
    })
}

/// That a port group which learns drops what it should learn from.
fn forged(state: &State, group: &PortgroupName) -> Option<Finding> {
    let policy = state.intent.portgroup_policy(group).ok()?;
    (policy.forged_transmits.value == Decision::Reject).then(|| Finding {
        object: group.into(),
        cause: Cause::Warning,
        reason: format!(
            "MAC learning is enabled, and forged transmits are rejected by {}, so nothing is learned",
            policy.forged_transmits.from
        ),
        next: format!("weft portgroup set {} --forged-transmits accept", quoted(group)),
    })
}
