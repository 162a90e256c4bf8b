//! Which packets are metered.

use std::collections::HashMap;

use super::*;

#[test]
fn one_in_n_is_taken_at_random() {
    for one_in in [2, 100, 10_000] {
        let timing = Timing {
            sampling: one_in,
            ..TIMING
        };
        let mut meter = Meter::new(1, timing, 99, 0, |_, _| {});
        let total = 4_000_000u64;
        let mut taken = 0u64;
        let mut gaps = HashMap::<u64, u64>::new();
        let mut since = 0;
        for _ in 0..total {
            since += 1;
            if meter.takes() {
                taken += 1;
                *gaps.entry(since).or_default() += 1;
                since = 0;
            }
        }
        // Binomial: four standard deviations.
        let share = 1.0 / f64::from(one_in);
        let expected = total as f64 * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!((taken as f64 - expected).abs() < 4.0 * deviation, "{taken}");
        // Each packet is asked for itself: one in N gaps is a single packet.
        let single = gaps.get(&1).copied().unwrap_or_default() as f64;
        let expected = taken as f64 * share;
        assert!(
            (single - expected).abs() <= 4.0 * expected.sqrt() + 1.0,
            "{single} of {taken}"
        );
    }
}
