//! Learning of addresses behind ports: what one generation of the configuration says about it, over a table that outlives it.
//!
//! A switch has it only where a port learns. Poll threads write the table while frames flow; the control side lets entries
//! age, and takes those away that a configuration does not allow any more.

mod table;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weft_mirror::PromiscuousSet;
use weft_packet::MacAddr;
use weft_vlan::Policy;

use crate::PortId;
use crate::config::{Admission, PortConfig, SwitchId};
use crate::mac_table::{ANY_VLAN, mac_of, vlan_of};

pub(crate) use table::{Holder, LearningTable};

/// A port that has not sent from an address for as many seconds, by the clock's full seconds, gives it up to another port
/// that does: more than one second, and no more than two.
const MOVES_AFTER: u32 = 2;

/// The same for one that sends from beyond an uplink: frames of a guest that come back reflected are younger.
const LEAVES_AFTER: u32 = 5;

/// Stands for "no VLAN" where a port does not learn.
const NONE: u16 = u16::MAX;

/// An address that a switch learned behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LearnedAddress {
    /// The VLAN on which it was seen, 0 for none.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
    /// The port that it is behind.
    pub port: PortId,
    /// Time since the port last sent from it, in full seconds.
    pub age: Duration,
}

/// What a port is that addresses may be found behind.
#[derive(Clone, Copy)]
struct Learner {
    /// The VLAN that it carries, [`ANY_VLAN`] for one that trunks, [`NONE`] where nothing is found behind it.
    vlan: u16,
    floods: bool,
    /// Addresses that it may have learned at a time.
    limit: u32,
    /// Full seconds that an address stays.
    age: u32,
}

/// Learning on one switch.
pub(crate) struct Learning {
    pub(crate) switch: SwitchId,
    pub(crate) table: Arc<LearningTable>,
    /// By port number.
    learners: Box<[Learner]>,
    /// Ports that get unicast frames to addresses that nobody has.
    pub(crate) flooded: PromiscuousSet<PortId>,
}

impl Learning {
    /// Learning by these ports of a switch; `None` where none of them learns.
    pub(crate) fn build(
        switch: SwitchId,
        members: &[&PortConfig],
        table: impl FnOnce() -> Arc<LearningTable>,
    ) -> Option<Self> {
        let learning = || {
            members
                .iter()
                .filter_map(|port| Some((port, port.effective_learning()?)))
        };
        let slots = learning().map(|(port, _)| port.id.index() + 1).max()?;
        let nobody = Learner {
            vlan: NONE,
            floods: false,
            limit: 0,
            age: 0,
        };
        let mut learners = vec![nobody; slots];
        let open = || learning().filter(|(port, _)| port.admission == Admission::Open);
        for (port, config) in open() {
            learners[port.id.index()] = Learner {
                vlan: match &port.vlan {
                    Policy::External => 0,
                    Policy::Access(vlan) => vlan.id(),
                    Policy::Trunk(_) => ANY_VLAN,
                },
                floods: config.flood,
                limit: config.limit.into(),
                age: u32::try_from(config.age.as_secs()).unwrap_or(u32::MAX),
            };
        }
        Some(Self {
            switch,
            table: table(),
            learners: learners.into(),
            flooded: PromiscuousSet::new(
                open()
                    .filter(|(_, config)| config.flood)
                    .map(|(port, _)| (port.id, port.vlan.clone())),
            ),
        })
    }

