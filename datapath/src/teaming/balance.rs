//! Load balancing: a busy port of an overloaded uplink moves to one that has room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Exit, Seats, Way};
use crate::config::{Config, PortId, TeamConfig, TeamPolicy};

/// What ports and uplinks carried so far.
pub(crate) struct Load<'a> {
    /// Octets of a port or an uplink, those of its busier direction.
    pub(crate) octets: &'a dyn Fn(PortId) -> u64,
    /// Bits per second that an uplink can carry one way, where that is known.
    pub(crate) speed: &'a dyn Fn(PortId) -> Option<u64>,
}

/// What balancing remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    /// When each team was last looked at (monotonic, ns), and what its ports and uplinks had carried then.
    looks: HashMap<TeamConfig, Look>,
    /// When a port last moved from an uplink or to it: what it carried before says nothing of what it will.
    changed: BTreeMap<PortId, u64>,
}

#[derive(Clone, Debug)]
struct Look {
    at: u64,
    octets: BTreeMap<PortId, u64>,
}

/// How much is used of uplinks, of those whose speed is known: the same for all teams that are looked at together, since port
/// groups with other teams use the same uplinks.
#[derive(Default)]
struct Shares {
    used: BTreeMap<PortId, f64>,
    /// Uplinks that gave a port away. What moves is a guess, so that one has to do until the next look.
    relieved: BTreeSet<PortId>,
}

impl Balance {
    /// The ports that are to move, each with the uplink that it moves to, of all teams whose period is over.
    pub(super) fn moves(
        &mut self,
        config: &Config,
        ways: &HashMap<PortId, Way>,
        seats: &HashMap<TeamConfig, Arc<Seats>>,
        load: &Load<'_>,
        now: u64,
    ) -> Vec<(PortId, PortId)> {
        self.looks.retain(|team, _| config.teams.contains(team));
        let is_there = |uplink: &PortId| config.ports.iter().any(|port| port.id == *uplink);
        self.changed.retain(|uplink, _| is_there(uplink));
        let mut shares = Shares::default();
        let mut moves = Vec::new();
        for (number, team) in config.teams.iter().enumerate() {
            let TeamPolicy::Load { period, threshold } = team.policy else {
                continue;
            };
            let due = |look: &Look| now.saturating_sub(look.at) >= period.as_nanos() as u64;
            if self.looks.get(team).is_some_and(|look| !due(look)) {
                continue;
            }
            let members = config
                .ports
                .iter()
                .filter(|port| port.team.is_some_and(|team| usize::from(team.0) == number));
            let members: Vec<PortId> = members.map(|port| port.id).collect();
            let uplinks = team.active.iter().chain(&team.standby);
            let octets = members.iter().chain(uplinks);
            let octets = octets.map(|&port| (port, (load.octets)(port))).collect();
            let look = Look { at: now, octets };
            let before = self.looks.insert(team.clone(), look.clone());
            if let (Some(before), Some(seats)) = (before, seats.get(team)) {
                let since = before.at;
                let is_steady = |uplink: &PortId| {
                    let changed = self.changed.get(uplink);
                    changed.is_none_or(|&changed| changed <= since || changed == now)
                };
                let in_use = seats.taken.iter().copied().filter(is_steady);
                let in_use: Vec<PortId> = in_use.collect();
                let group = Group {
                    members: &members,
                    in_use: &in_use,
                    rates: Rates::between(&before, &look),
                    threshold,
                };
                for (port, from, to) in group.relieve(ways, load, &mut shares) {
                    self.changed.extend([(from, now), (to, now)]);
                    moves.push((port, to));
                }
            }
        }
        moves
    }
}

/// Bits per second between two looks.
struct Rates(BTreeMap<PortId, f64>);

impl Rates {
    fn between(before: &Look, after: &Look) -> Self {
        let seconds = (after.at - before.at) as f64 / 1e9;
        let rate = |(port, octets): (&PortId, &u64)| {
            // Of a port that is new nothing is known.
            let carried = octets.saturating_sub(*before.octets.get(port).unwrap_or(octets));
            (*port, carried as f64 * 8.0 / seconds)
        };
        Self(after.octets.iter().map(rate).collect())
    }

    fn of(&self, port: PortId) -> f64 {
        self.0.get(&port).copied().unwrap_or(0.0)
    }
}

/// A team that is looked at.
struct Group<'a> {
    members: &'a [PortId],
    in_use: &'a [PortId],
    rates: Rates,
    threshold: u8,
}

impl Group<'_> {
    /// At most one port of each overloaded uplink, with that and the uplink that it goes to: the one that is least used, if it
    /// is then less used than the one that the port leaves. It is the busiest port of which that holds.
    fn relieve(
        &self,
        ways: &HashMap<PortId, Way>,
        load: &Load<'_>,
        shares: &mut Shares,
    ) -> Vec<(PortId, PortId, PortId)> {
        let exit = |port: &PortId| match ways.get(port).map(|way| &way.exit) {
            Some(Exit::By(uplink)) => Some(*uplink),
            _ => None,
        };
        let rates = &self.rates;
        let speeds = self
            .in_use
            .iter()
            .filter_map(|&uplink| Some((uplink, (load.speed)(uplink)? as f64)));
        let speeds: BTreeMap<PortId, f64> = speeds.collect();
        for (&uplink, speed) in &speeds {
            let used = shares.used.entry(uplink);
            used.or_insert_with(|| rates.of(uplink) / speed);
        }
        let mut moves = Vec::new();
        for (&uplink, own_speed) in &speeds {
            let share = shares.used[&uplink];
            let is_overloaded = share * 100.0 > f64::from(self.threshold);
            if !is_overloaded || shares.relieved.contains(&uplink) {
                continue;
            }
            let others = speeds.iter().filter(|(other, _)| **other != uplink);
            let room = |other: PortId| shares.used[&other];
            let target = others.min_by(|one, other| room(*one.0).total_cmp(&room(*other.0)));
            let Some((&target, speed)) = target else {
                continue;
            };
            let then = |port: PortId| room(target) + rates.of(port) / speed;
            let fits = self.members.iter().filter(|port| {
                exit(port) == Some(uplink) && then(**port) < share && rates.of(**port) > 0.0
            });
            let busiest = fits.max_by(|one, other| rates.of(**one).total_cmp(&rates.of(**other)));
            if let Some(&port) = busiest {
                let then = then(port);
                shares.used.insert(target, then);
                shares
                    .used
                    .insert(uplink, share - rates.of(port) / own_speed);
                shares.relieved.insert(uplink);
                moves.push((port, uplink, target));
            }
        }
        moves
    }
}
