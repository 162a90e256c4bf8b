//! The teams of a configuration, each once.

use std::collections::HashMap;

use weft_datapath::{PortId, SwitchId, TeamConfig, TeamId, TeamPolicy};

use super::{PortKey, Realisation};
use crate::name::InterfaceName;
use crate::spec::{EffectiveTeaming, TeamingPolicy};

/// Teams by value: ports with equal ones share what a team remembers.
#[derive(Default)]
pub(super) struct Teams {
    all: Vec<TeamConfig>,
    known: HashMap<TeamConfig, TeamId>,
}

impl Teams {
    /// The team by which ports of a switch reach the world. An uplink without a number is left out.
    pub(super) fn of(
        &mut self,
        switch: SwitchId,
        policy: &EffectiveTeaming,
        realisation: &Realisation,
    ) -> TeamId {
        let numbers = |uplinks: &[InterfaceName]| -> Vec<PortId> {
            let numbers = uplinks.iter().filter_map(|uplink| {
                let key = PortKey::Uplink(uplink.clone());
                Some(realisation.ports.get(&key)?.id)
            });
            numbers.collect()
        };
        let team = TeamConfig {
            switch,
            policy: match policy.policy.value {
                TeamingPolicy::SrcId => TeamPolicy::SourceId,
                TeamingPolicy::SrcMac => TeamPolicy::SourceMac,
                TeamingPolicy::IpHash => TeamPolicy::IpHash,
                TeamingPolicy::Explicit => TeamPolicy::Explicit,
                TeamingPolicy::Lbt => TeamPolicy::Load {
                    period: policy.lbt_period.value.duration(),
                    threshold: u8::try_from(policy.lbt_threshold.value.number())
                        .expect("a share is at most 100 percent"),
                },
            },
            active: numbers(policy.active.value.named()),
            standby: numbers(&policy.standby.value.0),
            failback: policy.failback.value.0,
            notify: policy.notify.value.0,
            up_delay: policy.up_delay.value.duration(),
        };
        let all = &mut self.all;
        *self.known.entry(team).or_insert_with_key(|team| {
            let id = u16::try_from(all.len()).expect("there are no more teams than ports");
            all.push(team.clone());
            TeamId(id)
        })
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(self) -> Vec<TeamConfig> {
        self.all
    }
}
