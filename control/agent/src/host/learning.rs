//! What ports have learned.

use weft_api::PortLearning;
use weft_model::{Decision, EffectivePolicy, PortKey, PortName};

use super::Host;
use crate::state::State;

impl Host {
    /// Forgets learned addresses that have been silent for too long.
    pub(crate) fn age_learned(&self) {
        self.plane.datapath().age_learned();
    }

    /// How many addresses a port has learned; `None` for one that learns none.
    pub(super) fn learning(&self, state: &State, port: &PortName) -> Option<PortLearning> {
        let policy = state.intent.effective_policy(port).ok()?;
        let engine = state.engines.get(&PortKey::Port(port.clone()));
        learns(&policy).then(|| PortLearning {
            addresses: engine.map_or(0, |engine| self.plane.datapath().learned_count(engine.id)),
            limit: policy.mac_learning.limit.value.count(),
        })
    }
}

/// Whether a port learns what it sends from: where forged transmits are rejected, there is nothing to learn.
pub(crate) fn learns(policy: &EffectivePolicy) -> bool {
    policy.mac_learning.enabled.value.0 && policy.forged_transmits.value == Decision::Accept
}
