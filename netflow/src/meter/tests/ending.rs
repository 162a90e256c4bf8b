//! When records are made, and why.

use weft_packet::ethertype;

use super::*;

/// Who looks at flows may read its clock less often than who counts them.
#[test]
fn a_flow_of_a_moment_to_come_goes_on() {
    let mut bench = Bench::new(10, TIMING);
    bench.send(&[numbered(1)]);
    bench.now += 4;
    bench.send(&[numbered(1)]);
    bench.now -= 4;
    bench.meter.look_at_all();
    assert_eq!(bench.wait(500), None);
    bench.now -= 504;
    bench.send(&[numbered(1)]);
    bench.look(false);
    bench.now += 1_000;
    let (_, ended) = bench.wait(20_000).unwrap();
    let counts = ended[0].counts;
    assert_eq!((counts.first, counts.last, counts.packets), (1000, 1004, 3));
}

#[test]
fn a_flow_ends_when_it_is_idle() {
    let mut bench = Bench::new(1000, TIMING);
    bench.send(&[numbered(1), numbered(1), numbered(2)]);
    bench.now += 10_000;
    bench.look(true);
    bench.send(&[numbered(1)]);
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((5_000..=5_500).contains(&after), "{after}");
    assert_eq!(ended[0].reason, EndReason::Idle);
    assert_eq!(ended[0].flow, numbered(2).key.flow());
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((9_500..=10_500).contains(&after), "{after}");
    let counts = ended[0].counts;
    assert_eq!((counts.packets, counts.octets), (3, 3 * 28));
    assert_eq!((counts.first, counts.last), (1000, 11_000));
    assert!(bench.meter.is_empty());
    assert_eq!(bench.meter.next_look(), None);
}

#[test]
fn a_flow_that_goes_on_is_told_in_parts() {
    let mut bench = Bench::new(1000, TIMING);
    let mut sent = 0;
    let mut told = Vec::new();
    while bench.now < 150_000 {
        bench.send(&[numbered(1)]);
        sent += 1;
        bench.now += 100;
        bench.look(true);
        told.append(&mut bench.ended);
    }
    assert_eq!(told.len(), 2);
    for part in &told {
        assert_eq!(part.reason, EndReason::Active);
        let lasted = part.counts.last - part.counts.first;
        assert!((59_900..=60_500).contains(&lasted), "{lasted}");
    }
    // Parts do not overlap, and the rest comes at the end; one that has nothing to tell does not.
    assert!(told[0].counts.last < told[1].counts.first);
    told.extend(bench.wait(20_000).unwrap().1);
    let packets: u64 = told.iter().map(|part| part.counts.packets).sum();
    assert_eq!(packets, sent);
    assert!(bench.meter.is_empty());
    let mut bench = Bench::new(1000, TIMING);
    for _ in 0..600 {
        bench.send(&[numbered(1)]);
        bench.now += 100;
        bench.look(true);
    }
    assert_eq!(bench.wait(1000).unwrap().1[0].reason, EndReason::Active);
    assert_eq!(bench.wait(20_000), None);
    assert!(bench.meter.is_empty());
}

/// Before a counter is beyond its 32 bits a record is made of what there is, and the flow goes on.
#[test]
fn a_flow_with_full_counters_is_told_before_its_time() {
    let mut bench = Bench::new(1000, TIMING);
    // As many octets as there are, with another one.
    let large = |layer2_octets| Packet {
        layer2_octets,
        octets: layer2_octets - 14,
        ..numbered(1)
    };
    let half = 1 << 31;
    bench.send(&[large(half)]);
    bench.now += 1_000;
    bench.send(&[large(half - 1)]);
    assert_eq!(bench.ended, []);
    bench.now += 1_000;
    bench.send(&[large(60), large(half)]);
    let told = std::mem::take(&mut bench.ended);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, EndReason::Active);
    let counts = told[0].counts;
    assert_eq!((counts.packets, counts.layer2_octets), (2, (1 << 32) - 1));
    assert_eq!((counts.first, counts.last), (1000, 2000));
    assert_eq!(bench.meter.len(), 1);
    assert_eq!(bench.meter.tally().flows, 1);
    let (after, rest) = bench.wait(20_000).unwrap();
    assert!((15_000..=15_500).contains(&after), "{after}");
    assert_eq!(rest.len(), 1);
    assert_eq!(
        (rest[0].flow, rest[0].reason),
        (told[0].flow, EndReason::Idle)
    );
    let counts = rest[0].counts;
    assert_eq!((counts.packets, counts.layer2_octets), (2, (1 << 31) + 60));
    assert_eq!((counts.first, counts.last), (3000, 3000));
}

