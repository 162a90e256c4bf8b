//! Times as collectors read them.

/// One moment on both clocks, which are to be read together: headers state it, and times of flows are converted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// On the clock of the records (ms).
    pub monotonic_ms: u64,
    /// Since 1970 (UTC, ms).
    pub unix_ms: u64,
}

/// How the monotonic times of records are told. Nothing is told to lie after the message that tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Now,
    /// When the uptime was 0 (monotonic, ms).
    pub(super) started: u64,
}

impl Clock {
    /// The time since 1970 (ms).
    pub(super) fn unix(&self, time: u64) -> u64 {
        let age = self.now.monotonic_ms.saturating_sub(time);
        self.now.unix_ms.saturating_sub(age)
    }

    /// The uptime (ms), which begins anew at 0 every 49.7 days (RFC 3954 §5.1, "sysUpTime").
    pub(super) fn uptime(&self, time: u64) -> u32 {
        time.min(self.now.monotonic_ms).saturating_sub(self.started) as u32
    }

    /// The seconds since 1970 that headers have room for; 2106 is the last year that they can tell.
    pub(super) fn seconds(&self) -> u32 {
        (self.now.unix_ms / 1_000) as u32
    }
}
