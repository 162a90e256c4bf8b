//! What is learned behind ports, and what becomes of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use weft_packet::MacAddr;

use super::{ReferenceSwitch, carries};
use crate::config::{Admission, Beyond, LearningConfig, PortConfig, SwitchId};
use crate::{DropReason, LearnedAddress, PortId};

impl ReferenceSwitch {
    /// Learns a source that is none of the port's own, if nobody else has it.
    pub(super) fn learn(
        &mut self,
        port: &PortConfig,
        learning: &LearningConfig,
        src: MacAddr,
        vlan: u16,
    ) -> Result<(), DropReason> {
        let entry = (port.switch, vlan, src);
        let known = self.learned.get(&entry);
        if known.is_none_or(|(holder, _)| *holder != port.id) {
            if self.owner(port.switch, vlan, src).is_some()
                || self.lives_behind_another(port, vlan, src)
            {
                return Ok(());
            }
            let holders = self.learned.values();
            let count = holders.filter(|(holder, _)| *holder == port.id).count();
            if count >= usize::from(learning.limit) {
                return match learning.beyond {
                    Beyond::Allow => Ok(()),
                    Beyond::Drop => Err(DropReason::LearningLimit),
                };
            }
        }
        self.learned.insert(entry, (port.id, self.now));
        Ok(())
    }

    /// Another port has the address learned behind it, and sent from it in this second or the one before.
    pub(super) fn lives_behind_another(&self, own: &PortConfig, vlan: u16, mac: MacAddr) -> bool {
        let entry = self.learned.get(&(own.switch, vlan, mac));
        entry.is_some_and(|(port, seen)| *port != own.id && self.now - seen < 2)
    }

    /// Forgets what the configuration in force does not let stay behind its port.
    pub(super) fn forget_learned(&mut self) {
        let learned = std::mem::take(&mut self.learned);
        self.learned = learned
            .into_iter()
            .filter(|((switch, vlan, mac), (holder, _))| {
                let Some(port) = self.port(*holder) else {
                    return false;
                };
                port.switch == *switch
                    && port.effective_learning().is_some()
                    && port.admission == Admission::Open
                    && carries(&port.vlan, *vlan)
                    && self.configured_holder(*switch, *vlan, *mac).is_none()
                    && self.taken_holder(*switch, *vlan, *mac, false).is_none()
            })
            .collect();
        self.forget_beyond_limits();
    }

    /// Forgets what ports have learned beyond their limits, what they sent from longest ago first.
    fn forget_beyond_limits(&mut self) {
        let mut learned: Vec<_> = self.learned.iter().map(|(&a, &b)| (a, b)).collect();
        learned.sort_by_key(|&(address, (_, seen))| (Reverse(seen), address));
        let mut counts: BTreeMap<PortId, u16> = BTreeMap::new();
        for (address, (port, _)) in learned {
            let count = counts.entry(port).or_default();
            *count += 1;
            let learning = self.port(port).and_then(PortConfig::effective_learning);
            if learning.is_none_or(|learning| *count > learning.limit) {
                self.learned.remove(&address);
            }
        }
    }

    /// Forgets learned addresses that were silent for too long.
    pub fn age(&mut self) {
        let learned = std::mem::take(&mut self.learned);
        self.learned = learned
            .into_iter()
            .filter(|(_, (port, seen))| {
                let learning = self.port(*port).and_then(PortConfig::effective_learning);
                learning.is_some_and(|learning| self.now - seen <= learning.age.as_secs())
            })
            .collect();
    }

    /// What a switch learned, as [`Datapath::learned_addresses`](crate::Datapath::learned_addresses) says it.
    pub fn learned(&self, switch: SwitchId) -> Vec<LearnedAddress> {
        let learned = self.learned.iter();
        learned
            .filter(|((of, ..), _)| *of == switch)
            .map(|(&(_, vlan, mac), &(port, seen))| LearnedAddress {
                vlan,
                mac,
                port,
                age: Duration::from_secs(self.now - seen),
            })
            .collect()
    }
}
