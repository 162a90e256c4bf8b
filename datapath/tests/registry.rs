//! The table of guests' mappings in a model of memory and threads, which loom runs through every order of events and every value
//! that a weakly ordered machine may read. A handler puts zeros where it finds a fault's mapping: it must find the right one,
//! whatever is registered and taken away meanwhile, and count what is lost.

#[path = "../src/vhost/sigbus/slot.rs"]
mod slot;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use slot::Slot;

type Mapping = (usize, usize);
type Fill = fn(&Slot, usize, usize);
type Find = fn(&Slot, usize) -> Option<Mapping>;

fn table<const N: usize>(mappings: [Mapping; N]) -> Arc<[Slot; N]> {
    Arc::new(mappings.map(|(start, len)| Slot {
        start: AtomicUsize::new(start),
        len: AtomicUsize::new(len),
        lost: AtomicBool::new(false),
    }))
}

/// Whether there is an order of events in which a model says so.
fn happens(model: impl Fn() -> bool + Sync + Send + 'static) -> bool {
    let found = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let finds = std::sync::Arc::clone(&found);
    loom::model(move || {
        if model() {
            finds.store(true, Ordering::Relaxed);
        }
    });
    found.load(Ordering::Relaxed)
}

const FAULT: usize = 42;
const IN_USE: Mapping = (40, 10);

/// Whether a fault is taken for one in another mapping, whose slot is filled anew at that moment.
fn is_confused(next: Mapping, fill: Fill, find: Find) -> bool {
    happens(move || {
        let slots = table([(1, 39), IN_USE]);
        let changer = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || {
                slots[0].empty(&AtomicUsize::new(0));
                fill(&slots[0], next.0, next.1);
            })
        };
        let found = slots.iter().find_map(|slot| find(slot, FAULT));
        changer.join().expect("nobody panics");
        found != Some(IN_USE)
    })
}

#[test]
fn a_fault_is_in_the_mapping_that_is_used() {
    // The start of one and the length of the other would have the fault in it.
    let (longer, nearer) = ((50, 50), (35, 5));
    for next in [longer, nearer] {
        assert!(!is_confused(next, Slot::fill, Slot::find));
    }
    let start_first: Fill = |slot, start, len| {
        slot.start.store(start, Ordering::Release);
        slot.len.store(len, Ordering::Release);
    };
    assert!(
        is_confused(nearer, start_first, Slot::find),
        "the model finds what the order prevents"
    );
    let looks_once: Find = |slot, address| {
        let start = slot.start.load(Ordering::Acquire);
        let len = slot.len.load(Ordering::Acquire);
        (start != 0 && address.wrapping_sub(start) < len).then_some((start, len))
    };
    assert!(
        is_confused(longer, Slot::fill, looks_once),
        "the model finds what the second look prevents"
    );
}

/// Whether one who was given a mapping, which lies where another was, does not find it.
fn is_missed(empty: fn(&Slot)) -> bool {
    happens(move || {
        let slots = table([(38, 5), (0, 0)]);
        // How the mapping comes to its user.
        let given = Arc::new(Mutex::new(false));
        let changer = {
            let (slots, given) = (Arc::clone(&slots), Arc::clone(&given));
            thread::spawn(move || {
                empty(&slots[0]);
                assert!(slots[1].is_free());
                slots[1].fill(IN_USE.0, IN_USE.1);
                *given.lock().expect("nobody panics") = true;
            })
        };
        let is_given = *given.lock().expect("nobody panics");
        let found = slots.iter().find_map(|slot| slot.find(FAULT));
        changer.join().expect("nobody panics");
        is_given && found != Some(IN_USE)
    })
}

#[test]
fn a_mapping_is_found_where_another_was() {
    assert!(!is_missed(|slot| slot.empty(&AtomicUsize::new(0))));
    assert!(
        is_missed(|_| {}),
        "the model finds what is left in the table"
    );
}

type Change = fn(&Slot, &AtomicUsize);

/// Whether something is wrong with the count, or with a mark, when the mappings of two files that were truncated are gone. Two
/// threads fault in the one, while the other goes, in which one of them had faulted.
fn is_miscounted(lose: Change, empty: Change) -> bool {
    happens(move || {
        let slots = table([IN_USE, (50, 10)]);
        let lost = Arc::new(AtomicUsize::new(0));
        let fault = || {
            let (slots, lost) = (Arc::clone(&slots), Arc::clone(&lost));
            thread::spawn(move || lose(&slots[0], &lost))
        };
        lose(&slots[1], &lost);
        let faults = [fault(), fault()];
        empty(&slots[1], &lost);
        for thread in faults {
            thread.join().expect("nobody panics");
        }
        let is_one = lost.load(Ordering::Relaxed) == 1;
        let is_marked = slots[0].lost.load(Ordering::Relaxed);
        empty(&slots[0], &lost);
        let is_none = lost.load(Ordering::Relaxed) == 0;
        let marks = slots.iter().any(|slot| slot.lost.load(Ordering::Relaxed));
        !(is_one && is_marked && is_none) || marks
    })
}

#[test]
fn what_is_lost_is_counted_once_until_it_goes() {
    assert!(!is_miscounted(Slot::lose, Slot::empty));
    let looks_first: Change = |slot, lost| {
        if !slot.lost.load(Ordering::Relaxed) {
            slot.lost.store(true, Ordering::Relaxed);
            lost.fetch_add(1, Ordering::Relaxed);
        }
    };
    assert!(
        is_miscounted(looks_first, Slot::empty),
        "the model finds what the swap prevents"
    );
    let adds_alone: Change = |slot, lost| {
        if !slot.lost.swap(true, Ordering::Relaxed) {
            lost.store(lost.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    };
    assert!(
        is_miscounted(adds_alone, Slot::empty),
        "the model finds what two would write to the count"
    );
    let leaves_the_mark: Change = |slot, lost| {
        if slot.lost.load(Ordering::Relaxed) {
            lost.fetch_sub(1, Ordering::Relaxed);
        }
    };
    assert!(
        is_miscounted(Slot::lose, leaves_the_mark),
        "the model finds a mark that stays"
    );
}
