//! Load balancing: a busy port of an overloaded uplink moves to one that has room.

use std::collections::{BTreeMap, HashMap};
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
}

#[derive(Clone, Debug)]
struct Look {
    at: u64,
    octets: BTreeMap<PortId, u64>,
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
            let rates = self
                .looks
                .get(team)
                .map(|before| Rates::between(before, &look));
            self.looks.insert(team.clone(), look);
            if let (Some(rates), Some(seats)) = (rates, seats.get(team)) {
                moves.extend(relieve(
                    &members,
                    ways,
                    &seats.taken,
                    &rates,
                    load,
                    threshold,
                ));
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

/// At most one port of each overloaded uplink, to the uplink that is least used, if that is then less used than the one that
/// it leaves: the busiest port of which that holds.
fn relieve(
    members: &[PortId],
    ways: &HashMap<PortId, Way>,
    in_use: &[PortId],
    rates: &Rates,
    load: &Load<'_>,
    threshold: u8,
) -> Vec<(PortId, PortId)> {
    let exit = |port: &PortId| match ways.get(port).map(|way| &way.exit) {
        Some(Exit::By(uplink)) => Some(*uplink),
        _ => None,
    };
    let mut shares: BTreeMap<PortId, f64> = in_use
        .iter()
        .filter_map(|&uplink| Some((uplink, rates.of(uplink) / (load.speed)(uplink)? as f64)))
        .collect();
    let mut moves = Vec::new();
    for &uplink in in_use {
        let Some(&share) = shares.get(&uplink) else {
            continue;
        };
        if share * 100.0 <= f64::from(threshold) {
            continue;
        }
        let target = shares
            .iter()
            .filter(|(other, _)| **other != uplink)
            .min_by(|one, other| one.1.total_cmp(other.1));
        let Some((&target, &room)) = target else {
            continue;
        };
        let Some(speed) = (load.speed)(target) else {
            continue;
        };
        let then = |port: PortId| room + rates.of(port) / speed as f64;
        let fits = members.iter().filter(|port| {
            exit(port) == Some(uplink) && then(**port) < share && rates.of(**port) > 0.0
        });
        if let Some(&port) = fits.max_by(|one, other| rates.of(**one).total_cmp(&rates.of(**other)))
        {
            shares.insert(target, then(port));
            moves.push((port, target));
        }
    }
    moves
}
