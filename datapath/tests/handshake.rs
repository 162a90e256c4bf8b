//! The handshakes in models of memory and threads, which loom runs through every order of events and every value that a
//! weakly ordered machine may read. Nobody may go to sleep over work without being woken; without its fence, or with two steps
//! exchanged, every handshake lets somebody.
//!
//! In a program of its own: loom's threads answer SIGBUS, as the switch does.

#[path = "../src/vhost/handshake.rs"]
mod handshake;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use handshake::{Atomic, Bell, Handshake, Word, is_due};
use loom::sync::atomic::{AtomicBool, AtomicU16, fence};
use loom::sync::{Arc, Mutex};
use loom::thread;

impl Atomic<u16> for AtomicU16 {
    fn load(&self, order: Ordering) -> u16 {
        self.load(order)
    }

    fn store(&self, value: u16, order: Ordering) {
        self.store(value, order);
    }
}

impl Atomic<bool> for AtomicBool {
    fn load(&self, order: Ordering) -> bool {
        self.load(order)
    }

    fn store(&self, value: bool, order: Ordering) {
        self.store(value, order);
    }
}

/// What wakes a sleeper: an eventfd, whose state the kernel guards with a lock.
#[derive(Default)]
struct Event(Mutex<bool>);

impl Event {
    fn set(&self, value: bool) {
        *self.0.lock().expect("nobody panics") = value;
    }

    fn is_set(&self) -> bool {
        *self.0.lock().expect("nobody panics")
    }
}

/// The words of a ring, and the events of its two sides.
struct Ring {
    words: [AtomicU16; 6],
    kick: Event,
    call: Event,
    has_event_indices: bool,
    has_fences: bool,
}

impl Handshake for Ring {
    type Word = AtomicU16;

    fn word(&self, word: Word) -> &AtomicU16 {
        &self.words[word as usize]
    }

    fn fence(&self) {
        if self.has_fences {
            fence(Ordering::SeqCst);
        }
    }

    fn has_event_indices(&self) -> bool {
        self.has_event_indices
    }
}

impl Ring {
    /// A ring in which neither side wants to be told of anything.
    fn new(has_event_indices: bool, has_fences: bool) -> Self {
        let ring = Self {
            words: std::array::from_fn(|_| AtomicU16::new(0)),
            kick: Event::default(),
            call: Event::default(),
            has_event_indices,
            has_fences,
        };
        ring.refuse_kicks(0);
        ring.set(Word::AvailableFlags, 1);
        ring.set(Word::UsedEvent, u16::MAX);
        ring
    }

    fn set(&self, word: Word, value: u16) {
        self.word(word).store(value, Ordering::Relaxed);
    }

    /// What a driver does, by virtio 1.2 §2.7.13.
    fn make_available(&self, index: u16) {
        self.word(Word::AvailableIndex)
            .store(index, Ordering::Release);
        fence(Ordering::SeqCst);
        let wants = if self.has_event_indices {
            let event = self.word(Word::AvailableEvent).load(Ordering::Relaxed);
            is_due(event, index, index.wrapping_sub(1))
        } else {
            self.word(Word::UsedFlags).load(Ordering::Relaxed) & 1 == 0
        };
        if wants {
            self.kick.set(true);
        }
    }

    /// What a driver does, by virtio 1.2 §2.7.14, until the used index is `wanted` or the driver sleeps. Returns the index that
    /// it saw last.
    fn await_used(&self, wanted: u16) -> u16 {
        let used = || self.word(Word::UsedIndex).load(Ordering::Acquire);
        let mut seen = used();
        while seen != wanted {
            self.set(Word::UsedEvent, seen);
            self.set(Word::AvailableFlags, 0);
            fence(Ordering::SeqCst);
            let again = used();
            if again == seen {
                break;
            }
            seen = again;
        }
        seen
    }
}

/// Whether there is an order of events in which somebody sleeps over work; a model tells it of one.
fn sleeps_over_work(model: impl Fn() -> bool + Sync + Send + 'static) -> bool {
    let found = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let finds = std::sync::Arc::clone(&found);
    let mut builder = loom::model::Builder::new();
    // Threads are interrupted at most this often where they need not be, else some models take minutes.
    builder.preemption_bound = Some(3);
    builder.check(move || {
        if model() {
            finds.store(true, Ordering::Relaxed);
        }
    });
    found.load(Ordering::Relaxed)
}

