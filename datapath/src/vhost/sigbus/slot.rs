//! A place in the table of mappings, which a signal handler reads at any moment while others fill and empty it. Tests model it.

use super::{AtomicBool, AtomicUsize, Ordering};

/// Free while `start` is 0; filled with `start` last and emptied with `start` first. Those who do so take turns.
pub(super) struct Slot {
    pub(super) start: AtomicUsize,
    pub(super) len: AtomicUsize,
    pub(super) lost: AtomicBool,
}

impl Slot {
    pub(super) fn is_free(&self) -> bool {
        self.start.load(Ordering::Relaxed) == 0
    }

    pub(super) fn fill(&self, start: usize, len: usize) {
        self.len.store(len, Ordering::Release);
        self.start.store(start, Ordering::Release);
    }

    /// Nobody uses the mapping any more.
    pub(super) fn empty(&self, lost: &AtomicUsize) {
        self.start.store(0, Ordering::Release);
        if self.lost.swap(false, Ordering::Relaxed) {
            lost.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The mapping is lost, whichever thread that uses it notices first: it is counted in `lost` until it goes.
    pub(super) fn lose(&self, lost: &AtomicUsize) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The mapping in which an address is: its start and its length.
    pub(super) fn find(&self, address: usize) -> Option<(usize, usize)> {
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        // A slot that was filled anew between the two is not the one that is looked for: its mapping is in use.
        let is_same = self.start.load(Ordering::Relaxed) == start;
        (start != 0 && is_same && address.wrapping_sub(start) < len).then_some((start, len))
    }
}
