//! (VLAN, MAC) → port and time, of bounded size, written while it is read.
//!
//! Poll threads read it without a lock, and note that an address was seen at most once a second. What adds or removes an
//! entry takes one, which no poll thread waits for.

use foldhash::fast::FixedState;
use parking_lot::{Mutex, MutexGuard};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::PortId;

/// Windows of the table. With 131,072 slots a quarter is taken where eight ports have learned all that they may.
const WINDOWS: usize = 16_384;

/// Slots that a key may lie in: one cache line to look through, whatever the traffic.
const WINDOW: usize = 8;

/// The slots of keys with one hash.
#[derive(Default)]
#[repr(C, align(128))]
struct Window {
    /// Keys plus one; zero is an empty slot.
    keys: [AtomicU64; WINDOW],
    /// The [`Holder`] of each, as bits.
    holders: [AtomicU64; WINDOW],
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) port: PortId,
    /// The second (monotonic) in which the port last sent from it.
    pub(crate) seen: u32,
}

impl Holder {
    const fn to_bits(self) -> u64 {
        (self.port.0 as u64) << 32 | self.seen as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self {
            port: PortId((bits >> 32) as u16),
            seen: bits as u32,
        }
    }

    /// Full seconds since the port last sent from the address.
    #[inline]
    pub(crate) const fn silent(self, second: u32) -> u32 {
        second.saturating_sub(self.seen)
    }
}

pub(crate) struct LearningTable {
    windows: Box<[Window]>,
    hasher: FixedState,
    entries: AtomicUsize,
    /// Entries by port number.
    counts: Box<[AtomicU32]>,
    writer: Mutex<()>,
}

/// The only one who adds and removes entries at the time.
pub(crate) struct Writer<'a> {
    table: &'a LearningTable,
    _lock: MutexGuard<'a, ()>,
}

impl LearningTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            windows: (0..WINDOWS).map(|_| Window::default()).collect(),
            hasher: FixedState::with_seed(seed),
            entries: AtomicUsize::new(0),
            counts: (0..PortId::MAX_PORTS).map(|_| AtomicU32::new(0)).collect(),
            writer: Mutex::new(()),
        }
    }

    /// Who has the address of `key`.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<Holder> {
        if self.is_empty() {
            return None;
        }
        self.probe(key).map(|(_, holder)| holder)
    }

    /// Whether `port` has the address of `key`, which it sends from at this second.
    #[inline]
    pub(crate) fn refresh(&self, key: u64, port: PortId, second: u32) -> bool {
        let Some((place, holder)) = self.probe(key) else {
            return false;
        };
        if holder.port != port {
            return false;
        }
        // Where another thread was faster, the port's entry is as new, or is gone and will be learned again.
        holder.seen >= second || {
            let seen = Holder { port, seen: second };
            place
                .compare_exchange(
                    holder.to_bits(),
                    seen.to_bits(),
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok()
                || Holder::from_bits(place.load(Ordering::Acquire)).port == port
        }
    }

    #[inline]
    fn probe(&self, key: u64) -> Option<(&AtomicU64, Holder)> {
        let window = self.window(key);
        let at = window
            .keys
            .iter()
            .position(|slot| slot.load(Ordering::Acquire) == key + 1)?;
        let place = &window.holders[at];
        let holder = Holder::from_bits(place.load(Ordering::Acquire));
        // A writer empties a slot before it gives it another holder for another key: the same key before and after means
        // that the holder belongs to it.
        (window.keys[at].load(Ordering::Relaxed) == key + 1).then_some((place, holder))
    }

    /// Whether `key` is there, or there is room for it.
    pub(crate) fn has_room(&self, key: u64) -> bool {
        self.window(key).slot(key).is_some()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0
    }

    /// Addresses that a port has.
    pub(crate) fn count(&self, port: PortId) -> u32 {
        self.counts
            .get(port.index())
            .map_or(u32::MAX, |count| count.load(Ordering::Relaxed))
    }

    /// Leave to add and remove entries, if nobody has it.
    pub(crate) fn try_write(&self) -> Option<Writer<'_>> {
        let _lock = self.writer.try_lock()?;
        Some(Writer { table: self, _lock })
    }

    /// The same, waited for; not on a poll thread.
    pub(crate) fn write(&self) -> Writer<'_> {
        let _lock = self.writer.lock();
        Writer { table: self, _lock }
    }

    /// The same entries in a table that is nobody else's.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self {
            hasher: self.hasher.clone(),
            ..Self::new(0)
        };
        let entries = copy.write();
        self.write().retain(|key, holder| {
            entries.put(key, holder);
            true
        });
        drop(entries);
        copy
    }

    #[inline]
    fn window(&self, key: u64) -> &Window {
        &self.windows[self.hasher.hash_one(key) as usize % WINDOWS]
    }
}

impl Window {
    /// The slot of a key, or an empty one.
    fn slot(&self, key: u64) -> Option<usize> {
        let held = |wanted: u64| {
            self.keys
                .iter()
                .position(|slot| slot.load(Ordering::Relaxed) == wanted)
        };
        held(key + 1).or_else(|| held(0))
    }
}

impl Writer<'_> {
    /// Gives `key` to a holder, also where another one has it. Nothing happens where there is no room.
    pub(crate) fn put(&self, key: u64, holder: Holder) {
        let window = self.table.window(key);
        let Some(at) = window.slot(key) else {
            return;
        };
        let place = &window.holders[at];
        if window.keys[at].load(Ordering::Relaxed) == 0 {
            self.table.entries.fetch_add(1, Ordering::Relaxed);
        } else {
            self.uncount(Holder::from_bits(place.load(Ordering::Relaxed)).port);
        }
        self.table.counts[holder.port.index()].fetch_add(1, Ordering::Relaxed);
        place.store(holder.to_bits(), Ordering::Release);
        window.keys[at].store(key + 1, Ordering::Release);
    }

    /// Takes `key` away from whoever has it.
    pub(crate) fn release(&self, key: u64) {
        let window = self.table.window(key);
        if let Some(at) = window.slot(key) {
            self.empty(window, at);
        }
    }

    /// Takes away every entry for which `keep` says no.
    pub(crate) fn retain(&self, mut keep: impl FnMut(u64, Holder) -> bool) {
        for window in &self.table.windows {
            for at in 0..WINDOW {
                let key = window.keys[at].load(Ordering::Relaxed);
                let holder = Holder::from_bits(window.holders[at].load(Ordering::Relaxed));
                if key != 0 && !keep(key - 1, holder) {
                    self.empty(window, at);
                }
            }
        }
    }

    fn empty(&self, window: &Window, at: usize) {
        if window.keys[at].load(Ordering::Relaxed) != 0 {
            window.keys[at].store(0, Ordering::Release);
            self.table.entries.fetch_sub(1, Ordering::Relaxed);
            self.uncount(Holder::from_bits(window.holders[at].load(Ordering::Relaxed)).port);
        }
    }

    fn uncount(&self, port: PortId) {
        self.table.counts[port.index()].fetch_sub(1, Ordering::Relaxed);
    }
}
