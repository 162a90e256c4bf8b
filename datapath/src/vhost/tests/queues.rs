//! Queues that stop at a fault and start again.

use std::sync::Arc;

use weft_packet::TagEdit;

use super::driver::Driver;
use crate::engine::Outgoing;
use crate::frame::Burst;
use crate::vhost::queue::{Faults, Queue};
use crate::vhost::ring::Ring;
use crate::vhost::{Rx, Tx};
use crate::{DropReason, Offloads};

const SIZE: u16 = 8;

fn queue(driver: &Driver) -> Queue {
    Queue {
        ring: Ring::new(driver.memory(), &driver.layout(), false).expect("a ring"),
        kick: None,
        call: None,
        merges: true,
        reads_header: false,
        offloads: Offloads::NONE,
    }
}

/// A driver with this next available index, which is wrong where it is more than a ring ahead.
fn driver(available: u16) -> Driver {
    let driver = Driver::new(SIZE, 0);
    driver.write_available(available);
    driver
}

/// Reported by the queue before until the very moment in which the next one takes its place, or none does.
#[test]
fn a_fault_goes_with_its_queue() {
    let (broken, sound) = (driver(SIZE + 1), driver(0));
    let faults = Arc::new(Faults::default());
    let mut burst = Burst::default();

    let (mut rx, control) = Rx::new(0, Arc::clone(&faults)).expect("descriptors");
    for (driver, is_broken) in [
        (Some(&broken), true),
        (Some(&sound), false),
        (Some(&broken), true),
        (None, false),
    ] {
        std::thread::scope(|scope| {
            let replaced = scope.spawn(|| control.replace(driver.map(queue)));
            while !replaced.is_finished() {
                rx.receive(&mut burst);
            }
        });
        rx.receive(&mut burst);
        assert_eq!(faults.reason().is_some(), is_broken);
    }

    let mut tx = Tx::new(1, Arc::clone(&faults));
    let copy = Outgoing {
        frame: 0,
        edit: TagEdit::Keep,
    };
    for next in [Some(&sound), None] {
        tx.replace(0, Some(queue(&broken)));
        tx.transmit(&burst, [copy].into_iter(), |_, sent| {
            assert_eq!(sent, Err(DropReason::PortDown));
        });
        assert!(faults.reason().is_some());
        tx.replace(0, next.map(queue));
        assert_eq!(faults.reason(), None);
    }
}
