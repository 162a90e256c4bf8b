//! Chains of every shape, with and without faults, through rings of every size and over the wrap of the indices.

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Desc, Driver, GUEST, REGION, TABLES};
use crate::vhost::memory::Memory;
use crate::vhost::ring::{Access, BadChain, BadRing, Broken, Chain, Layout, MOST_BUFFERS, Ring};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The last buffer ends one octet beyond its region.
    Beyond,
    /// The last buffer wraps around the address space.
    Wraps,
    /// The last buffer has no octets, at an address that is none.
    Empty,
    /// The last buffer has 2^32 - 1 octets.
    Huge,
    /// The last buffer is for the other direction.
    Direction,
    /// The last descriptor leads to the first.
    Circle,
    /// The last descriptor leads out of the table.
    Next,
    /// The last descriptor of the table is a table.
    Nested,
}

impl Fault {
    fn error(self, is_indirect: bool) -> Option<BadChain> {
        match self {
            Self::Nothing => None,
            Self::Beyond | Self::Wraps | Self::Huge => Some(BadChain::Address),
            Self::Empty => Some(BadChain::Empty),
            Self::Direction => Some(BadChain::Direction),
            // Longer than the bound, in buffers or octets, whichever is first.
            Self::Circle => Some(BadChain::TooLong),
            Self::Next => Some(BadChain::Next),
            Self::Nested if is_indirect => Some(BadChain::Indirect),
            Self::Nested => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Wanted {
    /// Region, offset and length of each buffer.
    buffers: Vec<(usize, u64, u32)>,
    is_indirect: bool,
    fault: Fault,
    written: u32,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let buffer = (0usize..2, 0xc_0000..0xf_0000u64, 1u32..2000);
    let fault = prop_oneof![
        10 => Just(Fault::Nothing),
        1 => prop::sample::select(vec![
            Fault::Beyond,
            Fault::Wraps,
            Fault::Empty,
            Fault::Huge,
            Fault::Direction,
            Fault::Circle,
            Fault::Next,
            Fault::Nested,
        ]),
    ];
    (vec(buffer, 1..=8), any::<bool>(), fault, any::<u32>()).prop_map(
        |(buffers, is_indirect, fault, written)| Wanted {
            buffers,
            is_indirect,
            fault: if fault == Fault::Nested && !is_indirect {
                Fault::Nothing
            } else {
                fault
            },
            written,
        },
    )
}

/// Writes a chain, and says where its head is.
fn write(driver: &Driver, wanted: &Wanted, first: u16, access: Access) -> u16 {
    let direction = if access == Access::Write { WRITE } else { 0 };
    // A chain that is not in a table takes descriptors in steps of 3, which is coprime to every size.
    let index = |n: usize| {
        if wanted.is_indirect {
            n as u16
        } else {
            first.wrapping_add(3 * n as u16) & (driver.size - 1)
        }
    };
    let count = wanted.buffers.len();
    let mut table: Vec<Desc> = (0..count)
        .map(|n| {
            let (region, offset, len) = wanted.buffers[n];
            Desc {
                address: GUEST[region] + offset,
                len,
                flags: direction | if n + 1 < count { NEXT } else { 0 },
                next: if n + 1 < count { index(n + 1) } else { 0 },
            }
        })
        .collect();
    let last = &mut table[count - 1];
    let region = wanted.buffers[count - 1].0;
    match wanted.fault {
        Fault::Nothing => {}
        Fault::Beyond => last.address = GUEST[region] + REGION - u64::from(last.len) + 1,
        Fault::Wraps => last.address = u64::MAX,
        Fault::Empty => (last.address, last.len) = (u64::MAX, 0),
        Fault::Huge => last.len = u32::MAX,
        Fault::Direction => last.flags ^= WRITE,
        Fault::Circle => (last.flags, last.next) = (last.flags | NEXT, index(0)),
        Fault::Next => {
            last.flags |= NEXT;
            last.next = if wanted.is_indirect {
                count as u16
            } else {
                driver.size
            };
        }
        Fault::Nested => (last.address, last.len, last.flags) = (GUEST[1] + TABLES, 16, INDIRECT),
    }
    if wanted.is_indirect {
        driver.write_table(TABLES, &table);
        let head = Desc {
            address: GUEST[1] + TABLES,
            len: 16 * count as u32,
            flags: INDIRECT,
            next: 0,
        };
        driver.write_descriptor(first, head);
    } else {
        for (n, desc) in table.into_iter().enumerate() {
            driver.write_descriptor(index(n), desc);
        }
    }
    first
}

fn place(memory: &Memory, &(region, offset, len): &(usize, u64, u32)) -> (u64, usize) {
    let address = GUEST[region] + offset;
    let view = memory.view(address).expect("in the region");
    let start = view.find(address, len.into()).expect("in the region");
    (start.as_ptr() as u64, len as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chains_are_walked_as_written(
        power in 4u32..=15,
        base in prop_oneof![Just(0u16), 65_500..=65_535u16, any::<u16>()],
        receives: bool,
        bursts in vec(vec(wanted(), 1..6), 1..12),
    ) {
        let access = if receives { Access::Write } else { Access::Read };
        let mut driver = Driver::new(1 << power, base);
        let memory = driver.memory();
        let mut ring = Ring::new(memory.clone(), &driver.layout(), false).expect("a ring");
        let mut chain = Chain::new();
        for burst in bursts {
            let mut expected = Vec::new();
            for (n, wanted) in burst.iter().enumerate() {
                // One at a time is written, since chains may share descriptors here.
                let first = base.wrapping_add(5 * n as u16) & (driver.size - 1);
                let head = write(&driver, wanted, first, access);
                driver.offer(head);
                prop_assert_eq!(ring.available(1), Ok(1));
                prop_assert_eq!(ring.head(0), Ok(head));
                let walked = ring.walk(head, access, &mut chain);
                match wanted.fault.error(wanted.is_indirect) {
                    None => {
                        prop_assert_eq!(walked, Ok(()));
                        let got: Vec<_> = chain.iter().map(|b| (b.start.as_ptr() as u64, b.len)).collect();
                        let places: Vec<_> = wanted.buffers.iter().map(|buffer| place(&memory, buffer)).collect();
                        prop_assert_eq!(got, places);
                    }
                    Some(BadChain::TooLong) => {
                        let bounded = matches!(walked, Err(BadChain::TooLong | BadChain::TooLarge));
                        prop_assert!(bounded, "{:?}", walked);
                        prop_assert!(chain.len() <= MOST_BUFFERS);
                    }
                    Some(error) => prop_assert_eq!(walked, Err(error)),
                }
                ring.take(1);
                ring.give_back(&[(head, wanted.written)]);
                expected.push((u32::from(head), wanted.written));
            }
            prop_assert_eq!(driver.take_used(), [], "nothing is told before it is published");
            ring.publish();
            prop_assert_eq!(driver.take_used(), expected);
            prop_assert_eq!(ring.available(1), Ok(0));
            prop_assert_eq!(ring.base(), driver.available());
        }
    }

    /// The rule of virtio 1.2 §2.7.7.2 in plain words: tell if the wanted index was passed since the last telling.
    #[test]
    fn notifications_come_when_they_are_wanted(
        base: u16,
        steps in vec((1u16..6, 0u16..12), 1..40),
        event_index: bool,
    ) {
        let mut driver = Driver::new(16, base);
        let mut ring = Ring::new(driver.memory(), &driver.layout(), event_index).expect("a ring");
        let mut told = base;
        for (count, ahead) in steps {
            let event = told.wrapping_add(ahead);
            driver.write_used_event(event);
            driver.write_flags(u16::from(ahead % 2 == 1));
            for _ in 0..count {
                driver.offer(0);
                prop_assert_eq!(ring.available(1), Ok(1));
                ring.take(1);
                ring.give_back(&[(0, 0)]);
            }
            ring.publish();
            let wanted = if event_index { ahead < count } else { ahead % 2 == 0 };
            prop_assert_eq!(ring.wants_notification(), wanted);
            prop_assert!(!ring.wants_notification(), "once is enough");
            told = told.wrapping_add(count);
            driver.take_used();
        }
    }
}

#[test]
fn kicks_are_armed_without_losing_one() {
    for event_index in [false, true] {
        let mut driver = Driver::new(16, 65_530);
        let mut ring = Ring::new(driver.memory(), &driver.layout(), event_index).expect("a ring");
        for _ in 0..20 {
            ring.suppress_kicks();
            let wanted = |driver: &Driver| {
                if event_index {
                    driver.available_event() == driver.available()
                } else {
                    driver.device_flags() == 0
                }
            };
            assert!(!wanted(&driver));
            assert!(!ring.arm_kicks(), "nothing is there");
            assert!(wanted(&driver));
            driver.offer(0);
            assert!(ring.arm_kicks(), "there is one, whose kick may not come");
            assert_eq!(ring.available(1), Ok(1));
            ring.take(1);
        }
    }
}

#[test]
fn an_impossible_index_breaks_the_ring() {
    let mut driver = Driver::new(16, 65_530);
    let mut ring = Ring::new(driver.memory(), &driver.layout(), false).expect("a ring");
    driver.write_available(65_530u16.wrapping_add(16));
    assert_eq!(ring.available(1), Ok(16));
    for ahead in [17, 0x8000, 0xffff] {
        let mut ring = Ring::new(driver.memory(), &driver.layout(), false).expect("a ring");
        driver.write_available(65_530u16.wrapping_add(ahead));
        assert_eq!(ring.available(1), Err(Broken::AvailableIndex), "{ahead}");
    }
    driver.offer(16);
    let mut ring = Ring::new(driver.memory(), &driver.layout(), false).expect("a ring");
    assert_eq!(ring.available(1), Ok(1));
    assert_eq!(ring.head(0), Err(Broken::Head));
}

#[test]
fn a_ring_that_cannot_be_is_refused() {
    let driver = Driver::new(16, 0);
    let right = driver.layout();
    let fails = |layout: &Layout| Ring::new(driver.memory(), layout, true).err();
    assert_eq!(fails(&right), None);
    for size in [0, 3, 100, 65535] {
        let layout = Layout {
            size,
            ..right.clone()
        };
        assert_eq!(fails(&layout), Some(BadRing::Size(size)));
    }
    let mut elsewhere = right.clone();
    elsewhere.used = 4096;
    assert_eq!(fails(&elsewhere), Some(BadRing::Address));
    let mut odd = right.clone();
    odd.descriptors += 8;
    assert_eq!(fails(&odd), Some(BadRing::Alignment));
    let mut end = right;
    end.available = end.descriptors + REGION - 36;
    assert_eq!(fails(&end), Some(BadRing::Address));
}

#[test]
fn tables_of_odd_sizes_are_refused() {
    let mut driver = Driver::new(16, 0);
    let mut ring = Ring::new(driver.memory(), &driver.layout(), false).expect("a ring");
    let mut chain = Chain::new();
    for (len, flags) in [
        (0, INDIRECT),
        (8, INDIRECT),
        (17, INDIRECT),
        (16, INDIRECT | NEXT),
    ] {
        let head = Desc {
            address: GUEST[1] + TABLES,
            len,
            flags,
            next: 1,
        };
        driver.write_descriptor(0, head);
        driver.offer(0);
        assert_eq!(
            ring.walk(0, Access::Read, &mut chain),
            Err(BadChain::Indirect)
        );
    }
}
