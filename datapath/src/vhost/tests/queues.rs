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

/// Reported by the queue before until the very moment in which the next one takes its place.
#[test]
fn a_fault_goes_with_its_queue() {
    let (broken, sound) = (driver(SIZE + 1), driver(0));
    let faults = Arc::new(Faults::default());
    let mut burst = Burst::default();

    let (mut rx, control) = Rx::new(0, Arc::clone(&faults)).expect("descriptors");
    for (driver, is_broken) in [(&broken, true), (&sound, false)] {
        std::thread::scope(|scope| {
            let replaced = scope.spawn(|| control.replace(Some(queue(driver))));
            while !replaced.is_finished() {
                rx.receive(&mut burst);
            }
        });
        rx.receive(&mut burst);
        assert_eq!(faults.reason().is_some(), is_broken);
    }

    let mut tx = Tx::new(1, Arc::clone(&faults));
    tx.replace(0, Some(queue(&broken)));
    let copy = Outgoing {
        frame: 0,
        edit: TagEdit::Keep,
    };
    tx.transmit(&burst, [copy].into_iter(), |_, sent| {
        assert_eq!(sent, Err(DropReason::PortDown));
    });
    assert!(faults.reason().is_some());
    tx.replace(0, Some(queue(&sound)));
    assert_eq!(faults.reason(), None);
}