/// A poll thread that sleeps when the ring is empty takes two buffers of a driver.
fn kicks(has_event_indices: bool, has_fences: bool) -> bool {
    sleeps_over_work(move || {
        let ring = Arc::new(Ring::new(has_event_indices, has_fences));
        let driver = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.make_available(1);
                ring.make_available(2);
            })
        };
        let mut next = 0;
        while next != 2 && ring.ask_for_kick(next) {
            ring.refuse_kicks(next);
            next = ring.word(Word::AvailableIndex).load(Ordering::Acquire);
        }
        driver.join().expect("nobody panics");
        next != 2 && !ring.kick.is_set()
    })
}

/// A driver that sleeps when nothing was given back sees two buffers come back.
fn notifications(has_event_indices: bool, has_fences: bool) -> bool {
    sleeps_over_work(move || {
        let ring = Arc::new(Ring::new(has_event_indices, has_fences));
        let device = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for index in 1..=2 {
                    ring.tell(index);
                    if ring.is_notification_wanted(index - 1, index) {
                        ring.call.set(true);
                    }
                }
            })
        };
        let seen = ring.await_used(2);
        device.join().expect("nobody panics");
        seen != 2 && !ring.call.is_set()
    })
}

#[test]
fn no_kick_is_lost() {
    assert!(!kicks(false, true));
    assert!(!kicks(true, true));
    assert!(kicks(false, false), "the model finds what a fence prevents");
    assert!(kicks(true, false), "the model finds what a fence prevents");
}

#[test]
fn no_notification_is_lost() {
    assert!(!notifications(false, true));
    assert!(!notifications(true, true));
    assert!(
        notifications(false, false),
        "the model finds what a fence prevents"
    );
    assert!(
        notifications(true, false),
        "the model finds what a fence prevents"
    );
}

/// A bell, and the channel that it is for.
struct Channel {
    flag: AtomicBool,
    doorbell: Event,
    changes: Mutex<VecDeque<u16>>,
}

impl Bell for Channel {
    type Flag = AtomicBool;

    fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    fn press(&self) {
        self.doorbell.set(true);
    }

    fn quiet(&self) {
        self.doorbell.set(false);
    }
}

impl Channel {
    fn send(&self, change: u16) {
        self.changes
            .lock()
            .expect("nobody panics")
            .push_back(change);
        self.ring();
    }

    fn take(&self) -> Option<u16> {
        self.changes.lock().expect("nobody panics").pop_front()
    }
}

/// A poll thread takes two changes, from one thread or two, and sleeps where there is none.
fn changes(is_rung_before_sleep: fn(&Channel) -> bool, senders: u16) -> bool {
    sleeps_over_work(move || {
        let channel = Arc::new(Channel {
            flag: AtomicBool::new(false),
            doorbell: Event::default(),
            changes: Mutex::default(),
        });
        let threads: Vec<_> = (0..senders)
            .map(|_| {
                let channel = Arc::clone(&channel);
                thread::spawn(move || (0..2 / senders).for_each(|n| channel.send(n)))
            })
            .collect();
        let mut taken = 0;
        let mut poll_until_it_sleeps = || {
            while channel.is_rung() || is_rung_before_sleep(&channel) {
                channel.answer();
                while channel.take().is_some() {
                    taken += 1;
                }
            }
            taken
        };
        poll_until_it_sleeps();
        for thread in threads {
            thread.join().expect("nobody panics");
        }
        if channel.doorbell.is_set() {
            poll_until_it_sleeps();
        }
        taken < 2
    })
}

#[test]
fn no_change_is_lost() {
    assert!(!changes(Channel::is_rung_before_sleep, 1));
    assert!(!changes(Channel::is_rung_before_sleep, 2));
    let exchanged = |channel: &Channel| {
        let is_rung = channel.is_rung();
        channel.quiet();
        is_rung
    };
    assert!(
        changes(exchanged, 1),
        "the model finds what the order prevents"
    );
}
