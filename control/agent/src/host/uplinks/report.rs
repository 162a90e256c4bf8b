//! What the host shows of its uplinks: how each is, which ports use it, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_api::{Uplink, UplinkPlace, UplinkState, UplinkTeam};
use weft_datapath::LinkState;
use weft_model::{
    EffectiveTeaming, InterfaceName, PortKey, PortName, PortgroupName, TeamingPolicy, VswitchName,
};

use super::Host;
use crate::links::speed;
use crate::state::State;

/// The ports of each port group that leave by an uplink.
type Users = BTreeMap<InterfaceName, BTreeMap<PortgroupName, BTreeSet<PortName>>>;

/// How an uplink is.
struct Standing {
    state: UplinkState,
    /// Why it is not used at all.
    reason: Option<String>,
}

impl Host {
    /// All uplinks.
    pub(crate) fn uplinks(&self) -> Vec<Uplink> {
        let state = self.view();
        let users = self.users(&state);
        let teams = teams(&state);
        let describe = |(vswitch, interface): (&VswitchName, &InterfaceName)| {
            let of_switch = teams.iter().filter(|(_, of, _)| *of == vswitch);
            let delay = of_switch.clone().map(|(.., team)| team.up_delay.value);
            let delay = delay.map(|delay| delay.duration()).max();
            let standing = self.uplink_standing(&state, interface, delay.unwrap_or_default());
            let link = state.links.get(interface).copied();
            let key = PortKey::Uplink(interface.clone());
            let teams = of_switch.map(|(group, _, team)| {
                let ports = users.get(interface).and_then(|groups| groups.get(*group));
                let ports: Vec<_> = ports.into_iter().flatten().cloned().collect();
                let place = place(team, interface);
                UplinkTeam {
                    portgroup: (*group).clone(),
                    policy: team.policy.value,
                    place,
                    reason: why(team, place, &standing, !ports.is_empty()),
                    ports,
                }
            });
            Uplink {
                vswitch: vswitch.clone(),
                interface: interface.clone(),
                teams: teams.collect(),
                state: standing.state,
                reason: standing.reason,
                link: link.map(|link| link.up && link.carrier),
                speed_mbps: link.and_then(|link| speed(interface, link)),
                engine: self.engine(state.engines.get(&key).map(|engine| engine.id)),
            }
        };
        state.intent.uplinks().map(describe).collect()
    }

    /// The ports that leave by each uplink at this moment.
    fn users(&self, state: &State) -> Users {
        let mut users = Users::new();
        for (port, uplinks) in self.plane.datapath().ways() {
            let Some(PortKey::Port(name)) = state.key(port) else {
                continue;
            };
            let Some(object) = state.intent.ports.get(name) else {
                continue;
            };
            for uplink in uplinks {
                if let Some(PortKey::Uplink(interface)) = state.key(uplink) {
                    let groups = users.entry(interface.clone()).or_default();
                    let ports = groups.entry(object.spec.portgroup.clone()).or_default();
                    ports.insert(name.clone());
                }
            }
        }
        users
    }

    fn uplink_standing(
        &self,
        state: &State,
        interface: &InterfaceName,
        up_delay: Duration,
    ) -> Standing {
        let key = PortKey::Uplink(interface.clone());
        if let Some(obstacle) = state.link_obstacle(&key) {
            return Standing {
                state: UplinkState::Down,
                reason: Some(obstacle.reason),
            };
        }
        let link = state.id(&key).map(|id| {
            let datapath = self.plane.datapath();
            datapath.link_state(id, up_delay)
        });
        let (state, reason) = match link {
            None | Some((LinkState::Usable, _)) => (UplinkState::Up, None),
            Some((LinkState::Down, _)) => (UplinkState::Down, Some("its link is down".to_owned())),
            Some((LinkState::Waiting { .. }, remaining)) => {
                let remaining = remaining.unwrap_or_default().as_secs_f64();
                let reason = format!("its link has just come up; it is used in {remaining:.1} s");
                (UplinkState::Waiting, Some(reason))
            }
            Some((LinkState::Unstable { .. }, remaining)) => {
                let remaining = remaining.unwrap_or_default().as_secs();
                let reason = format!(
                    "its link went down more than 60 times within a minute; it is used in {remaining} s if it stays up"
                );
                (UplinkState::Unstable, Some(reason))
            }
        };
        Standing { state, reason }
    }
}

/// Every port group with its switch and team.
fn teams(state: &State) -> Vec<(&PortgroupName, &VswitchName, EffectiveTeaming)> {
    let intent = &state.intent;
    let groups = intent.portgroups.values().filter_map(|object| {
        let group = &object.spec;
        let policy = intent.portgroup_policy(&group.name).ok()?;
        Some((&group.name, &group.vswitch, policy.teaming))
    });
    groups.collect()
}

fn place(team: &EffectiveTeaming, uplink: &InterfaceName) -> UplinkPlace {
    if team.active.value.named().contains(uplink) {
        UplinkPlace::Active
    } else if team.standby.value.0.contains(uplink) {
        UplinkPlace::Standby
    } else {
        UplinkPlace::Unused
    }
}

/// Why ports of a port group use an uplink, or do not.
fn why(team: &EffectiveTeaming, place: UplinkPlace, standing: &Standing, is_used: bool) -> String {
    let choice = match team.policy.value {
        TeamingPolicy::SrcId => "ports are spread by their number",
        TeamingPolicy::SrcMac => "ports are spread by their addresses",
        TeamingPolicy::IpHash => "IP packets are spread by their addresses",
        TeamingPolicy::Lbt => "ports are spread by their number, and by load",
        TeamingPolicy::Explicit => "it is the first usable one",
    };
    match (place, standing.state, is_used) {
        (UplinkPlace::Unused, ..) => "neither active nor standby".to_owned(),
        (UplinkPlace::Active, UplinkState::Up, true) => choice.to_owned(),
        (UplinkPlace::Standby, UplinkState::Up, true) => {
            "stands in for an active uplink that is not usable".to_owned()
        }
        (_, UplinkState::Down, _) => "it is down".to_owned(),
        (_, UplinkState::Waiting, _) => "it waits for its up-delay".to_owned(),
        (_, UplinkState::Unstable, _) => "its link is unstable".to_owned(),
        (UplinkPlace::Standby, ..) => "waits for an active uplink to fail".to_owned(),
        (UplinkPlace::Active, ..) => match team.policy.value {
            _ if !team.failback.value.0 => {
                "no port is assigned to it; without failback it may wait for another to fail"
                    .to_owned()
            }
            TeamingPolicy::Explicit => "one before it is usable".to_owned(),
            _ => "no port is assigned to it".to_owned(),
        },
    }
}
