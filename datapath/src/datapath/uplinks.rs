//! Links of uplinks, and the ways that ports take by them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::{Datapath, Stalled};
use crate::clock;
use crate::config::{PortId, TeamPolicy};
use crate::counters::PortCounters;
use crate::teaming::{Exit, LinkState, Load, Move};

impl Datapath {
    /// Tells that links of uplinks are up or down; returns when every poll thread forwards accordingly.
    ///
    /// This is the short way: no address, no engine and no other setting is looked at. Whether an uplink is open by
    /// configuration counts all the same. The first word about an uplink tells how it always was; of several about one, each
    /// counts, in their order.
    ///
    /// # Errors
    /// A poll thread does not answer; it goes the new ways as soon as it goes on.
    pub fn set_links(&self, links: &[(PortId, bool)]) -> Result<(), Stalled> {
        self.set_links_at(links, clock::precise_nanoseconds())
    }

    /// The same at a time (monotonic, ns) that a test makes up.
    ///
    /// # Errors
    /// As [`set_links`](Self::set_links).
    pub fn set_links_at(&self, links: &[(PortId, bool)], now: u64) -> Result<(), Stalled> {
        let mut control = self.control.lock();
        let mut is_news = false;
        for &(uplink, up) in links {
            is_news |= control.teams.note_link(uplink, up, now);
        }
        if is_news {
            self.publish_ways(&mut control, now)
        } else {
            Ok(())
        }
    }

    /// Decides anew what time alone changes: a link that has been up for long enough. Returns how long it is until the next
    /// such moment, if there is one.
    ///
    /// # Errors
    /// As [`set_links`](Self::set_links).
    pub fn renew_ways(&self) -> Result<Option<Duration>, Stalled> {
        self.renew_ways_at(clock::precise_nanoseconds())
    }

    /// The same at a time (monotonic, ns) that a test makes up.
    ///
    /// # Errors
    /// As [`set_links`](Self::set_links).
    pub fn renew_ways_at(&self, now: u64) -> Result<Option<Duration>, Stalled> {
        let mut control = self.control.lock();
        if control.again.is_some_and(|again| again <= now) {
            self.publish_ways(&mut control, now)?;
        }
        let wait = control.again.map(|again| again.saturating_sub(now));
        Ok(wait.map(Duration::from_nanos))
    }

    /// Lets teams that balance loads compare them. `speeds`: bits per second that uplinks carry one way.
    ///
    /// # Errors
    /// As [`set_links`](Self::set_links).
    pub fn balance(&self, speeds: &HashMap<PortId, u64>) -> Result<(), Stalled> {
        self.balance_at(speeds, clock::precise_nanoseconds())
    }

    /// The same at a time (monotonic, ns) that a test makes up.
    ///
    /// # Errors
    /// As [`set_links`](Self::set_links).
    pub fn balance_at(&self, speeds: &HashMap<PortId, u64>, now: u64) -> Result<(), Stalled> {
        let mut control = self.control.lock();
        let Control {
            teams,
            config,
            counters,
            ..
        } = &mut *control;
        let octets = |port| {
            let counters = counters.get(&port);
            let PortCounters {
                rx_bytes, tx_bytes, ..
            } = counters.map_or_else(PortCounters::default, |counters| counters.sum());
            rx_bytes.max(tx_bytes)
        };
        let load = Load {
            octets: &octets,
            speed: &|uplink| speeds.get(&uplink).copied(),
        };
        if teams.balance(config, &load, now) {
            self.publish_ways(&mut control, now)
        } else {
            Ok(())
        }
    }

    /// Whether some team balances loads.
    pub fn has_balancing_teams(&self) -> bool {
        let control = self.control.lock();
        let mut teams = control.config.teams.iter();
        teams.any(|team| matches!(team.policy, TeamPolicy::Load { .. }))
    }

    /// The ports that left by another way since this was last asked, with the way before the first of these moves.
    pub fn take_moves(&self) -> Vec<Move> {
        let moves = std::mem::take(&mut self.control.lock().moves);
        moves.into_values().collect()
    }

    /// By which uplinks each port that has a team leaves: one, unless that depends on its frames; none where none is usable.
    pub fn ways(&self) -> HashMap<PortId, Vec<PortId>> {
        let snapshot = self.snapshot.load();
        let entries = snapshot.entries();
        let entries = entries.filter(|entry| entry.way.exit != Exit::Isolated);
        entries
            .map(|entry| (entry.port.id, entry.way.exit.uplinks()))
            .collect()
    }

    /// The seats of a port's team: one for each of its active uplinks (one with an explicit order), each with the uplink that is
    /// used in its place, if any. Nothing of a port that has no team.
    pub fn seats(&self, port: PortId) -> Vec<Option<PortId>> {
        let control = self.control.lock();
        let mut ports = control.config.ports.iter();
        let team = ports.find(|one| one.id == port).and_then(|port| port.team);
        let team = team.and_then(|team| control.config.teams.get(usize::from(team.0)));
        team.map_or_else(Vec::new, |team| control.teams.seats(team).to_vec())
    }

    /// How the link of an uplink is to a team that waits for `up_delay`, and how long that lasts by itself.
    pub fn link_state(&self, uplink: PortId, up_delay: Duration) -> (LinkState, Option<Duration>) {
        let now = clock::precise_nanoseconds();
        let state = self.control.lock().teams.link(uplink, up_delay, now);
        let remaining = match state {
            LinkState::Waiting { until } | LinkState::Unstable { until } => {
                Some(Duration::from_nanos(until.saturating_sub(now)))
            }
            LinkState::Usable | LinkState::Down => None,
        };
        (state, remaining)
    }

    /// Has ports go the ways that are decided now.
    fn publish_ways(&self, control: &mut Control, now: u64) -> Result<(), Stalled> {
        let decision = control.decide(now);
        let snapshot = self.snapshot.load();
        let next = Arc::new(snapshot.with_ways(&decision.ways));
        let old = self.snapshot.swap(next);
        let synchronised = self.synchronise();
        // Freed here, never on a poll thread.
        drop(old);
        synchronised
    }
}
