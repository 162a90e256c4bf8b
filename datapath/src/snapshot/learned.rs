//! Addresses that ports have from their traffic, and those behind ports: what becomes of them when a configuration comes into force.

use std::collections::HashMap;

use weft_packet::MacAddr;

use super::Snapshot;
use crate::PortId;
use crate::config::SwitchId;
use crate::learning::{LearnedAddress, Learning};
use crate::port::NO_ADDRESS;

impl Snapshot {
    /// Makes the addresses that ports have from their traffic findable under this snapshot's VLANs, beside what older
    /// snapshots need. A port loses a taken address once it has a configured one, and any address that is another port's
    /// under the same key: by configuration, or, of two that only a change brought together, the lower number's.
    pub(crate) fn offer_learned(&self) {
        let mut holders: HashMap<(usize, u64), PortId> = HashMap::new();
        for entry in self.ports.iter().flatten() {
            let (switch, port) = (self.switch_of(entry), &entry.port);
            if entry.is_uplink {
                port.set_taken(None);
                port.set_adopted(None);
                continue;
            }
            let mut claim = |bits: u64| {
                if bits == NO_ADDRESS {
                    return true;
                }
                let key = entry.key(MacAddr::from_bits(bits));
                let configured = switch
                    .addresses
                    .holder(key)
                    .is_none_or(|holder| holder == port.id);
                configured && *holders.entry((entry.switch, key)).or_insert(port.id) == port.id
            };
            if entry.mac_bits != NO_ADDRESS || !claim(port.taken_bits()) {
                port.set_taken(None);
            }
            if !entry.mac_changes || !claim(port.adopted_bits()) {
                port.set_adopted(None);
            }
            for mac in port.learned() {
                switch.learned.assign(entry.key(mac), port.id);
            }
        }
    }

    /// Gives a port an adopted address, or takes it away. `now` is the monotonic time in ns.
    pub(crate) fn adopt(&self, id: PortId, mac: Option<MacAddr>, now: u64) {
        let Some(entry) = self.port(id).filter(|entry| !entry.is_uplink) else {
            return;
        };
        let (port, switch) = (&entry.port, self.switch_of(entry));
        let before = port.adopted_bits();
        port.set_adopted(None);
        if before != NO_ADDRESS && before != port.taken_bits() {
            switch
                .learned
                .release(entry.key(MacAddr::from_bits(before)), id);
        }
        let Some(mac) = mac.filter(|_| entry.mac_changes) else {
            return;
        };
        let key = entry.key(mac);
        let configured = switch
            .addresses
            .holder(key)
            .is_some_and(|holder| holder != id);
        let learning = switch.learning.as_ref();
        let writer = learning.map(|learning| learning.table.write());
        if configured || switch.is_learned_by_another(key, id, now) {
            return;
        }
        if switch.learned.claim(key, id) {
            port.set_adopted(Some(mac));
            if let Some(writer) = writer {
                writer.release(key);
            }
        }
    }

    /// Forgets every learned address that this snapshot does not need; called when no older one is in use.
    pub(crate) fn settle_learned(&self) {
        for (index, switch) in self.switches.iter().enumerate() {
            switch.learned.retain(|key, port| {
                self.port(port).is_some_and(|entry| {
                    entry.switch == index && entry.port.learned().any(|mac| entry.key(mac) == key)
                })
            });
            if let Some(learning) = &switch.learning {
                learning.settle(|key, port| {
                    switch.carries(port, key) && switch.find_fixed(key).is_none()
                });
            }
        }
    }

    /// Lets the learned addresses of every switch age.
    pub(crate) fn age_learned(&self, second: u32) {
        for learning in self.learning() {
            learning.age(second);
        }
    }

    /// What a switch learned.
    pub(crate) fn learned_addresses(&self, switch: SwitchId, second: u32) -> Vec<LearnedAddress> {
        let learning = self.learning().find(|learning| learning.switch == switch);
        learning.map_or_else(Vec::new, |learning| learning.list(second))
    }

    /// How many addresses a port has learned.
    pub(crate) fn learned_count(&self, port: PortId) -> usize {
        let learning = self
            .port(port)
            .and_then(|entry| self.switch_of(entry).learning.as_ref());
        learning.map_or(0, |learning| learning.table.count(port) as usize)
    }

    pub(crate) fn learning(&self) -> impl Iterator<Item = &Learning> {
        let switches = self.switches.iter();
        switches.filter_map(|switch| switch.learning.as_ref())
    }
}