#[test]
fn tcp_says_when_it_ends() {
    for flags in [0x11, 0x04] {
        let mut bench = Bench::new(1000, TIMING);
        let segment = |flags| read(&ethernet(ethertype::IPV4, &v4(6, 0, &tcp(flags, 0))));
        bench.send(&[segment(0x02), segment(0x10), segment(flags)]);
        bench.now += 100;
        bench.send(&[segment(0x10)]);
        let (after, ended) = bench.wait(20_000).unwrap();
        assert!((500..=1_000).contains(&after), "{after}");
        assert_eq!(ended[0].reason, EndReason::Ended);
        assert_eq!(ended[0].counts.tcp_flags, u16::from(0x12 | flags));
        assert_eq!(ended[0].counts.packets, 4);
    }
}

/// One that was looked at, and of which nothing was due for long, is over as soon.
#[test]
fn tcp_that_ends_after_a_while_is_not_waited_for() {
    let mut bench = Bench::new(1000, TIMING);
    let segment = |flags| read(&ethernet(ethertype::IPV4, &v4(6, 0, &tcp(flags, 0))));
    bench.send(&[segment(0x02)]);
    assert_eq!(bench.wait(2_000), None);
    bench.send(&[segment(0x11)]);
    let (after, ended) = bench.wait(20_000).unwrap();
    assert!((500..=1_000).contains(&after), "{after}");
    assert_eq!(ended[0].reason, EndReason::Ended);
}

/// Times are told by their low bits, which begin anew every 49.7 days: a place that was empty for long knows nothing of when it is due.
#[test]
fn a_flow_after_weeks_of_silence_ends_in_time() {
    let mut bench = Bench::new(1, TIMING);
    for days in [0, 10, 20, 25, 30, 40, 49, 60] {
        bench.send(&[numbered(days)]);
        let (after, ended) = bench.wait(20_000).unwrap();
        assert!((15_000..=15_500).contains(&after), "{days} days: {after}");
        assert_eq!(ended[0].reason, EndReason::Idle);
        bench.now += u64::from(days) * 86_400_000;
    }
}

/// A place that was empty since the low bits began anew is not due in the past, and 24.8 days later in the future: not even where nobody
/// looks at that moment.
#[test]
fn a_flow_that_begins_before_the_low_bits_change_sign_ends_in_time() {
    for halves in 1..5 {
        let mut bench = Bench::new(1, TIMING);
        bench.now = (halves << 31) - 16_000;
        bench.send(&[numbered(1)]);
        bench.now += 20_000;
        bench.look(true);
        let reasons: Vec<_> = bench.ended.iter().map(|record| record.reason).collect();
        assert_eq!(reasons, [EndReason::Idle]);
    }
}

#[test]
fn a_flow_whose_port_goes_is_forced_to_end() {
    let mut bench = Bench::new(1000, TIMING);
    bench.send(&[numbered(1), numbered(2)]);
    bench.look(true);
    assert_eq!(bench.ended, []);
    bench.now += 500;
    bench.look(false);
    let reasons: Vec<_> = bench.ended.iter().map(|record| record.reason).collect();
    assert_eq!(reasons, [EndReason::Forced; 2]);
    assert!(bench.meter.is_empty());
}
