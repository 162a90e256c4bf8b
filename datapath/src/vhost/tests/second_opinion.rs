//! rust-vmm's queue walks the same descriptors: what it finds in order and whole is what the ring finds, and nothing else.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueOwnedT};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

use super::driver::file;
use crate::vhost::memory::{Memory, RegionSpec};
use crate::vhost::ring::{Access, BadChain, Chain, Layout, Ring};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

const SIZE: u16 = 32;
const MEMORY: u64 = 1 << 20;
const USER: u64 = 0x7000_0000_0000;

/// Where buffers and tables are.
const BUFFERS: std::ops::Range<u64> = 0x1_0000..0x2_0000;
const TABLES: u64 = 0x8_0000;

/// A descriptor, mostly as it should be.
fn descriptor(entries: u16) -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![
        40 => BUFFERS,
        1 => MEMORY - 1000..MEMORY + 1000,
        1 => any::<u64>(),
    ];
    let len = prop_oneof![40 => 1u32..2000, 1 => any::<u32>()];
    let flags =
        prop_oneof![10 => Just(NEXT), 10 => Just(0), 1 => Just(WRITE), 1 => Just(NEXT | WRITE)];
    let next = prop_oneof![30 => 0..entries, 1 => any::<u16>()];
    (address, len, flags, next)
}

fn raw((address, len, flags, next): (u64, u32, u16, u16)) -> RawDescriptor {
    RawDescriptor::from(Descriptor::new(address, len, flags, next))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_chains_are_seen(
        direct in vec(descriptor(SIZE), usize::from(SIZE)),
        tables in vec(vec(descriptor(8), 1..8), 0..6),
        // No more than the mock has room for: its used ring starts in the middle of its available ring.
        heads in vec(0..SIZE, 1..12),
    ) {
        let memfd = file(MEMORY);
        let theirs = {
            let offset = FileOffset::new(memfd.try_clone().expect("a descriptor"), 0);
            let range = (GuestAddress(0), MEMORY as usize, Some(offset));
            GuestMemoryMmap::<()>::from_ranges_with_files([range]).expect("a mapping")
        };
        let mock = MockSplitQueue::new(&theirs, SIZE);
        for (index, &descriptor) in direct.iter().enumerate() {
            mock.desc_table().store(index as u16, raw(descriptor)).expect("an entry");
        }
        // Tables stand in the place of the first direct descriptors.
        let mut at = TABLES;
        for (index, table) in tables.iter().enumerate() {
            let len = 16 * table.len() as u32;
            let head = raw((at, len, INDIRECT, 0));
            mock.desc_table().store(index as u16, head).expect("an entry");
            for &entry in table {
                theirs.write_obj(raw(entry), GuestAddress(at)).expect("in the memory");
                at += 16;
            }
        }
        for (slot, &head) in heads.iter().enumerate() {
            let place = mock.avail().ring().ref_at(slot).expect("a slot");
            place.store(head.to_le());
        }
        mock.avail().idx().store((heads.len() as u16).to_le());

        let spec = RegionSpec { guest: 0, len: MEMORY, user: USER, offset: 0 };
        let memory = Arc::new(Memory::new(vec![(spec, memfd)]).expect("a region"));
        let layout = Layout {
            size: SIZE,
            descriptors: USER + mock.desc_table_addr().0,
            available: USER + mock.avail_addr().0,
            // What this ring writes must not change what that one reads.
            used: USER + 0xc_0000,
        };
        let mut ring = Ring::new(Arc::clone(&memory), &layout, false).expect("a ring");
        let start = memory.user(USER, MEMORY).expect("all of it").as_ptr() as u64;

        let mut queue: Queue = mock.create_queue().expect("a queue");
        let chains = queue.iter(&theirs).expect("a queue that is right");
        let mut count = 0;
        for chain in chains {
            prop_assert_eq!(ring.available(1), Ok(heads.len() as u16 - count));
            prop_assert_eq!(ring.head(0), Ok(chain.head_index()));
            let head = chain.head_index();
            let found: Vec<Descriptor> = chain.collect();
            // It leaves to its user what buffers are like, and ends without a word where a link leads nowhere or in circles.
            let in_memory = |buffer: &Descriptor| {
                let end = buffer.addr().0.checked_add(buffer.len().into());
                buffer.len() > 0 && end.is_some_and(|end| end <= MEMORY)
            };
            let is_right = found.last().is_some_and(|last| last.flags() & NEXT == 0)
                && found.iter().all(|buffer| in_memory(buffer) && buffer.flags() & (WRITE | INDIRECT) == 0);
            let mut own = Chain::new();
            let walked = ring.walk(head, Access::Read, &mut own);
            // It has no bound for the octets of a chain.
            let octets: u64 = found.iter().map(|buffer| u64::from(buffer.len())).sum();
            let is_too_large = octets > 128 << 10 && walked == Err(BadChain::TooLarge);
            prop_assert!(walked.is_ok() == is_right || is_too_large, "{:?} {:?}", walked, found);
            if walked.is_ok() {
                let own: Vec<_> = own.iter().map(|b| (b.start.as_ptr() as u64 - start, b.len as u32)).collect();
                let found: Vec<_> = found.iter().map(|b| (b.addr().0, b.len())).collect();
                prop_assert_eq!(own, found);
            }
            ring.take(1);
            count += 1;
        }
        prop_assert_eq!(usize::from(count), heads.len());
    }
}