    /// The port behind which the address of `key` was learned. One that trunks may not carry the VLAN any more.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<PortId> {
        let port = self.table.find(key)?.port;
        self.admits(port, key).then_some(port)
    }

    /// Whether the port gets unicast frames to addresses that nobody has.
    #[inline]
    pub(crate) fn floods(&self, port: PortId) -> bool {
        self.learners
            .get(port.index())
            .is_some_and(|learner| learner.floods)
    }

    /// Whether another port than `port` has the address, and has sent from it of late.
    pub(crate) fn is_held_by_another(&self, key: u64, port: PortId, second: u32) -> bool {
        self.table.find(key).is_some_and(|holder| {
            holder.port != port
                && self.admits(holder.port, key)
                && holder.silent(second) < MOVES_AFTER
        })
    }

    /// Whether `port` has learned as many addresses as it may, or the table has no room for that of `key`.
    pub(crate) fn is_beyond(&self, key: u64, port: PortId) -> bool {
        self.table.count(port) >= self.limit(port) || !self.table.has_room(key)
    }

    /// Learns the address of `key` behind `port`, unless something else is true of it by now than when that was decided, or
    /// another thread is writing: the next frame comes soon. `is_fixed` says whether it became somebody's own.
    pub(crate) fn learn(
        &self,
        key: u64,
        port: PortId,
        second: u32,
        is_fixed: impl FnOnce() -> bool,
    ) {
        if let Some(writer) = self.table.try_write()
            && !self.is_held_by_another(key, port, second)
            && !self.is_beyond(key, port)
            && !is_fixed()
        {
            let seen = second;
            writer.put(key, Holder { port, seen });
        }
    }

    /// Whether an address that is heard from an uplink is not behind its port any more: the port has not sent from it for a while.
    /// Where the port's own frames `may_come_back` by an uplink, the while is longer than they take.
    ///
    /// `now` is the monotonic time in ns.
    pub(crate) fn has_left(&self, key: u64, now: u64, may_come_back: bool) -> bool {
        let after = if may_come_back {
            LEAVES_AFTER
        } else {
            MOVES_AFTER
        };
        let is_silent = |holder: Holder| holder.silent(second(now)) >= after;
        self.table.find(key).is_none_or(is_silent)
    }

    /// Takes an address away that [has left](Self::has_left), unless another thread is writing: the next frame comes soon.
    pub(crate) fn forget(&self, key: u64, now: u64, may_come_back: bool) {
        if let Some(writer) = self.table.try_write()
            && self.has_left(key, now, may_come_back)
        {
            writer.release(key);
        }
    }

    /// Takes away every address whose port has not sent from it for longer than the port lets it stay.
    pub(crate) fn age(&self, second: u32) {
        if self.table.is_empty() {
            return;
        }
        self.table.write().retain(|_, holder| {
            self.learners
                .get(holder.port.index())
                .is_some_and(|learner| holder.silent(second) <= learner.age)
        });
    }

    /// Takes away every address of a port that may not have it any more, and of those of a port with more than its limit the
    /// ones that it sent from longest ago.
    pub(crate) fn settle(&self, mut may_keep: impl FnMut(u64, PortId) -> bool) {
        if self.table.is_empty() {
            return;
        }
        let writer = self.table.write();
        writer.retain(|key, holder| self.admits(holder.port, key) && may_keep(key, holder.port));
        let mut crowded: BTreeMap<PortId, Vec<_>> = (0..self.learners.len())
            .map(|index| PortId(index as u16))
            .filter(|&port| self.table.count(port) > self.limit(port))
            .map(|port| (port, Vec::new()))
            .collect();
        if crowded.is_empty() {
            return;
        }
        writer.retain(|key, holder| {
            if let Some(addresses) = crowded.get_mut(&holder.port) {
                addresses.push((Reverse(holder.seen), key));
            }
            true
        });
        for (port, mut addresses) in crowded {
            addresses.sort_unstable();
            for &(_, key) in addresses.iter().skip(self.limit(port) as usize) {
                writer.release(key);
            }
        }
    }

    /// Every address with its port.
    pub(crate) fn list(&self, second: u32) -> Vec<LearnedAddress> {
        let mut list = Vec::new();
        self.table.write().retain(|key, holder| {
            if self.admits(holder.port, key) {
                list.push(LearnedAddress {
                    vlan: vlan_of(key),
                    mac: mac_of(key),
                    port: holder.port,
                    age: Duration::from_secs(holder.silent(second).into()),
                });
            }
            true
        });
        list.sort_unstable();
        list
    }

    /// Addresses that a port may have learned at a time.
    fn limit(&self, port: PortId) -> u32 {
        let learner = self.learners.get(port.index());
        learner.map_or(0, |learner| learner.limit)
    }

    /// Whether an address on the VLAN of `key` may be found behind the port.
    #[inline]
    fn admits(&self, port: PortId, key: u64) -> bool {
        self.learners
            .get(port.index())
            .is_some_and(|learner| learner.vlan == vlan_of(key) || learner.vlan == ANY_VLAN)
    }
}

/// Full seconds of a monotonic time in ns.
#[inline]
pub(crate) const fn second(now: u64) -> u32 {
    (now / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests;
