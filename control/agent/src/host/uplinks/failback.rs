//! Uplinks that are usable again and wait, since failback is off.

use weft_api::UplinkState;
use weft_model::{EffectiveTeaming, InterfaceName, PortKey, PortName, TeamingPolicy};

use crate::host::Host;
use crate::state::State;

/// Who waits in a team, and who is used instead.
#[derive(Debug, Default)]
pub(crate) struct Failback {
    /// Uplinks that failed and are usable again.
    pub(crate) waiting: Vec<InterfaceName>,
    /// Those in use, one of which has to fail before one of those is used.
    pub(crate) in_use: Vec<InterfaceName>,
    /// The uplink that the port would have by its number.
    by_number: Option<InterfaceName>,
}

impl Failback {
    /// Whether a port leaves by an uplink only because another one waits.
    pub(crate) fn decides(&self, team: &EffectiveTeaming, uplink: &InterfaceName) -> bool {
        let is_stand_in = !team.active.value.named().contains(uplink);
        let took_over = is_stand_in || team.policy.value == TeamingPolicy::Explicit;
        let is_elsewhere = self.by_number.as_ref() != Some(uplink)
            && self
                .waiting
                .iter()
                .any(|waits| self.by_number.as_ref() == Some(waits));
        !self.waiting.is_empty() && (took_over || is_elsewhere)
    }
}

/// Names with `or` between them.
pub(crate) fn any_of(uplinks: &[InterfaceName]) -> String {
    let names: Vec<_> = uplinks.iter().map(InterfaceName::as_str).collect();
    names.join(" or ")
}

impl Host {
    /// Who waits in the team of a port.
    pub(crate) fn failback(
        &self,
        state: &State,
        team: &EffectiveTeaming,
        port: &PortName,
    ) -> Failback {
        let policy = team.policy.value;
        let port = state.id(&PortKey::Port(port.clone()));
        let (Some(port), false) = (
            port,
            team.failback.value.0 || policy == TeamingPolicy::IpHash,
        ) else {
            return Failback::default();
        };
        let seats = self.plane.datapath().seats(port);
        let name = |uplink| match state.key(uplink)? {
            PortKey::Uplink(interface) => Some(interface.clone()),
            PortKey::Port(_) => None,
        };
        let in_use: Vec<_> = seats.iter().copied().flatten().filter_map(name).collect();
        if in_use.is_empty() {
            return Failback::default();
        }
        let active = team.active.value.named();
        // With an explicit order, those after the one in use have nothing to wait for.
        let before = match policy {
            TeamingPolicy::Explicit => {
                let place = active.iter().position(|uplink| in_use.contains(uplink));
                &active[..place.unwrap_or(active.len())]
            }
            _ => active,
        };
        let delay = team.up_delay.value.duration();
        let waits = |uplink: &&InterfaceName| {
            let standing = self.uplink_standing(state, uplink, delay);
            !in_use.contains(uplink) && standing.state == UplinkState::Up
        };
        let by_number = matches!(policy, TeamingPolicy::SrcId | TeamingPolicy::Lbt)
            .then(|| usize::from(port.0).checked_rem(seats.len()))
            .flatten();
        Failback {
            waiting: before.iter().filter(waits).cloned().collect(),
            by_number: by_number.and_then(|place| active.get(place)).cloned(),
            in_use,
        }
    }
}
