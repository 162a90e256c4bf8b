//! Teaming of the reference switch: every question is answered from the configuration and from what was told of links.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_packet::MacAddr;

use crate::PortId;
use crate::config::{Admission, Config, PortConfig, Role, SwitchId, TeamConfig, TeamPolicy};

/// How a port leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Nowhere,
    Always(PortId),
    /// With the port's own address, if it is configured.
    BySource(Option<MacAddr>, Vec<Option<PortId>>),
    /// To the first list; from the second.
    ByAddresses(Vec<Option<PortId>>, Vec<PortId>),
}

/// Who sits where, and which seats nobody ever had.
#[derive(Clone, Debug)]
struct Sitting {
    team: TeamConfig,
    seats: Vec<Option<PortId>>,
    fresh: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Past {
    choice: Choice,
    until: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Teams {
    now: u64,
    /// Whether the link is up, since when if it came up, and when it went down.
    links: BTreeMap<PortId, (bool, Option<u64>, Vec<u64>)>,
    /// Which link has waited long enough for whom that waits so long.
    ready: BTreeSet<(PortId, Duration)>,
    /// How long each port waits, and on which switch.
    delays: BTreeMap<PortId, (SwitchId, Duration)>,
    sittings: Vec<Sitting>,
    choices: BTreeMap<PortId, (Choice, Option<Past>)>,
}

impl Teams {
    pub(super) fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    pub(super) fn set_link(&mut self, uplink: PortId, up: bool) {
        let now = self.now;
        let Some((was, since, downs)) = self.links.get_mut(&uplink) else {
            self.links.insert(uplink, (up, None, Vec::new()));
            return;
        };
        match (*was, up) {
            (false, true) => *since = Some(now),
            (true, false) => {
                downs.push(now);
                self.ready.retain(|(link, _)| *link != uplink);
            }
            _ => {}
        }
        *was = up;
    }

    fn is_usable(&self, config: &Config, team: &TeamConfig, uplink: PortId) -> bool {
        let open = config
            .ports
            .iter()
            .any(|port| port.id == uplink && port.admission == Admission::Open);
        let link = self.links.get(&uplink).is_none_or(|(up, since, downs)| {
            let minute = 60_000_000_000;
            let lately = downs.iter().filter(|&&down| self.now < down + minute);
            let delay = team.up_delay.as_nanos() as u64;
            let waited = since.is_none_or(|since| self.now >= since + delay);
            let ready = waited || self.ready.contains(&(uplink, team.up_delay));
            *up && lately.count() <= 60 && ready
        });
        open && link
    }

    /// Finds out for which links nobody waits any more: they are up for long enough, or were it under the delay before.
    fn wait(&mut self, config: &Config) {
        let mut delays = BTreeMap::new();
        for port in &config.ports {
            if let Some(team) = port.team.and_then(|team| config.teams.get(team.0 as usize)) {
                delays.insert(port.id, (team.switch, team.up_delay));
            }
        }
        let mut ready = BTreeSet::new();
        for (&uplink, (up, since, _)) in &self.links {
            let port = config.ports.iter().find(|port| port.id == uplink);
            let switch = port.expect("others are forgotten").switch;
            for (port, &(on, delay)) in &delays {
                let could = |&(was_on, was): &(SwitchId, Duration)| {
                    was_on == switch && self.ready.contains(&(uplink, was))
                };
                let had_it = |other: &(SwitchId, Duration)| *other == (switch, delay);
                let enough = self.now >= since.map_or(0, |since| since + delay.as_nanos() as u64);
                let stays = could(&(on, delay));
                let changed = self.delays.get(port).is_some_and(could);
                let unheard = !self.delays.values().any(had_it) && self.delays.values().any(could);
                if *up && on == switch && (enough || stays || changed || unheard) {
                    ready.insert((uplink, delay));
                }
            }
        }
        self.ready = ready;
        self.delays = delays;
    }

    /// Decides anew for every team and port.
    pub(super) fn decide(&mut self, config: &Config) {
        let is_uplink = |port: &PortConfig, id| port.id == id && port.role == Role::Uplink;
        self.links
            .retain(|id, _| config.ports.iter().any(|port| is_uplink(port, *id)));
        self.wait(config);
        let mut sittings: Vec<Sitting> = Vec::new();
        for team in &config.teams {
            let before = self.before(team).cloned();
            let seats = self.sit(config, team, before.as_ref());
            let was_fresh = |at: usize| before.as_ref().is_none_or(|before| before.fresh[at]);
            let fresh = (0..seats.len()).map(|at| seats[at].is_none() && was_fresh(at));
            sittings.push(Sitting {
                team: team.clone(),
                fresh: fresh.collect(),
                seats,
            });
        }
        self.sittings = sittings;
        let mut choices = BTreeMap::new();
        for port in &config.ports {
            let Some(team) = port.team.and_then(|team| config.teams.get(team.0 as usize)) else {
                continue;
            };
            let sitting = self.sittings.iter().find(|sitting| sitting.team == *team);
            let seats = sitting
                .map(|sitting| sitting.seats.clone())
                .unwrap_or_default();
            let choice = choose(port, team, seats);
            let long = if team.notify { 5 } else { 300 };
            let until = self.now + long * 1_000_000_000;
            let past = match self.choices.get(&port.id) {
                Some((was, past)) if *was == choice || *was == Choice::Nowhere => past.clone(),
                Some((was, _)) => Some(Past {
                    choice: was.clone(),
                    until,
                }),
                None if team.notify => None,
                None => {
                    let members = team.active.iter().chain(&team.standby).copied();
                    Some(Past {
                        choice: Choice::ByAddresses(vec![], members.collect()),
                        until,
                    })
                }
            };
            choices.insert(port.id, (choice, past));
        }
        self.choices = choices;
    }

    /// The team as it was, or one that differed in other things than who is active and who stands by.
    fn before(&self, team: &TeamConfig) -> Option<&Sitting> {
        let same = self.sittings.iter().find(|sitting| sitting.team == *team);
        let is_one = |team: &TeamConfig| team.policy == TeamPolicy::Explicit;
        let mut alike: Vec<&Sitting> = self
            .sittings
            .iter()
            .filter(|sitting| {
                let other = &sitting.team;
                let order = (&other.active, &other.standby) == (&team.active, &team.standby);
                order && other.switch == team.switch && is_one(other) == is_one(team)
            })
            .collect();
        alike.sort_by_key(|sitting| {
            let other = &sitting.team;
            (other.failback, other.notify, other.up_delay, other.policy)
        });
        same.or_else(|| alike.first().copied())
    }

    fn sit(
        &self,
        config: &Config,
        team: &TeamConfig,
        before: Option<&Sitting>,
    ) -> Vec<Option<PortId>> {
        let order: Vec<PortId> = team.active.iter().chain(&team.standby).copied().collect();
        let usable = |id: &PortId| self.is_usable(config, team, *id);
        let stays = !team.failback && team.policy != TeamPolicy::IpHash;
        if let Some(before) = before
            && stays
            && before.seats.iter().any(Option::is_some)
        {
            let mut seats = before.seats.clone();
            // Nobody ever had the seat, so that nobody has to give it back.
            for place in 0..seats.len() {
                if let Some(own) = team.active.get(place)
                    && before.fresh[place]
                    && usable(own)
                    && !seats.contains(&Some(*own))
                {
                    seats[place] = Some(*own);
                }
            }
            // Those who can stay do; those who failed are replaced by whoever is free.
            let had: Vec<bool> = seats.iter().map(Option::is_some).collect();
            let mut seats: Vec<Option<PortId>> =
                seats.iter().map(|seat| seat.filter(usable)).collect();
            for place in 0..seats.len() {
                if had[place] && seats[place].is_none() {
                    let free = order
                        .iter()
                        .find(|id| usable(id) && !seats.contains(&Some(**id)));
                    seats[place] = free.copied();
                }
            }
            if seats.iter().any(Option::is_some) {
                return seats;
            }
        }
        if team.policy == TeamPolicy::Explicit {
            return match order.is_empty() {
                true => vec![],
                false => vec![order.iter().copied().find(usable)],
            };
        }
        let mut seats: Vec<Option<PortId>> = team
            .active
            .iter()
            .map(|id| Some(*id).filter(usable))
            .collect();
        if seats.is_empty() && !team.standby.is_empty() {
            seats.push(None);
        }
        for id in team.standby.iter().filter(|id| usable(id)) {
            if let Some(empty) = seats.iter_mut().find(|seat| seat.is_none()) {
                *empty = Some(*id);
            }
        }
        seats
    }

    /// The uplink of a frame that a port sends. Nothing where the port has no team.
    pub(super) fn uplink(
        &self,
        port: PortId,
        src: MacAddr,
        ip: Option<u32>,
    ) -> Option<Option<PortId>> {
        let (choice, _) = self.choices.get(&port)?;
        Some(lead(choice, src, ip))
    }

    /// Whether what is flooded by an uplink is for a port.
    pub(super) fn has(&self, port: PortId, uplink: PortId, own: MacAddr) -> bool {
        self.choices
            .get(&port)
            .is_some_and(|(choice, _)| comes_by(choice, uplink, own))
    }

    /// Whether unicast from an uplink is for a port.
    pub(super) fn takes(&self, port: PortId, uplink: PortId, own: MacAddr) -> bool {
        self.choices.get(&port).is_some_and(|(choice, past)| {
            let still = |past: &Past| self.now < past.until && comes_by(&past.choice, uplink, own);
            comes_by(choice, uplink, own) || past.as_ref().is_some_and(still)
        })
    }
}

fn choose(port: &PortConfig, team: &TeamConfig, seats: Vec<Option<PortId>>) -> Choice {
    let present: Vec<PortId> = seats.iter().flatten().copied().collect();
    match (team.policy, present.as_slice()) {
        (_, []) => Choice::Nowhere,
        (TeamPolicy::IpHash, _) => Choice::ByAddresses(seats, team.active.clone()),
        (_, [only]) => Choice::Always(*only),
        (TeamPolicy::SourceMac, _) => Choice::BySource(port.mac, seats),
        _ => pick(&seats, port.id.0.into()).map_or(Choice::Nowhere, Choice::Always),
    }
}

/// The seat of a number; where it is empty, one of the others.
fn pick(seats: &[Option<PortId>], number: u64) -> Option<PortId> {
    let count = seats.len() as u64;
    let present: Vec<PortId> = seats.iter().flatten().copied().collect();
    seats[(number % count) as usize].or_else(|| {
        present
            .get((number / count) as usize % present.len())
            .copied()
    })
}

fn lead(choice: &Choice, src: MacAddr, ip: Option<u32>) -> Option<PortId> {
    match choice {
        Choice::Nowhere => None,
        Choice::Always(uplink) => Some(*uplink),
        Choice::BySource(_, seats) => pick(seats, src.to_bits()),
        Choice::ByAddresses(seats, _) => pick(seats, ip.map_or_else(|| src.to_bits(), u64::from)),
    }
}

fn comes_by(choice: &Choice, uplink: PortId, own: MacAddr) -> bool {
    match choice {
        Choice::ByAddresses(_, members) => members.contains(&uplink),
        other => lead(other, own, None) == Some(uplink),
    }
}
