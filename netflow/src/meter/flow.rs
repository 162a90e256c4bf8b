//! A flow as a table has it.

use crate::key::SHORT;

/// What is known of how often a flow was seen, for who has to give way.
pub(super) const ONCE: u8 = 0;
pub(super) const AGAIN: u8 = 1;

/// A flow: the part of its key that every flow has, and what is counted of it since it was last told of.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Flow {
    pub(super) short: [u64; SHORT],
    pub(super) packets: u32,
    pub(super) octets: u32,
    pub(super) layer2_octets: u32,
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) tcp_flags: u8,
    pub(super) min_ttl: u8,
    pub(super) max_ttl: u8,
    pub(super) seen: u8,
}

impl Flow {
    /// Has nothing counted any more.
    pub(super) fn forget(&mut self) {
        *self = Self {
            short: self.short,
            seen: self.seen,
            last: self.last,
            ..Self::default()
        };
    }
}

/// A time by its low bits (ms), which is never compared with one further away than three weeks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time(u32);

impl Time {
    pub(super) const fn new(time: u64) -> Self {
        Self(time as u32)
    }

    /// What has passed since then; nothing since a time to come, which clocks of several kinds may tell.
    pub(super) const fn until(self, now: u64) -> u64 {
        if Self::new(now).is_before(self) {
            return 0;
        }
        (now as u32).wrapping_sub(self.0) as u64
    }

    pub(super) const fn after(self, ms: u64) -> Self {
        Self(self.0.wrapping_add(ms as u32))
    }

    pub(super) const fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    pub(super) const fn or_later(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    pub(super) const fn or_earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }
}
