//! How fast a front-end may change what poll threads use.
//!
//! A queue that starts, stops or is replaced costs a poll thread some microseconds, and memory that is unmapped interrupts
//! every core. A front-end that says so in a loop waits, and its neighbours keep their poll thread.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two changes of a front-end that never stops: at 5 µs a change, half a per cent of a poll thread.
const INTERVAL: Duration = Duration::from_millis(1);

/// So many changes may come at once: twice as many as when a guest of eight queue pairs starts, whose QEMU (before 8.0) tells of
/// each region of its memory once for each pair.
pub(super) const AT_ONCE: u32 = 512;

/// The changes of one port, whoever connects to it.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all changes so far would have been made, one each interval.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Waits until another change may be made.
    pub(super) fn wait(&self) {
        let pause = self.count(Instant::now());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }

    /// Counts a change. Returns how long it has to wait.
    fn count(&self, now: Instant) -> Duration {
        let mut paid = self.paid.lock();
        *paid = now.max(*paid) + INTERVAL;
        paid.saturating_duration_since(now + INTERVAL * AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_is_paced() {
        let pace = Pace::new();
        let start = Instant::now();
        let mut now = start;
        let mut changes = |count: u32| {
            for _ in 0..count {
                now += pace.count(now);
            }
            let passed = now - start;
            // A pause of as many intervals earns as many changes.
            now += INTERVAL * 100;
            passed
        };
        assert_eq!(changes(AT_ONCE), Duration::ZERO);
        assert_eq!(changes(100), INTERVAL * 100);
        assert_eq!(changes(350), INTERVAL * (200 + 250));
    }
}
