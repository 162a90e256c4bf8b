//! Who has room, and who is looked at when.

use super::*;

/// Who was seen again stays, and nothing is lost of those that have to go.
#[test]
fn a_full_table_lets_go_of_who_was_seen_once() {
    let mut bench = Bench::new(1000, TIMING);
    let regulars: Vec<_> = (0..200).map(numbered).collect();
    bench.send(&regulars);
    bench.send(&regulars);
    let mut number = 1000;
    for _ in 0..100 {
        bench.send(&regulars);
        let strangers: Vec<_> = (number..number + 200).map(numbered).collect();
        bench.send(&strangers);
        number += 200;
    }
    let evicted = bench.meter.tally().evicted;
    assert!(evicted > 15_000, "{evicted}");
    assert_eq!(evicted, bench.ended.len() as u64);
    let lost = bench
        .ended
        .iter()
        .filter(|record| record.counts.packets > 1);
    assert!(lost.count() as u64 <= evicted / 1000, "regulars stay");
    bench.now += 60_000;
    bench.look(true);
    let packets: u64 = bench.ended.iter().map(|end| end.counts.packets).sum();
    assert_eq!(packets, 200 * 102 + 100 * 200);
}

/// So many flows as were asked for find room.
#[test]
fn a_table_holds_what_it_is_made_for() {
    for flows in [1, 100, 10_000, 100_000] {
        let mut bench = Bench::new(flows, TIMING);
        let all: Vec<_> = (0..flows as u32).map(numbered).collect();
        bench.send(&all);
        let evicted = bench.meter.tally().evicted as usize;
        assert!(evicted <= flows / 1000, "{evicted} of {flows}");
        assert_eq!(bench.meter.len() + evicted, flows);
    }
}

#[test]
fn a_table_takes_130_octets_for_each_flow_of_its_room() {
    for flows in [10_000, 1_000_000] {
        let octets = std::cell::Cell::new(0);
        let count = |_, more: usize| octets.set(octets.get() + more);
        let meter = Meter::new(flows, TIMING, 1, 0, count);
        assert!(meter.is_empty());
        let each = octets.get().div_ceil(flows);
        assert_eq!(each, 130, "{flows} flows");
    }
}

/// However late the thread looks, everything is looked at once in a round, so many at a time.
#[test]
fn flows_are_looked_at_in_turn() {
    let mut bench = Bench::new(100_000, TIMING);
    let all: Vec<_> = (0..10_000).map(numbered).collect();
    bench.send(&all);
    bench.now += TIMING.idle + ROUND;
    let places = (bench.meter.table.sets() * WAYS) as u64;
    let mut goes = 0;
    while bench.meter.look(bench.now, |_| true, |_| {}) {
        goes += 1;
    }
    assert_eq!(goes, places / LOOKED_AT_ONCE as u64);
    assert!(bench.meter.is_empty());
}
