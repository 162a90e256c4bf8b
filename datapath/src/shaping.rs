//! Limits on what passes a port: token buckets, and the queue before a port whose bucket is empty.
//!
//! A limit has two buckets, and a frame needs both: one of `burst` octets that fills at the average, and a small one that
//! fills at the peak. From idle, under full load, a port so sends at its peak until the burst is used up, which takes
//! burst · 8 / (peak − average) seconds, and at its average from then on; in any time T it sends at most burst + average · T,
//! and the rest of the frame that emptied the bucket.
//!
//! A bucket is kept as the time at which it is full again (the virtual scheduling of ITU-T I.371 Annex A, GCRA): nothing
//! fills it, and one number that threads exchange is all there is to share.

mod queue;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::ShapeConfig;

pub(crate) use queue::EgressQueue;

/// Parts of a nanosecond in which buckets count time. 64 octets at 100 Gbit/s are 5.12 ns: in parts of 1/16 the rounding is
/// below 2 % there and below 0.1 % at 10 Gbit/s, and a count lasts 36 years.
const PARTS: u64 = 16;

/// Parts that one bit takes at one bit per second.
const SECOND: u64 = 1_000_000_000 * PARTS;

/// How much of the peak a port may send at once (time, ns): what a poll thread lets pass in the time that it sleeps too long.
const PEAK_DEPTH_NS: u64 = 5_000_000;

/// The binary point of the span of an octet: as far to the left as the slowest rate leaves room for.
const POINT: u32 = 24;

/// More octets than any burst holds. A bucket with as many does not say how many it has.
const PLENTY: usize = 8 << 20;

/// A limit on what passes a port in one direction, and how much of it is used. Those who pass the port share it.
pub(crate) struct Bucket {
    pub(crate) config: ShapeConfig,
    average: Level,
    peak: Level,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(config: ShapeConfig) -> Self {
        let peak = config.peak.max(config.average);
        let peak_octets = u128::from(peak) * u128::from(PEAK_DEPTH_NS) / 8_000_000_000;
        let peak_burst = u64::try_from(peak_octets).unwrap_or(u64::MAX);
        Self {
            config,
            average: Level::new(config.average, config.burst),
            peak: Level::new(peak, peak_burst.min(config.burst)),
        }
    }

    /// The limit with other settings: what was used stays used, as far as the new burst goes.
    pub(crate) fn with(&self, config: ShapeConfig, now: u64) -> Self {
        let new = Self::new(config);
        new.average.use_as(&self.average, now * PARTS);
        new.peak.use_as(&self.peak, now * PARTS);
        new
    }

    /// Octets at which a frame may still begin, 0 where none may; `usize::MAX` stands for more than any burst has.
    #[inline]
    pub(crate) fn octets(&self, now: u64) -> usize {
        let now = now * PARTS;
        self.average.octets(now).min(self.peak.octets(now))
    }

    /// The first time (ns) at which a frame may begin, if nothing else passes.
    pub(crate) fn opens_at(&self) -> u64 {
        self.average.opens_at().max(self.peak.opens_at())
    }

    /// Takes what passed. More than there is leaves a debt, so that the average is exact whatever the frames are.
    #[inline]
    pub(crate) fn charge(&self, octets: usize, now: u64) {
        let (octets, now) = (octets as u64, now * PARTS);
        self.average.charge(octets, now);
        self.peak.charge(octets, now);
    }

    /// The same for somebody who shares the bucket with nobody.
    #[inline]
    pub(crate) fn charge_alone(&mut self, octets: usize, now: u64) {
        let (octets, now) = (octets as u64, now * PARTS);
        self.average.charge_alone(octets, now);
        self.peak.charge_alone(octets, now);
    }
}

/// One bucket; times and spans are in parts.
struct Level {
    /// Bits per second, not 0.
    rate: u64,
    /// How long an octet takes, times 2^[`POINT`]. Rounded up, as spans are: rounding never gives away any.
    octet: u64,
    /// How long it takes to fill, not 0.
    depth: u64,
    /// How long [`PLENTY`] octets take.
    plenty: u64,
    /// When it is full.
    full_at: AtomicU64,
}

impl Level {
    fn new(rate: u64, burst: u64) -> Self {
        let rate = rate.max(1);
        let depth = u128::from(burst) * u128::from(8 * SECOND) / u128::from(rate);
        let mut level = Self {
            rate,
            octet: ((8 * SECOND) << POINT).div_ceil(rate),
            // Far enough from the end of numbers for every sum of a time and a debt.
            depth: u64::try_from(depth)
                .unwrap_or(u64::MAX)
                .clamp(1, u64::MAX / 4),
            plenty: 0,
            full_at: AtomicU64::new(0),
        };
        level.plenty = level.span(PLENTY as u64);
        level
    }

    #[inline]
    fn octets(&self, now: u64) -> usize {
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let Some(left) = self.depth.checked_sub(missing).filter(|&left| left > 0) else {
            return 0;
        };
        if left >= self.plenty {
            return usize::MAX;
        }
        // Within 64 bits: less than PLENTY · 8 · SECOND, or twice that where the span of an octet is all rounding.
        (left * self.rate / (8 * SECOND)).max(1) as usize
    }

    fn opens_at(&self) -> u64 {
        let full_at = self.full_at.load(Ordering::Relaxed);
        full_at
            .saturating_add(1)
            .saturating_sub(self.depth)
            .div_ceil(PARTS)
    }

    #[inline]
    fn charge(&self, octets: u64, now: u64) {
        let span = self.span(octets);
        let after = |full_at| Some(after(full_at, span, now));
        // Never refused: `after` always has an answer.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
    }

    #[inline]
    fn charge_alone(&mut self, octets: u64, now: u64) {
        let span = self.span(octets);
        let full_at = self.full_at.get_mut();
        *full_at = after(*full_at, span, now);
    }

    /// How long so many octets take.
    #[inline]
    fn span(&self, octets: u64) -> u64 {
        let span = (u128::from(octets) * u128::from(self.octet)).div_ceil(1 << POINT);
        u64::try_from(span).unwrap_or(u64::MAX)
    }

    /// Makes as much used as of `other`.
    fn use_as(&self, other: &Self, now: u64) {
        let missing = other.full_at.load(Ordering::Relaxed).saturating_sub(now);
        // Octets · 8 · SECOND.
        let used = u128::from(missing) * u128::from(other.rate);
        let missing = u64::try_from(used / u128::from(self.rate)).unwrap_or(u64::MAX);
        self.full_at
            .store(now + missing.min(self.depth), Ordering::Relaxed);
    }
}

/// When a bucket is full after octets that take `span`, where it was to be full at `full_at`.
#[inline]
fn after(full_at: u64, span: u64, now: u64) -> u64 {
    full_at.max(now).saturating_add(span)
}

#[cfg(test)]
mod tests;
