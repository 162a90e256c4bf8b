//! What the host shows of its uplinks: how each is, which ports use it, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_api::{Uplink, UplinkPlace, UplinkState, UplinkTeam};
use weft_datapath::LinkState;
use weft_model::{
    EffectiveTeaming, InterfaceName, PortKey, PortName, PortgroupName, TeamingPolicy, VswitchName,
};

use super::failback::{Failback, any_of};
use crate::host::Host;
use crate::links::speed;
use crate::state::State;

/// The ports of each port group that leave by an uplink.
type Users = BTreeMap<InterfaceName, BTreeMap<PortgroupName, BTreeSet<PortName>>>;

/// How an uplink is.
pub(super) struct Standing {
    pub(super) state: UplinkState,
    /// Why it is not used at all.
    reason: Option<String>,
}

/// A port group with its switch and team.
struct Team<'a> {
    group: &'a PortgroupName,
    vswitch: &'a VswitchName,
    teaming: EffectiveTeaming,
    failback: Failback,
}

impl Host {
    /// All uplinks.
    pub(crate) fn uplinks(&self) -> Vec<Uplink> {
        let state = self.view();
        let users = self.users(&state);
        let teams = self.teams(&state);
        let describe = |(vswitch, interface): (&VswitchName, &InterfaceName)| {
            let of_switch = teams.iter().filter(|team| team.vswitch == vswitch);
            let standing = |delay| self.uplink_standing(&state, interface, delay);
            let named = of_switch
                .clone()
                .filter(|team| team.place(interface) != UplinkPlace::Unused);
            let delays: BTreeSet<_> = named.map(Team::up_delay).collect();
            // One that some port group may use is up, whoever waits for it besides.
            let shortest = standing(delays.first().copied().unwrap_or_default());
            let is_waiting = |standing: &Standing| standing.state == UplinkState::Waiting;
            let mut others = delays.iter().skip(1).map(|delay| standing(*delay));
            let used = others.find(|standing| is_waiting(&shortest) && !is_waiting(standing));
            let whole = used.unwrap_or(shortest);
            let link = state.links.get(interface).copied();
            let key = PortKey::Uplink(interface.clone());
            let teams = of_switch.map(|team| {
                let ports = users
                    .get(interface)
                    .and_then(|groups| groups.get(team.group));
                let ports: Vec<_> = ports.into_iter().flatten().cloned().collect();
                UplinkTeam {
                    portgroup: team.group.clone(),
                    policy: team.teaming.policy.value,
                    place: team.place(interface),
                    reason: team.why(interface, standing(team.up_delay()), !ports.is_empty()),
                    ports,
                }
            });
            Uplink {
                vswitch: vswitch.clone(),
                interface: interface.clone(),
                teams: teams.collect(),
                state: whole.state,
                reason: whole.reason,
                link: link.map(|link| link.up && link.carrier),
                speed_mbps: link.and_then(|link| speed(interface, link)),
                engine: self.engine(state.engines.get(&key).map(|engine| engine.id)),
            }
        };
        state.intent.uplinks().map(describe).collect()
    }

    fn teams<'a>(&self, state: &'a State) -> Vec<Team<'a>> {
        let intent = &state.intent;
        let groups = intent.portgroups.values().filter_map(|object| {
            let group = &object.spec;
            let teaming = intent.portgroup_policy(&group.name).ok()?.teaming;
            let port = intent.ports_of(&group.name).next();
            let failback = port.map(|port| self.failback(state, &teaming, &port.name));
            Some(Team {
                group: &group.name,
                vswitch: &group.vswitch,
                teaming,
                failback: failback.unwrap_or_default(),
            })
        });
        groups.collect()
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

    /// How an uplink is to a team that waits for `up_delay`.
    pub(super) fn uplink_standing(
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

impl Team<'_> {
    fn up_delay(&self) -> Duration {
        self.teaming.up_delay.value.duration()
    }

    fn place(&self, uplink: &InterfaceName) -> UplinkPlace {
        if self.teaming.active.value.named().contains(uplink) {
            UplinkPlace::Active
        } else if self.teaming.standby.value.0.contains(uplink) {
            UplinkPlace::Standby
        } else {
            UplinkPlace::Unused
        }
    }

    /// Why ports of the port group use an uplink, or do not.
    fn why(&self, uplink: &InterfaceName, standing: Standing, is_used: bool) -> String {
        let Failback {
            waiting, in_use, ..
        } = &self.failback;
        let policy = self.teaming.policy.value;
        let choice = match policy {
            TeamingPolicy::SrcId => "ports are spread by their number",
            TeamingPolicy::SrcMac => "ports are spread by their addresses",
            TeamingPolicy::IpHash => "IP packets are spread by their addresses",
            TeamingPolicy::Lbt => "ports are spread by their number, and by load",
            TeamingPolicy::Explicit => "it is the first usable one",
        };
        let place = self.place(uplink);
        match (place, standing.state, is_used) {
            (UplinkPlace::Unused, ..) => "neither active nor standby".to_owned(),
            (_, UplinkState::Down, _) => "it is down".to_owned(),
            (_, UplinkState::Unstable, _) => "its link is unstable".to_owned(),
            (_, UplinkState::Waiting, _) => standing
                .reason
                .unwrap_or_else(|| "it waits for its up-delay".to_owned()),
            _ if waiting.contains(uplink) => format!(
                "{uplink} is usable again, but failback is off; it waits until {} fails",
                any_of(in_use)
            ),
            (_, UplinkState::Up, true) if self.failback.decides(&self.teaming, uplink) => format!(
                "it stands in for {}, usable again, as failback is off",
                any_of(waiting)
            ),
            (UplinkPlace::Active, UplinkState::Up, true) => choice.to_owned(),
            (UplinkPlace::Standby, UplinkState::Up, true) => {
                "stands in for an active uplink that is not usable".to_owned()
            }
            (UplinkPlace::Standby, ..) => "waits for an active uplink to fail".to_owned(),
            (UplinkPlace::Active, ..) if policy == TeamingPolicy::Explicit => {
                "one before it is usable".to_owned()
            }
            (UplinkPlace::Active, ..) => "no port is assigned to it".to_owned(),
        }
    }
}
