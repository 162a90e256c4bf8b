//! Counters: written by one poll thread each, read by the control side, summed on reading.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::DropReason;

/// A counter that one thread writes and any thread reads.
///
/// Adding is a load and a store, not an atomic read-modify-write: the writer is alone.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to the counter. Only the thread that owns the counter may call this.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Has the counter show something that is counted elsewhere. Only the thread that owns the counter may call this.
    #[inline]
    pub(crate) fn show(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The counter's value, possibly that of a moment ago.
    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one poll thread counts of one port.
#[derive(Debug, Default)]
pub(crate) struct ThreadPortCounters {
    /// Frames received from the port.
    pub(crate) rx_frames: Counter,
    /// Octets received from the port.
    pub(crate) rx_bytes: Counter,
    /// Frames that reached at least one destination.
    pub(crate) rx_delivered: Counter,
    /// Frames of which no destination took a copy.
    pub(crate) rx_undelivered: Counter,
    /// Frames that went nowhere, by reason.
    pub(crate) rx_drops: [Counter; DropReason::COUNT],
    /// Copies meant for the port.
    pub(crate) tx_attempts: Counter,
    /// Copies that the port's engine took.
    pub(crate) tx_frames: Counter,
    /// Octets of those.
    pub(crate) tx_bytes: Counter,
    /// Copies whose checksum the switch completed, since the port takes only finished frames.
    pub(crate) tx_checksums_completed: Counter,
    /// Copies that the switch cut into segments for the port.
    pub(crate) tx_segmented: Counter,
    /// The segments; each is an attempt of its own.
    pub(crate) tx_segments: Counter,
    /// Copies that it did not take, by reason.
    pub(crate) tx_drops: [Counter; DropReason::COUNT],
    /// Copies that had to wait for the port's limit.
    pub(crate) tx_queued: Counter,
    /// Of all that waited, copies that do no more.
    pub(crate) tx_dequeued: Counter,
}

impl ThreadPortCounters {
    /// Counts copies that waited, and were dropped in the end.
    pub(crate) fn note_discarded(&self, copies: u64, reason: DropReason) {
        self.tx_dequeued.add(copies);
        self.tx_drops[reason as usize].add(copies);
    }
}

/// The counters of one port, summed over threads.
///
/// They balance whenever no frame is being forwarded: `rx_frames = rx_delivered + rx_undelivered + Σ rx_drops` and
/// `tx_attempts = tx_frames + tx_queued + Σ tx_drops`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that the switch received from the port.
    pub rx_frames: u64,
    /// Octets of those.
    pub rx_bytes: u64,
    /// Of these frames: delivered to at least one destination (promiscuous and mirror copies do not count).
    pub rx_delivered: u64,
    /// Of these frames: sent to destinations none of which could take it; the reason is counted there.
    pub rx_undelivered: u64,
    /// Of these frames: dropped, by reason.
    pub rx_drops: [u64; DropReason::COUNT],
    /// Copies meant for this port.
    pub tx_attempts: u64,
    /// Copies that its engine took.
    pub tx_frames: u64,
    /// Octets of those.
    pub tx_bytes: u64,
    /// Copies whose checksum their sender had left to its NIC, and which the switch completed for this port.
    pub tx_checksums_completed: u64,
    /// Copies that the switch cut into segments for this port.
    pub tx_segmented: u64,
    /// What they were cut into; each segment counts as an attempt and a frame of its own.
    pub tx_segments: u64,
    /// Copies that it did not take, by reason.
    pub tx_drops: [u64; DropReason::COUNT],
    /// Copies that wait for the port's limit at this moment.
    pub tx_queued: u64,
}

impl PortCounters {
    /// Sums what every thread counted.
    pub(crate) fn sum<'a>(threads: impl Iterator<Item = &'a ThreadPortCounters>) -> Self {
        let mut sum = Self::default();
        let mut dequeued = 0;
        for thread in threads {
            sum.rx_frames += thread.rx_frames.value();
            sum.rx_bytes += thread.rx_bytes.value();
            sum.rx_delivered += thread.rx_delivered.value();
            sum.rx_undelivered += thread.rx_undelivered.value();
            sum.tx_attempts += thread.tx_attempts.value();
            sum.tx_frames += thread.tx_frames.value();
            sum.tx_bytes += thread.tx_bytes.value();
            sum.tx_checksums_completed += thread.tx_checksums_completed.value();
            sum.tx_segmented += thread.tx_segmented.value();
            sum.tx_segments += thread.tx_segments.value();
            dequeued += thread.tx_dequeued.value();
            sum.tx_queued += thread.tx_queued.value();
            for reason in 0..DropReason::COUNT {
                sum.rx_drops[reason] += thread.rx_drops[reason].value();
                sum.tx_drops[reason] += thread.tx_drops[reason].value();
            }
        }
        // What one thread queues another may send, between the two looks at them.
        sum.tx_queued = sum.tx_queued.saturating_sub(dequeued);
        sum
    }

    /// What does not balance, in words; `None` where everything does.
    pub fn imbalance(&self) -> Option<String> {
        let dropped: u64 = self.rx_drops.iter().sum();
        if self.rx_frames != self.rx_delivered + self.rx_undelivered + dropped {
            return Some(format!(
                "{} frames entered, but {} were delivered, {} found no destination with room and {dropped} were dropped",
                self.rx_frames, self.rx_delivered, self.rx_undelivered
            ));
        }
        let refused: u64 = self.tx_drops.iter().sum();
        (self.tx_attempts != self.tx_frames + self.tx_queued + refused).then(|| {
            format!(
                "{} copies were attempted, but {} were sent, {} wait and {refused} were dropped",
                self.tx_attempts, self.tx_frames, self.tx_queued
            )
        })
    }
}
