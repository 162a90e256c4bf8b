//! Addresses that ports took from their own traffic: a small table of one switch that changes while frames flow.
//!
//! Poll threads read it without a lock. Writing is rare (a port's first frame, an adopted address) and takes one.

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::PortId;

/// Slots of the table: two addresses for every port of the largest data path, a quarter full at most on one switch.
const SLOTS: usize = 16_384;

/// Slots that a key may lie in: two cache lines, whatever the traffic.
const WINDOW: usize = 8;

#[derive(Default)]
struct Slot {
    /// Key plus one; zero is an empty slot.
    key: AtomicU64,
    port: AtomicU64,
}

/// (VLAN, MAC) → port for addresses that no configuration names.
pub(crate) struct LearnedTable {
    slots: Box<[Slot]>,
    hasher: FixedState,
    entries: AtomicUsize,
    writer: Mutex<()>,
}

impl LearnedTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            hasher: FixedState::with_seed(seed),
            entries: AtomicUsize::new(0),
            writer: Mutex::new(()),
        }
    }

    /// The port that has exactly this key.
    #[inline]
    pub(crate) fn holder(&self, key: u64) -> Option<PortId> {
        if self.entries.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.probe(key)
    }

    fn probe(&self, key: u64) -> Option<PortId> {
        self.window(key).find_map(|slot| {
            if slot.key.load(Ordering::Acquire) != key + 1 {
                return None;
            }
            let port = slot.port.load(Ordering::Acquire);
            // A writer empties the key before it writes the port: the same key before and after means that the port
            // belongs to it.
            (slot.key.load(Ordering::Relaxed) == key + 1).then_some(PortId(port as u16))
        })
    }

    /// Gives `key` to `port` unless another port has it. False where one has, or where the table has no room for the key.
    pub(crate) fn claim(&self, key: u64, port: PortId) -> bool {
        self.insert(key, port, |holder| holder == port)
    }

    /// Gives `key` to `port`, also where another port has it. False where the table has no room for the key.
    pub(crate) fn assign(&self, key: u64, port: PortId) -> bool {
        self.insert(key, port, |_| true)
    }

    /// Whether [`claim`](Self::claim) would give `key` to `port`.
    pub(crate) fn is_free(&self, key: u64, port: PortId) -> bool {
        self.place(key, |holder| holder == port).is_some()
    }

    fn insert(&self, key: u64, port: PortId, may_replace: impl Fn(PortId) -> bool) -> bool {
        let _writer = self.writer.lock();
        let Some(slot) = self.place(key, may_replace) else {
            return false;
        };
        let held = slot.key.load(Ordering::Relaxed) != 0;
        slot.key.store(0, Ordering::Release);
        slot.port.store(u64::from(port.0), Ordering::Release);
        slot.key.store(key + 1, Ordering::Release);
        if !held {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// The slot of a key, which whoever has it may have to give up, or an empty one.
    fn place(&self, key: u64, may_replace: impl Fn(PortId) -> bool) -> Option<&Slot> {
        let held = self
            .window(key)
            .find(|slot| slot.key.load(Ordering::Relaxed) == key + 1);
        match held {
            Some(slot) => {
                let holder = PortId(slot.port.load(Ordering::Relaxed) as u16);
                may_replace(holder).then_some(slot)
            }
            None => self
                .window(key)
                .find(|slot| slot.key.load(Ordering::Relaxed) == 0),
        }
    }

    /// Takes `key` away from `port`, if it has it.
    pub(crate) fn release(&self, key: u64, port: PortId) {
        let _writer = self.writer.lock();
        let held = self.window(key).find(|slot| {
            slot.key.load(Ordering::Relaxed) == key + 1
                && slot.port.load(Ordering::Relaxed) == u64::from(port.0)
        });
        if let Some(slot) = held {
            slot.key.store(0, Ordering::Release);
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes away every entry for which `keep` says no.
    pub(crate) fn retain(&self, mut keep: impl FnMut(u64, PortId) -> bool) {
        let _writer = self.writer.lock();
        for slot in &self.slots {
            let key = slot.key.load(Ordering::Relaxed);
            if key != 0 && !keep(key - 1, PortId(slot.port.load(Ordering::Relaxed) as u16)) {
                slot.key.store(0, Ordering::Release);
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    fn window(&self, key: u64) -> impl Iterator<Item = &Slot> {
        let home = self.hasher.hash_one(key) as usize;
        (0..WINDOW).map(move |step| &self.slots[(home + step) % SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac_table::{ANY_VLAN, key};
    use weft_packet::MacAddr;

    fn mac(n: u64) -> MacAddr {
        MacAddr::from_bits(0x02_00_00_00_00_00 | n)
    }

    #[test]
    fn an_address_is_found_until_it_is_taken_away() {
        let table = LearnedTable::new(3);
        assert_eq!(table.holder(key(5, mac(1))), None);
        assert!(table.assign(key(5, mac(1)), PortId(9)));
        assert!(table.assign(key(ANY_VLAN, mac(2)), PortId(8)));
        assert_eq!(table.holder(key(5, mac(1))), Some(PortId(9)));
        assert_eq!(table.holder(key(6, mac(1))), None);
        assert_eq!(table.holder(key(ANY_VLAN, mac(2))), Some(PortId(8)));
        assert!(table.assign(key(5, mac(1)), PortId(7)));
        assert_eq!(table.holder(key(5, mac(1))), Some(PortId(7)));
        assert_eq!(table.len(), 2);
        assert!(!table.claim(key(5, mac(1)), PortId(6)));
        assert_eq!(table.holder(key(5, mac(1))), Some(PortId(7)));
        table.retain(|_, port| port == PortId(8));
        assert_eq!(table.holder(key(5, mac(1))), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_window_refuses_instead_of_walking_on() {
        let table = LearnedTable::new(3);
        let taken = (0..4 * SLOTS as u64)
            .filter(|&n| table.assign(key(1, mac(n)), PortId(1)))
            .count();
        assert!(taken <= SLOTS);
        assert_eq!(table.len(), taken);
    }
}
