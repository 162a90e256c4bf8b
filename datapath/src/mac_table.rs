//! The exact table (VLAN, MAC) → port of one switch: built once from configuration, then only read.

use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use weft_packet::MacAddr;

use crate::PortId;
use crate::prefetch::prefetch;

/// Stands for "any VLAN" in a key: the address of a port that trunks. VID 4095 never occurs on the wire.
pub(crate) const ANY_VLAN: u16 = 4095;

/// (VLAN, MAC) as one number: 12 and 48 bits.
#[inline]
pub(crate) fn key(vlan: u16, mac: MacAddr) -> u64 {
    u64::from(vlan & 0xfff) << 48 | mac.to_bits()
}

/// The VLAN in a key.
#[inline]
pub(crate) const fn vlan_of(key: u64) -> u16 {
    (key >> 48) as u16
}

/// The address in a key.
#[inline]
pub(crate) const fn mac_of(key: u64) -> MacAddr {
    MacAddr::from_bits(key)
}

/// The key of the same address on any VLAN.
#[inline]
pub(crate) const fn on_any_vlan(key: u64) -> u64 {
    key | (ANY_VLAN as u64) << 48
}

#[derive(Clone, Copy)]
struct Slot {
    /// Key plus one, so that zero is an empty slot.
    key: u64,
    port: PortId,
}

/// Open addressing with linear probing, at most half full: a look-up touches one cache line as a rule.
pub(crate) struct MacTable {
    slots: Box<[Slot]>,
    mask: u64,
    hasher: FixedState,
    /// Some keys hold [`ANY_VLAN`], so that a miss has to be asked again.
    has_trunks: bool,
}

impl MacTable {
    /// Builds the table. Of several ports with one key the last one wins; the control side refuses such configurations.
    pub(crate) fn build(entries: &[(u64, PortId)], seed: u64) -> Self {
        let size = (entries.len() * 2).next_power_of_two().max(4);
        let mut table = Self {
            slots: vec![
                Slot {
                    key: 0,
                    port: PortId(0)
                };
                size
            ]
            .into_boxed_slice(),
            mask: size as u64 - 1,
            hasher: FixedState::with_seed(seed),
            has_trunks: entries
                .iter()
                .any(|(key, _)| key >> 48 == u64::from(ANY_VLAN)),
        };
        for &(key, port) in entries {
            let mut at = table.home(key);
            while table.slots[at as usize].key != 0 && table.slots[at as usize].key != key + 1 {
                at = (at + 1) & table.mask;
            }
            table.slots[at as usize] = Slot { key: key + 1, port };
        }
        table
    }

    /// Brings the line that a look-up will touch into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, key: u64) {
        prefetch(&self.slots[self.home(key) as usize]);
    }

    /// The port that has the address of `key` on its VLAN.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<PortId> {
        let found = self.probe(key);
        if found.is_some() || !self.has_trunks {
            return found;
        }
        self.probe(on_any_vlan(key))
    }

    /// The port that holds exactly this key.
    pub(crate) fn holder(&self, key: u64) -> Option<PortId> {
        self.probe(key)
    }

    #[inline]
    fn probe(&self, key: u64) -> Option<PortId> {
        let mut at = self.home(key);
        loop {
            let slot = &self.slots[at as usize];
            if slot.key == key + 1 {
                return Some(slot.port);
            }
            // At most half the slots are taken, so the walk ends.
            if slot.key == 0 {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }

    #[inline]
    fn home(&self, key: u64) -> u64 {
        self.hasher.hash_one(key) & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u64) -> MacAddr {
        MacAddr::from_bits(0x02_00_00_00_00_00 | n)
    }

    #[test]
    fn finds_what_it_holds_and_nothing_else() {
        let entries: Vec<_> = (0..5000)
            .map(|n| (key((n % 7) as u16, mac(n)), PortId(n as u16)))
            .collect();
        let table = MacTable::build(&entries, 42);
        for n in 0..5000 {
            assert_eq!(
                table.find(key((n % 7) as u16, mac(n))),
                Some(PortId(n as u16))
            );
            assert_eq!(table.find(key((n % 7) as u16 + 1, mac(n))), None);
            assert_eq!(table.find(key((n % 7) as u16, mac(n + 5000))), None);
        }
    }

    #[test]
    fn a_trunk_address_answers_on_every_vlan_after_an_exact_one() {
        let table = MacTable::build(
            &[
                (key(ANY_VLAN, mac(1)), PortId(1)),
                (key(10, mac(2)), PortId(2)),
            ],
            7,
        );
        assert_eq!(table.find(key(0, mac(1))), Some(PortId(1)));
        assert_eq!(table.find(key(4094, mac(1))), Some(PortId(1)));
        assert_eq!(table.find(key(10, mac(2))), Some(PortId(2)));
        assert_eq!(table.find(key(11, mac(2))), None);
    }

    #[test]
    fn an_empty_table_ends_its_search() {
        assert_eq!(MacTable::build(&[], 1).find(key(1, mac(1))), None);
    }
}
