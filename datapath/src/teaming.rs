//! Which uplink each port leaves its switch by, as links fail and return.
//!
//! Everything is decided on the control side, with a time that is handed in; the packet path finds a port's [`Way`] in the
//! snapshot. A team has as many *seats* as active uplinks (one with an explicit order). An active uplink has its own seat;
//! while it is not usable, a standby uplink sits there, or the seat is empty. A port has a seat by its number or address; where
//! that is empty it shares the others, so that only ports of a failed uplink move.

mod balance;
mod delays;
mod link;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use weft_packet::MacAddr;

use crate::config::{Admission, Config, PortConfig, PortId, Role, TeamConfig, TeamPolicy};
pub(crate) use balance::{Balance, Load};
use delays::Delays;
use link::Link;
pub use link::LinkState;

/// How long a port that moved also accepts unicast from the uplink that it used before, where the switches beyond are told of
/// the move: they are told several times within this time.
const GRACE: Duration = Duration::from_secs(5);

/// The same where they are not told: as long as a bridge remembers an address (IEEE 802.1Q-2018 §8.8.3, 300 s).
const SILENT_GRACE: Duration = Duration::from_secs(300);

/// How a port leaves its switch, and by which uplinks frames for it come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) exit: Exit,
    /// Uplinks from which unicast is accepted besides, for some time after a move.
    pub(crate) grace: Option<Arc<Grace>>,
    /// The switches beyond are told which addresses the port has.
    pub(crate) notify: bool,
}

/// How a port leaves its switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Not at all: the switch has no uplinks.
    Isolated,
    /// There are uplinks, and the port may use none of them, or none is usable.
    Lost,
    /// By this uplink.
    By(PortId),
    /// By an uplink for each source address.
    BySource {
        /// The port's own address, where it is configured, with its uplink.
        own: Option<(MacAddr, PortId)>,
        /// For every other address.
        seats: Arc<Seats>,
    },
    /// By an uplink for each pair of IP addresses.
    ByAddresses(Arc<Seats>),
}

/// The way by which unicast for a port may still come in, until some time (monotonic, ns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grace {
    before: Exit,
    until: u64,
}

impl Exit {
    /// The uplink by which a frame leaves. `ip` is asked for a number made of both IP addresses, if the frame has any.
    #[inline]
    fn uplink(
        &self,
        src: impl FnOnce() -> MacAddr,
        ip: impl FnOnce() -> Option<u32>,
    ) -> Option<PortId> {
        match self {
            Self::By(uplink) => Some(*uplink),
            Self::Isolated | Self::Lost => None,
            Self::BySource { own, seats } => match (src(), own) {
                (src, Some((address, uplink))) if src == *address => Some(*uplink),
                (src, _) => seats.of_address(src),
            },
            Self::ByAddresses(seats) if seats.taken.len() == 1 => seats.taken.first().copied(),
            Self::ByAddresses(seats) => match ip() {
                Some(addresses) => seats.of(u64::from(addresses)),
                None => seats.of_address(src()),
            },
        }
    }

    /// Whether frames for `own`, one of the port's addresses, come in by this uplink.
    #[inline]
    fn leads_by(&self, uplink: PortId, own: MacAddr) -> bool {
        match self {
            // To the switch beyond, all of them are one: it sends by any whose link it sees up, whatever is waited for here.
            Self::ByAddresses(seats) => seats.members.contains(&uplink),
            _ => self.uplink(|| own, || None) == Some(uplink),
        }
    }

    /// The uplinks that the port itself uses: one, unless that depends on its frames.
    pub(crate) fn uplinks(&self) -> Vec<PortId> {
        match self {
            Self::Isolated | Self::Lost => Vec::new(),
            Self::By(uplink)
            | Self::BySource {
                own: Some((_, uplink)),
                ..
            } => vec![*uplink],
            Self::BySource { own: None, seats } | Self::ByAddresses(seats) => seats.taken.to_vec(),
        }
    }
}

impl Way {
    /// That of a port which has no team.
    pub(crate) const ISOLATED: Self = Self {
        exit: Exit::Isolated,
        grace: None,
        notify: false,
    };

    /// The uplink by which a frame leaves. `ip` is asked for a number made of both IP addresses, if the frame has any.
    #[inline]
    pub(crate) fn uplink(
        &self,
        src: impl FnOnce() -> MacAddr,
        ip: impl FnOnce() -> Option<u32>,
    ) -> Option<PortId> {
        self.exit.uplink(src, ip)
    }

