//! How long ports wait for a link that came up, and what that was before a change of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{Config, PortId, SwitchId};

/// The delays of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    /// Of each port that has a team, with its switch.
    ports: BTreeMap<PortId, (SwitchId, Duration)>,
    /// All that are in force on a switch.
    switches: BTreeMap<SwitchId, BTreeSet<Duration>>,
}

/// Those of a switch without any.
const NONE: &BTreeSet<Duration> = &BTreeSet::new();

impl Delays {
    pub(super) fn of(config: &Config) -> Self {
        let mut delays = Self::default();
        for port in &config.ports {
            let team = port
                .team
                .and_then(|team| config.teams.get(usize::from(team.0)));
            if let Some(team) = team {
                let (switch, delay) = (team.switch, team.up_delay);
                delays.ports.insert(port.id, (switch, delay));
                delays.switches.entry(switch).or_default().insert(delay);
            }
        }
        delays
    }

    /// Those in force on a switch.
    pub(super) fn on(&self, switch: SwitchId) -> &BTreeSet<Duration> {
        self.switches.get(&switch).unwrap_or(NONE)
    }

    /// Which delays took the place of which: for ports that have another one, and wherever nobody had it before. A link that
    /// was used under the one before is not waited for again, since that would take a host off a network that works.
    pub(super) fn since(&self, before: &Self, switch: SwitchId) -> BTreeSet<(Duration, Duration)> {
        let (old, current) = (before.on(switch), self.on(switch));
        let own = self.ports.iter().filter_map(|(port, (on, delay))| {
            let (was_on, was) = before.ports.get(port)?;
            (on == was_on && *on == switch && delay != was).then_some((*was, *delay))
        });
        let unheard = current.difference(old);
        let unheard = unheard.flat_map(|delay| old.iter().map(|was| (*was, *delay)));
        own.chain(unheard).collect()
    }
}
