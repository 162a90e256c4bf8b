//! Whatever is sent, and whenever: each packet is in one record.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u32>),
    Wait(u64),
    Leave,
}

proptest! {
    /// Whatever is sent, and whenever: each packet is in one record.
    #[test]
    fn records_sum_up_to_what_was_sent(
        flows in 1usize..40,
        active in 1u64..5,
        idle in 1u64..5,
        steps in prop::collection::vec(
            prop_oneof![
                6 => prop::collection::vec(0u32..60, 1..70).prop_map(Step::Send),
                3 => (0u64..4000).prop_map(Step::Wait),
                1 => Just(Step::Leave),
            ],
            1..40,
        ),
    ) {
        let timing = Timing { active: active * 1000, idle: idle * 1000, sampling: 1 };
        let mut bench = Bench::new(flows, timing);
        let mut sent = HashMap::<u32, u64>::new();
        for step in steps {
            match step {
                Step::Send(numbers) => {
                    for number in &numbers {
                        *sent.entry(*number).or_default() += 1;
                    }
                    let packets: Vec<_> = numbers.into_iter().map(numbered).collect();
                    bench.send(&packets);
                }
                Step::Wait(time) => {
                    bench.now += time;
                    bench.look(true);
                }
                Step::Leave => {
                    bench.now += ROUND;
                    bench.look(false);
                    prop_assert!(bench.meter.is_empty());
                }
            }
        }
        bench.now += 10_000;
        bench.look(true);
        bench.now += 10_000;
        bench.look(true);
        prop_assert!(bench.meter.is_empty());
        let mut told = HashMap::<u32, u64>::new();
        for record in &bench.ended {
            prop_assert!(record.counts.packets > 0);
            prop_assert_eq!(record.counts.octets, 28 * record.counts.packets);
            prop_assert!(record.counts.first <= record.counts.last);
            let Addresses::V4(_, to) = record.flow.addresses else { panic!("{record:?}") };
            *told.entry(to.to_bits()).or_default() += record.counts.packets;
        }
        prop_assert_eq!(told, sent);
    }
}