    /// Whether the port has this uplink, by `own`, one of its addresses: what is flooded comes in there.
    #[inline]
    pub(crate) fn leads_by(&self, uplink: PortId, own: MacAddr) -> bool {
        self.exit.leads_by(uplink, own)
    }

    /// Whether unicast from this uplink to `own`, one of the port's addresses, is for the port. `now`: monotonic time, ns.
    #[inline]
    pub(crate) fn accepts(&self, uplink: PortId, own: MacAddr, now: u64) -> bool {
        self.leads_by(uplink, own) || self.is_in_grace(uplink, own, now)
    }

    #[cold]
    fn is_in_grace(&self, uplink: PortId, own: MacAddr, now: u64) -> bool {
        let grace = self.grace.as_ref();
        grace.is_some_and(|grace| now < grace.until && grace.before.leads_by(uplink, own))
    }
}

/// The seats of a team, and who sits there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    all: Box<[Option<PortId>]>,
    taken: Box<[PortId]>,
    /// The active uplinks, whether they sit or not.
    members: Box<[PortId]>,
    /// For each seat, whether somebody has ever sat there.
    used: Box<[bool]>,
}

impl Seats {
    fn new(all: Vec<Option<PortId>>, members: &[PortId], before: Option<&Self>) -> Self {
        let was_used = |place: usize| before.is_some_and(|before| before.used[place]);
        let used = all.iter().enumerate();
        Self {
            taken: all.iter().flatten().copied().collect(),
            members: members.into(),
            used: used
                .map(|(place, seat)| seat.is_some() || was_used(place))
                .collect(),
            all: all.into(),
        }
    }

    /// The uplink for a number, evenly for numbers that follow each other.
    #[inline]
    fn of(&self, number: u64) -> Option<PortId> {
        let seats = self.all.len() as u64;
        let own = self.all.get((number % seats.max(1)) as usize)?;
        own.or_else(|| {
            let place = (number / seats) % (self.taken.len() as u64).max(1);
            self.taken.get(place as usize).copied()
        })
    }

    #[inline]
    fn of_address(&self, address: MacAddr) -> Option<PortId> {
        self.of(address.to_bits())
    }
}

/// A port whose way is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The port.
    pub port: PortId,
    /// The uplinks by which it left; none where it could not, or is new.
    pub from: Vec<PortId>,
    /// The uplinks by which it leaves; none where none is usable.
    pub to: Vec<PortId>,
}

/// The ways of all ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    pub(crate) ways: HashMap<PortId, Way>,
    /// Ports whose way is another one than in the decision before, by number.
    pub(crate) moves: Vec<Move>,
    /// When something may have to be decided anew though nothing happens (monotonic, ns).
    pub(crate) again: Option<u64>,
}

/// What teams remember from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Teams {
    /// What is known of the links of uplinks. Of others it is assumed that they are up.
    links: BTreeMap<PortId, Link>,
    /// Who sits where, by team.
    seats: HashMap<TeamConfig, Arc<Seats>>,
    /// Ports that load balancing moved away from the uplink of their number.
    moved: BTreeMap<PortId, PortId>,
    ways: HashMap<PortId, Way>,
    delays: Delays,
    balance: Balance,
}

impl Teams {
    /// Notes that the link of an uplink is up or down. Returns whether that is news.
    pub(crate) fn note_link(&mut self, uplink: PortId, up: bool, now: u64) -> bool {
        match self.links.get_mut(&uplink) {
            Some(link) => link.note(up, now),
            None => {
                // One that is up when it is first seen has not just come up.
                self.links.insert(uplink, Link::first(up));
                true
            }
        }
    }

    /// How an uplink's link is, for a team that waits for `up_delay`.
    pub(crate) fn link(&self, uplink: PortId, up_delay: Duration, now: u64) -> LinkState {
        self.links
            .get(&uplink)
            .map_or(LinkState::Usable, |link| link.state(up_delay, now))
    }

    /// Follows a configuration: what is decided from now on is decided by it.
    pub(crate) fn configure(&mut self, config: &Config, now: u64) {
        let delays = Delays::of(config);
        for (id, uplink) in uplinks(config) {
            if let Some(link) = self.links.get_mut(&id) {
                let changes = delays.since(&self.delays, uplink.switch);
                link.note_delays(delays.on(uplink.switch), &changes, now);
            }
        }
        self.delays = delays;
    }

