//! Clocks: one to count cycles, one for coarse time, and one for limits, which tests may set.

#[cfg(any(test, feature = "testing"))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustix::time::{ClockId, clock_gettime};

/// The processor's time stamp counter (cycles at its base frequency), or nanoseconds where there is none to read.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC reads a counter; every x86-64 processor has it and Linux leaves it to user space.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    nanoseconds(ClockId::Monotonic)
}

/// Monotonic time in ns with the precision of the kernel's tick; costs a few cycles.
#[inline]
pub(crate) fn coarse_nanoseconds() -> u64 {
    nanoseconds(ClockId::MonotonicCoarse)
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static MADE_UP: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// Has the clocks of the calling thread stand at a monotonic time in ns, or run again. A data path that is driven by hand then
/// knows no other time.
#[cfg(any(test, feature = "testing"))]
pub fn set_clock(time: Option<u64>) {
    MADE_UP.set(time);
}

/// Monotonic time in ns.
#[inline]
pub(crate) fn precise_nanoseconds() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The time by which limits are kept.
#[derive(Clone, Default)]
pub(crate) struct Clock {
    /// What a test says that it is; 0 if none does.
    #[cfg(any(test, feature = "testing"))]
    set: Arc<AtomicU64>,
}

impl Clock {
    /// Monotonic time in ns.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        #[cfg(any(test, feature = "testing"))]
        if let set @ 1.. = self.set.load(Ordering::Relaxed) {
            return set;
        }
        precise_nanoseconds()
    }

    /// From now on it is what the caller says, in ns and not 0.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set(&self, now: u64) {
        self.set.store(now, Ordering::Relaxed);
    }
}

#[inline]
fn nanoseconds(clock: ClockId) -> u64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(time) = MADE_UP.get() {
        return time;
    }
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
