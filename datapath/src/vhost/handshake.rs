//! How two sides keep each other from sleeping over work.
//!
//! Whoever has something for the other publishes it first and reads then whether the other wants to be told. Whoever is about
//! to sleep says first that it wants to be told and looks then once more. With a full fence between the two steps of either
//! side, one of them sees what the other did (virtio 1.2 §2.7.13.4.1, §2.7.7).
//!
//! The words are in a guest's memory, or in a model of it that runs through every order of events.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// A word that another side reads and writes at the same time.
pub(super) trait Atomic<T> {
    fn load(&self, order: Ordering) -> T;
    fn store(&self, value: T, order: Ordering);
}

impl Atomic<u16> for AtomicU16 {
    #[inline]
    fn load(&self, order: Ordering) -> u16 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u16, order: Ordering) {
        self.store(value, order);
    }
}

impl Atomic<bool> for AtomicBool {
    #[inline]
    fn load(&self, order: Ordering) -> bool {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: bool, order: Ordering) {
        self.store(value, order);
    }
}

/// The words of a ring by which driver and device keep in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// What the driver made available, up to this index.
    AvailableIndex,
    /// The driver's flags; without event indices they say whether it wants to be notified.
    AvailableFlags,
    /// The used index from which on the driver wants to be notified.
    UsedEvent,
    /// What the device gave back, up to this index.
    UsedIndex,
    /// The device's flags; without event indices they say whether it wants kicks.
    UsedFlags,
    /// The available index from which on the device wants a kick.
    AvailableEvent,
}

/// In the driver's flags: do not interrupt.
const NO_INTERRUPT: u16 = 1;
/// In the device's flags: do not kick.
const NO_NOTIFY: u16 = 1;

/// The device's half of a ring's handshakes.
pub(super) trait Handshake {
    type Word: Atomic<u16>;

    fn word(&self, word: Word) -> &Self::Word;

    /// Keeps what comes before it apart from what comes behind it, in the eyes of everybody (`SeqCst`).
    fn fence(&self);

    /// Whether wishes are stated by event indices (VIRTIO_F_EVENT_IDX).
    fn has_event_indices(&self) -> bool;

    /// Tells the driver of everything given back before used index `index`.
    #[inline]
    fn tell(&self, index: u16) {
        // Release: the entries and what is in the buffers come before it.
        self.word(Word::UsedIndex).store(index, Ordering::Release);
    }

    /// Whether the driver wants to be notified now that the used index went from `old` to `new`.
    #[inline]
    fn is_notification_wanted(&self, old: u16, new: u16) -> bool {
        self.fence();
        if self.has_event_indices() {
            let event = self.word(Word::UsedEvent).load(Ordering::Relaxed);
            is_due(event, new, old)
        } else {
            self.word(Word::AvailableFlags).load(Ordering::Relaxed) & NO_INTERRUPT == 0
        }
    }

    /// Tells the driver that it need not kick; `next` is the next available index.
    fn refuse_kicks(&self, next: u16) {
        if self.has_event_indices() {
            // No index that comes soon.
            let far = next.wrapping_sub(1);
            self.word(Word::AvailableEvent)
                .store(far, Ordering::Relaxed);
        } else {
            self.word(Word::UsedFlags)
                .store(NO_NOTIFY, Ordering::Relaxed);
        }
    }

    /// Asks for a kick with the buffer of available index `next`. Returns whether it is there already, and a kick for it may
    /// not come.
    fn ask_for_kick(&self, next: u16) -> bool {
        if self.has_event_indices() {
            self.word(Word::AvailableEvent)
                .store(next, Ordering::Relaxed);
        } else {
            self.word(Word::UsedFlags).store(0, Ordering::Relaxed);
        }
        self.fence();
        self.word(Word::AvailableIndex).load(Ordering::Acquire) != next
    }
}

/// Whether an index moved past `event` on its way from `old` to `new` (virtio 1.2 §2.7.7.2).
#[inline]
pub(super) const fn is_due(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Tells a thread that there is something in a channel: a flag for the thread that polls, and behind it a doorbell for the
/// one that sleeps.
pub(super) trait Bell {
    type Flag: Atomic<bool>;

    fn flag(&self) -> &Self::Flag;

    /// Makes the doorbell readable.
    fn press(&self);

    /// Makes it unreadable.
    fn quiet(&self);

    /// There is something in the channel.
    fn ring(&self) {
        self.flag().store(true, Ordering::Release);
        self.press();
    }

    /// Whether somebody rang, for a thread that polls.
    #[inline]
    fn is_rung(&self) -> bool {
        self.flag().load(Ordering::Acquire)
    }

    /// Whether somebody rang, for a thread that is about to wait for the doorbell.
    fn is_rung_before_sleep(&self) -> bool {
        // In this order: whoever comes after the look at the flag presses after it.
        self.quiet();
        self.is_rung()
    }

    /// The channel is about to be emptied.
    fn answer(&self) {
        self.flag().store(false, Ordering::Release);
        self.quiet();
    }
}