    /// Decides the way of every port by the configuration that was last followed. `attached` tells whether a port has an engine.
    pub(crate) fn decide(
        &mut self,
        config: &Config,
        attached: impl Fn(PortId) -> bool,
        now: u64,
    ) -> Decision {
        let uplinks: HashMap<PortId, &PortConfig> = uplinks(config).collect();
        self.links.retain(|uplink, _| uplinks.contains_key(uplink));
        for (uplink, link) in &mut self.links {
            let delays = self.delays.on(uplinks[uplink].switch);
            link.note_delays(delays, &BTreeSet::new(), now);
        }
        let is_open = |uplink: PortId| {
            let port = uplinks.get(&uplink);
            port.is_some_and(|port| port.admission == Admission::Open) && attached(uplink)
        };
        let mut again: Option<u64> = None;
        let mut wait_until = |time: u64| {
            again = Some(again.map_or(time, |earlier| earlier.min(time)));
        };
        let mut seats = HashMap::new();
        let mut by_number = Vec::with_capacity(config.teams.len());
        for team in &config.teams {
            let usable = |uplink: PortId| {
                let state = self.link(uplink, team.up_delay, now);
                if let LinkState::Waiting { until } | LinkState::Unstable { until } = state {
                    wait_until(until);
                }
                state == LinkState::Usable && is_open(uplink)
            };
            let before = self.seats_before(team);
            let taken = seat(team, before, usable);
            let taken = Arc::new(Seats::new(taken, &team.active, before));
            by_number.push((team, Arc::clone(&taken)));
            seats.insert(team.clone(), taken);
        }
        self.seats = seats;
        let mut decision = Decision::default();
        for port in &config.ports {
            let team = port
                .team
                .and_then(|team| by_number.get(usize::from(team.0)));
            let Some((team, seats)) = team else {
                continue;
            };
            let before = self.ways.get(&port.id);
            let exit = exit(port, team, seats, &mut self.moved);
            let way = follow(before, exit, team, now);
            // Of one that sends from several addresses, some may go by another uplink though its own does not.
            if before.is_none_or(|before| before.exit != way.exit) {
                let from = before.map(|before| before.exit.uplinks());
                decision.moves.push(Move {
                    port: port.id,
                    from: from.unwrap_or_default(),
                    to: way.exit.uplinks(),
                });
            }
            decision.ways.insert(port.id, way);
        }
        let ways = &decision.ways;
        self.moved.retain(|port, _| ways.contains_key(port));
        self.ways.clone_from(&decision.ways);
        decision.again = again;
        decision
    }

    /// Who sat where in a team. What else of its settings changed does not move anybody.
    fn seats_before(&self, team: &TeamConfig) -> Option<&Seats> {
        let seats = self.seats.get(team).or_else(|| {
            let alike = self.seats.iter().filter(|(old, _)| {
                old.switch == team.switch
                    && (&old.active, &old.standby) == (&team.active, &team.standby)
                    && (old.policy == TeamPolicy::Explicit) == (team.policy == TeamPolicy::Explicit)
            });
            // Of several, one that remembers more than its settings say; and always the same one.
            let alike =
                alike.min_by_key(|(old, _)| (old.failback, old.notify, old.up_delay, old.policy));
            alike.map(|(_, seats)| seats)
        });
        seats.map(Arc::as_ref)
    }

    /// Who sits where in a team.
    pub(crate) fn seats(&self, team: &TeamConfig) -> &[Option<PortId>] {
        self.seats.get(team).map_or(&[], |seats| &seats.all)
    }

    /// The way of a port by the latest decision.
    #[cfg(test)]
    pub(crate) fn way(&self, port: PortId) -> Option<&Way> {
        self.ways.get(&port)
    }

    /// Moves a busy port of each overloaded uplink to one that has room, in teams whose time it is. Returns whether any
    /// port is to move, which the next decision does.
    pub(crate) fn balance(&mut self, config: &Config, load: &Load<'_>, now: u64) -> bool {
        let moved = self
            .balance
            .moves(config, &self.ways, &self.seats, load, now);
        let any = !moved.is_empty();
        self.moved.extend(moved);
        any
    }
}

/// The uplinks of a configuration.
fn uplinks(config: &Config) -> impl Iterator<Item = (PortId, &PortConfig)> {
    let uplinks = config.ports.iter().filter(|port| port.role == Role::Uplink);
    uplinks.map(|port| (port.id, port))
}

