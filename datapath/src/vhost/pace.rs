//! How fast a front-end may change what poll threads use.
//!
//! A queue that starts, stops or is replaced costs a poll thread some microseconds, and memory that is unmapped interrupts
//! every core. A front-end that says so in a loop waits, and its neighbours keep their poll thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stop::Stop;

/// Between two changes of a front-end that never stops: at 5 µs a change, half a per cent of a poll thread.
const INTERVAL: Duration = Duration::from_millis(1);

/// So many changes may come at once: several times as many as when a guest of eight queue pairs starts.
pub(super) const AT_ONCE: u32 = 512;

/// The changes of one port, whoever connects to it.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all changes so far would have been made, one each interval.
    paid: Instant,
    stop: Arc<Stop>,
}

impl Pace {
    pub(super) fn new(stop: Arc<Stop>) -> Self {
        Self {
            paid: Instant::now(),
            stop,
        }
    }

    /// Waits until another change may be made, or the port ends.
    pub(super) fn wait(&mut self) {
        let pause = self.count(Instant::now());
        if !pause.is_zero() {
            self.stop.pause(pause);
        }
    }

    /// Counts a change. Returns how long it has to wait.
    fn count(&mut self, now: Instant) -> Duration {
        self.paid = now.max(self.paid) + INTERVAL;
        self.paid
            .saturating_duration_since(now + INTERVAL * AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_is_paced() {
        let mut pace = Pace::new(Arc::new(Stop::new().expect("an event")));
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
