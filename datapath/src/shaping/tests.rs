use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn limit(average: u64, peak: u64, burst: u64) -> ShapeConfig {
    ShapeConfig {
        average,
        peak,
        burst,
    }
}

/// Sends frames of `len` octets whenever the bucket lets one begin, from `start` for `ns`. Returns the octets sent.
fn full_load(bucket: &Bucket, len: usize, start: u64, ns: u64) -> u64 {
    let (mut now, mut sent) = (start, 0);
    while now < start + ns {
        if bucket.octets(now) > 0 {
            bucket.charge(len, now);
            sent += len as u64;
        } else {
            let next = bucket.opens_at();
            assert!(next > now, "closed, and open at {next} <= {now}");
            now = next;
        }
    }
    sent
}

fn is_within(octets: u64, rate: u64, ns: u64, percent: f64) -> bool {
    let expected = rate as f64 / 8.0 * ns as f64 / SECOND_NS as f64;
    (octets as f64 - expected).abs() <= expected * percent / 100.0
}

#[test]
fn the_average_is_kept_for_all_frames_and_rates() {
    for (rate, len, seconds) in [
        (10_000, 64, 100),
        (10_000, 1500, 1000),
        (10_000_000, 1514, 10),
        (1_000_000_000, 64, 1),
        (1_000_000_000, 65_550, 1),
        (10_000_000_000, 64, 1),
        (10_000_000_000, 9014, 1),
        (100_000_000_000, 64, 1),
    ] {
        let bucket = Bucket::new(limit(rate, rate, 2000));
        let start = 123_456_789_123_456_789;
        let sent = full_load(&bucket, len, start, seconds * SECOND_NS);
        // What the peak lets pass at once is 5 ms of it.
        let percent = if rate > 10_000_000_000 { 1.9 } else { 0.6 };
        assert!(
            is_within(
                sent,
                rate,
                seconds * SECOND_NS,
                percent + 100.0 * len as f64 / sent as f64
            ),
            "{sent} octets in frames of {len} in {seconds} s at {rate} bit/s"
        );
    }
}

/// Time at the peak from idle is burst · 8 / (peak − average).
#[test]
fn the_peak_lasts_as_long_as_the_burst() {
    for (average, peak, burst) in [
        (10_000_000, 100_000_000, 10_000_000),
        (100_000_000, 1_000_000_000, 50_000_000),
        (1_000_000, 1_500_000, 300_000),
    ] {
        let bucket = Bucket::new(limit(average, peak, burst));
        let at_peak = (burst as f64 * 8.0 / (peak - average) as f64 * 1e9) as u64;
        let mut now = 77;
        let step = at_peak / 50;
        for n in 0..100 {
            let sent = full_load(&bucket, 1000, now, step);
            now += step;
            let rate = match n {
                // The small bucket's depth is sent at once, which the last interval at the peak misses.
                0 | 47..=52 => continue,
                1..=46 => peak,
                _ => average,
            };
            let percent = 3.0 + 200_000.0 / sent as f64;
            assert!(
                is_within(sent, rate, step, percent),
                "{sent} octets in interval {n} at {average}/{peak} bit/s"
            );
        }
    }
}

#[test]
fn a_burst_beyond_all_measure_and_a_rate_of_nothing_are_limits_too() {
    let wide = Bucket::new(limit(u64::MAX, u64::MAX, u64::MAX));
    assert_eq!(wide.octets(0), usize::MAX);
    wide.charge(PLENTY, 1);
    assert_eq!(wide.octets(1), usize::MAX);
    let none = Bucket::new(limit(0, 0, 0));
    assert_eq!(none.octets(5), 1);
    none.charge(64, 5);
    assert_eq!(none.octets(SECOND_NS), 0);
    assert!(none.opens_at() >= 64 * 8 * SECOND_NS);
    assert!(none.octets(none.opens_at()) > 0);
    let slow = Bucket::new(limit(1, 1, u64::MAX));
    slow.charge(usize::MAX, 5);
    assert_eq!((slow.octets(6), slow.opens_at() > SECOND_NS), (0, true));
}

#[test]
fn what_was_used_stays_used_when_the_settings_change() {
    let now = 5 * SECOND_NS;
    let bucket = Bucket::new(limit(8_000_000, 80_000_000, 1_000_000));
    bucket.charge(400_000, now);
    // Past what holds the peak back.
    let now = now + SECOND_NS / 10;
    let left = |bucket: &Bucket| bucket.average.octets(now * PARTS);
    assert_eq!(left(&bucket), 700_000);
    let faster = bucket.with(limit(16_000_000, 80_000_000, 1_000_000), now);
    assert!(left(&faster).abs_diff(700_000) <= 1);
    let deeper = faster.with(limit(8_000_000, 80_000_000, 2_000_000), now);
    assert!(left(&deeper).abs_diff(1_700_000) <= 2);
    // No debt comes of a smaller burst: the port goes on at its average.
    let smaller = deeper.with(limit(8_000, 8_000, 1_000), now);
    assert_eq!(smaller.octets(now), 0);
    assert!(smaller.opens_at() <= now + 1_000_000);
}

/// No charge is lost between threads.
#[test]
fn threads_charge_one_bucket() {
    let bucket = Bucket::new(limit(8_000_000, 8_000_000, 1_000_000_000));
    let start = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                (0..5_000_000).for_each(|_| bucket.charge(100, 1));
            });
        }
    });
    // A microsecond for each octet.
    let spent = bucket.average.full_at.load(Ordering::Relaxed) / PARTS - 1;
    assert_eq!(spent, 2 * 5_000_000 * 100 * 1000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whoever sends whatever whenever: in no window more passes than the burst, what comes in meanwhile, and the rest of
    /// one frame; nor more than the peak lets pass.
    #[test]
    fn no_window_exceeds_the_limit(
        average in 10_000u64..20_000_000_000,
        times in 1.0f64..20.0,
        burst in 64u64..10_000_000,
        steps in vec((0u64..3_000_000, vec(60usize..70_000, 1..8)), 1..100),
    ) {
        let peak = (average as f64 * times) as u64;
        let bucket = Bucket::new(limit(average, peak, burst));
        let mut now = 1_000_000_007;
        let mut sent: Vec<(u64, u64)> = Vec::new();
        for (wait, frames) in steps {
            now += wait;
            let mut octets = bucket.octets(now);
            let mut passed = 0;
            for len in frames {
                if octets == 0 {
                    break;
                }
                octets = octets.saturating_sub(len);
                passed += len;
            }
            if passed > 0 {
                bucket.charge(passed, now);
                sent.push((now, passed as u64));
            }
        }
        let peak_burst = (peak as f64 / 8.0 * PEAK_DEPTH_NS as f64 / 1e9).min(burst as f64);
        for first in 0..sent.len() {
            let mut octets = 0;
            for &(at, passed) in &sent[first..] {
                octets += passed;
                let seconds = (at - sent[first].0) as f64 / 1e9;
                let most = |burst: f64, rate: u64| burst + rate as f64 / 8.0 * seconds + 70_001.0;
                prop_assert!(octets as f64 <= most(burst as f64, average));
                prop_assert!(octets as f64 <= most(peak_burst, peak));
            }
        }
    }
}