/// Who sits where, given who sat there before, if the team is not new.
fn seat(
    team: &TeamConfig,
    before: Option<&Seats>,
    mut usable: impl FnMut(PortId) -> bool,
) -> Vec<Option<PortId>> {
    let order: Vec<PortId> = team.active.iter().chain(&team.standby).copied().collect();
    let usable: Vec<PortId> = order.iter().copied().filter(|&id| usable(id)).collect();
    let width = match team.policy {
        TeamPolicy::Explicit => order.len().min(1),
        _ if order.is_empty() => 0,
        _ => team.active.len().max(1),
    };
    // The switch beyond knows no failback among the members of its channel.
    let returns = team.failback || team.policy == TeamPolicy::IpHash;
    let before = before.filter(|seats| !returns && !seats.taken.is_empty());
    let Some(before) = before else {
        return seat_anew(team, &usable, width);
    };
    let mut seats: Vec<_> = before.all.to_vec();
    // An uplink that comes late at the start does not return: its place is its own.
    for (place, own) in team.active.iter().enumerate().take(width) {
        if !before.used[place] && usable.contains(own) && !seats.contains(&Some(*own)) {
            seats[place] = Some(*own);
        }
    }
    let mut vacated = Vec::new();
    for (place, seat) in seats.iter_mut().enumerate() {
        if seat.is_some_and(|uplink| !usable.contains(&uplink)) {
            *seat = None;
            vacated.push(place);
        }
    }
    // An uplink that recovered waited for this: that another one fails.
    for place in vacated {
        let free = usable
            .iter()
            .find(|&&uplink| !seats.contains(&Some(uplink)));
        seats[place] = free.copied();
    }
    if seats.iter().all(Option::is_none) {
        return seat_anew(team, &usable, width);
    }
    seats
}

/// Every uplink to its own seat, and standby uplinks to those that are left.
fn seat_anew(team: &TeamConfig, usable: &[PortId], width: usize) -> Vec<Option<PortId>> {
    if team.policy == TeamPolicy::Explicit {
        return (0..width).map(|_| usable.first().copied()).collect();
    }
    let own = |place| {
        team.active
            .get(place)
            .filter(|&uplink| usable.contains(uplink))
    };
    let mut stand_ins = team.standby.iter().filter(|uplink| usable.contains(uplink));
    (0..width)
        .map(|place| own(place).or_else(|| stand_ins.next()).copied())
        .collect()
}

fn exit(
    port: &PortConfig,
    team: &TeamConfig,
    seats: &Arc<Seats>,
    moved: &mut BTreeMap<PortId, PortId>,
) -> Exit {
    if !matches!(team.policy, TeamPolicy::Load { .. }) {
        // Where balancing begins anew, it does so by numbers.
        moved.remove(&port.id);
    }
    if seats.taken.is_empty() {
        return Exit::Lost;
    }
    let by_number = || seats.of(port.id.0.into()).map_or(Exit::Lost, Exit::By);
    match team.policy {
        TeamPolicy::Load { .. } => match moved.get(&port.id) {
            Some(uplink) if seats.taken.contains(uplink) => Exit::By(*uplink),
            _ => {
                moved.remove(&port.id);
                by_number()
            }
        },
        TeamPolicy::IpHash => Exit::ByAddresses(Arc::clone(seats)),
        _ if seats.taken.len() == 1 => Exit::By(seats.taken[0]),
        TeamPolicy::Explicit | TeamPolicy::SourceId => by_number(),
        TeamPolicy::SourceMac => Exit::BySource {
            own: port.mac.and_then(|own| Some((own, seats.of_address(own)?))),
            seats: Arc::clone(seats),
        },
    }
}

/// The way of a port by a new exit: unicast for it still comes in by the old one for a while.
fn follow(before: Option<&Way>, exit: Exit, team: &TeamConfig, now: u64) -> Way {
    let long = if team.notify { GRACE } else { SILENT_GRACE };
    let grace = |before: Exit| {
        let until = now + long.as_nanos() as u64;
        Some(Arc::new(Grace { before, until }))
    };
    let grace = match before {
        Some(way) if way.exit == exit || way.exit.uplinks().is_empty() => {
            // One that could not leave still has what it had before that.
            way.grace.clone().filter(|grace| now < grace.until)
        }
        Some(way) => grace(way.exit.clone()),
        // Where the switches beyond think that a new port is, nobody knows, and nobody tells them.
        None if !team.notify => {
            let all: Vec<_> = team.active.iter().chain(&team.standby).copied().collect();
            let seats = Seats::new(all.iter().copied().map(Some).collect(), &all, None);
            grace(Exit::ByAddresses(Arc::new(seats)))
        }
        None => None,
    };
    Way {
        exit,
        grace,
        notify: team.notify,
    }
}
