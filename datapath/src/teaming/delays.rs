//! How long ports wait for a link that came up, and what that was before a change of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{Config, PortId, SwitchId};

/// The delay of each port that has a team.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays(BTreeMap<PortId, (SwitchId, Duration)>);

impl Delays {
    pub(super) fn of(config: &Config) -> Self {
        let delays = config.ports.iter().filter_map(|port| {
            let team = config.teams.get(usize::from(port.team?.0))?;
            Some((port.id, (team.switch, team.up_delay)))
        });
        Self(delays.collect())
    }

    /// Those in force on a switch.
    pub(super) fn on(&self, switch: SwitchId) -> BTreeSet<Duration> {
        let delays = self.0.values().filter(|(on, _)| *on == switch);
        delays.map(|(_, delay)| *delay).collect()
    }

    /// Which delays took the place of which: for ports that have another one, and wherever nobody had it before. A link that
    /// was used under the one before is not waited for again, since that would take a host off a network that works.
    pub(super) fn since(&self, before: &Self, switch: SwitchId) -> BTreeSet<(Duration, Duration)> {
        let old = before.on(switch);
        let own = self.0.iter().filter_map(|(port, (on, delay))| {
            let (was_on, was) = before.0.get(port)?;
            (on == was_on && *on == switch && delay != was).then_some((*was, *delay))
        });
        let current = self.on(switch);
        let unheard = current.difference(&old);
        let unheard = unheard.flat_map(|delay| old.iter().map(|was| (*was, *delay)));
        own.chain(unheard).collect()
    }
}
