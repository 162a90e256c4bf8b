//! Two clocks: one to count cycles, one for time.

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

#[inline]
fn nanoseconds(clock: ClockId) -> u64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(time) = MADE_UP.get() {
        return time;
    }
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Full milliseconds of a time in ns.
#[inline]
pub(crate) const fn milliseconds(now: u64) -> u64 {
    now / 1_000_000
}
