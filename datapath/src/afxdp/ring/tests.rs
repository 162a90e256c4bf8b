//! Rings against an oracle: two queues whose every step is obvious.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::mm::MapFlags;

use super::*;

/// Both ends of a ring in ordinary memory, whose indices start at `start`.
fn twin(size: u32, start: u32) -> (Producer<u64>, Consumer<u64>) {
    let layout = Layout {
        producer: 0,
        consumer: 64,
        flags: Some(128),
        entries: 192,
    };
    let len = layout.entries + size as usize * size_of::<u64>();
    let memory = Arc::new(Mapping::anonymous(len, MapFlags::empty()).unwrap());
    for offset in [layout.producer, layout.consumer] {
        let index = memory.at(offset, 4).cast::<AtomicU32>();
        // SAFETY: inside the mapping, aligned to 64 bytes of a page, and only used as an atomic.
        unsafe { index.as_ref() }.store(start, Ordering::Relaxed);
    }
    // SAFETY: the memory was made for this layout, and each end is made once.
    unsafe {
        (
            Producer::new(Arc::clone(&memory), layout, size),
            Consumer::new(memory, layout, size),
        )
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(u8),
    Publish,
    Pop(u8),
    Release,
    Room(u8),
    Available(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..20u8).prop_map(Op::Push),
        Just(Op::Publish),
        (0..20u8).prop_map(Op::Pop),
        Just(Op::Release),
        (0..20u8).prop_map(Op::Room),
        (0..20u8).prop_map(Op::Available),
    ]
}

/// What a ring is: a queue in four stages. An entry is pushed, published, taken, and its slot released.
struct Oracle {
    size: usize,
    next: u64,
    pushed: VecDeque<u64>,
    published: VecDeque<u64>,
    taken: usize,
}

impl Oracle {
    fn free(&self) -> usize {
        self.size - self.pushed.len() - self.published.len() - self.taken
    }
}

fn model(size: u32, start: u32, ops: &[Op]) {
    let (mut producer, mut consumer) = twin(size, start);
    let mut oracle = Oracle {
        size: size as usize,
        next: 0,
        pushed: VecDeque::new(),
        published: VecDeque::new(),
        taken: 0,
    };
    for op in ops {
        match *op {
            Op::Push(count) => {
                for _ in 0..count {
                    let fits = oracle.free() > 0;
                    assert_eq!(producer.push(oracle.next), fits);
                    if fits {
                        oracle.pushed.push_back(oracle.next);
                        oracle.next += 1;
                    }
                }
            }
            Op::Publish => {
                producer.publish();
                oracle.published.append(&mut oracle.pushed);
            }
            Op::Pop(count) => {
                for _ in 0..count {
                    let expected = oracle.published.pop_front();
                    assert_eq!(consumer.pop(), expected);
                    oracle.taken += usize::from(expected.is_some());
                }
            }
            Op::Release => {
                consumer.release();
                oracle.taken = 0;
            }
            Op::Room(wanted) => {
                let wanted = u32::from(wanted).min(size);
                assert_eq!(
                    producer.room(wanted) >= wanted,
                    oracle.free() >= wanted as usize
                );
            }
            Op::Available(wanted) => {
                let wanted = u32::from(wanted).min(size);
                let available = consumer.available(wanted);
                assert_eq!(
                    available >= wanted,
                    oracle.published.len() >= wanted as usize
                );
                for ahead in 0..available {
                    assert_eq!(
                        consumer.peek(ahead),
                        oracle.published.get(ahead as usize).copied()
                    );
                }
                assert_eq!(consumer.peek(available), None);
            }
        }
        assert_eq!(consumer.is_empty(), oracle.published.is_empty());
        let unconsumed = oracle.pushed.len() + oracle.published.len() + oracle.taken;
        assert_eq!(producer.unconsumed() as usize, unconsumed);
    }
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(
        size_log2 in 0..6u32,
        start in prop_oneof![Just(0), Just(u32::MAX), u32::MAX - 70..=u32::MAX, any::<u32>()],
        ops in prop::collection::vec(op(), 0..200),
    ) {
        model(1 << size_log2, start, &ops);
    }
}

#[test]
fn carries_entries_between_threads_across_the_wrap() {
    const ENTRIES: u64 = 200_000;
    let deadline = Instant::now() + Duration::from_secs(30);
    let check = || assert!(Instant::now() < deadline, "the ring is stuck");
    let (mut producer, mut consumer) = twin(64, u32::MAX - 1000);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < ENTRIES {
                while next < ENTRIES && producer.push(next) {
                    next += 1;
                }
                producer.publish();
                check();
                std::thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < ENTRIES {
            while let Some(entry) = consumer.pop() {
                assert_eq!(entry, expected);
                expected += 1;
            }
            consumer.release();
            check();
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_wild_index_stops_the_ring() {
    let (producer, mut consumer) = twin(8, 0);
    // SAFETY: inside the mapping and only used as an atomic.
    unsafe { producer.0.own.as_ref() }.store(1000, Ordering::Release);
    assert_eq!(consumer.available(8), 0);
    assert_eq!(consumer.pop(), None);
}
