//! Limits on ports: what passes in any time, what waits, in which order, and what it costs those who wait.

mod bench;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use weft_datapath::testing::one_switch;
use weft_datapath::{Admission, DropReason, Offloads, PortId, ShapeConfig};
use weft_vlan::Policy;

use bench::*;

#[test]
fn ten_seconds_of_full_load_are_ten_seconds_of_the_average() {
    for (average, len) in [(10_000_000, 60), (10_000_000, 1514), (1_000_000_000, 1514)] {
        let limit = limit(average, average, average / 8 / 100);
        for (shape_in, shape_out) in [(Some(limit), None), (None, Some(limit))] {
            let mut bench = Bench::new(shape_in, shape_out);
            let octets: u64 = bench.full_load(limit, len, 10 * SECOND).iter().sum();
            assert!(
                is_near(octets, average, 10 * SECOND),
                "{octets} octets in frames of {len} at {average} bit/s, {shape_in:?} {shape_out:?}"
            );
        }
    }
}

/// Time at the peak is burst · 8 / (peak − average), and then the average is what there is.
#[test]
fn the_peak_lasts_for_the_burst() {
    let (average, peak) = (10_000_000, 50_000_000);
    let limit = limit(average, peak, 5_000_000);
    for (shape_in, shape_out) in [(Some(limit), None), (None, Some(limit))] {
        let mut bench = Bench::new(shape_in, shape_out);
        // The burst is used up after one second, which is 500 steps.
        let steps = bench.full_load(limit, 1000, 3 * SECOND);
        let sum = |from: usize, to: usize| steps[from..to].iter().sum::<u64>();
        assert!(is_near(sum(10, 485), peak, 950_000_000), "{shape_in:?}");
        assert!(
            is_near(sum(515, 1500), average, 1_970_000_000),
            "{shape_in:?}"
        );
    }
}

#[test]
fn what_is_not_let_pass_stays_with_its_sender() {
    let mut bench = Bench::new(Some(limit(8_000_000, 8_000_000, 3000)), None);
    for n in 0..10 {
        bench.send(&frame(1, 2, n, 1000));
    }
    bench.settle();
    let waiting = |bench: &Bench| bench.rig.port(PortId(1)).waiting();
    assert_eq!((bench.received().len(), waiting(&bench)), (3, 7));
    // A thousand octets take a millisecond; the first frame may begin with the first octet.
    bench.pass_at(START + 999_000);
    bench.settle();
    assert_eq!((bench.received().len(), waiting(&bench)), (1, 6));
    bench.pass_at(START + 1_500_000);
    assert_eq!((bench.received().len(), waiting(&bench)), (1, 5));
    // Others are not concerned.
    bench.rig.port(PortId(3)).send(&frame(3, 2, 99, 1000));
    bench.settle();
    assert_eq!(number(&bench.received()[0]), 99);
    assert_eq!(bench.counters(1).rx_frames, 5);
    bench.rig.audit();
}

#[test]
fn what_finds_no_room_before_a_port_is_dropped_and_counted() {
    // 50 ms are 25,000 octets.
    let mut bench = Bench::new(None, Some(limit(4_000_000, 4_000_000, 2000)));
    for n in 0..100 {
        bench.send(&frame(1, 2, n, 1000));
    }
    bench.settle();
    let (counters, received) = (bench.counters(2), bench.received().len());
    assert_eq!(
        (received, counters.tx_frames, counters.tx_queued),
        (2, 2, 25)
    );
    assert_eq!(bench.drops(DropReason::ShaperFull), 73);
    assert_eq!(
        bench.counters(1).rx_delivered,
        27,
        "what waits is delivered"
    );
    bench.rig.audit();
    // They leave although nobody sends.
    bench.pass_at(START + SECOND);
    let numbers: Vec<u32> = bench.received().iter().map(|frame| number(frame)).collect();
    assert_eq!(
        numbers,
        (2..4).collect::<Vec<_>>(),
        "the burst holds as many"
    );
    for n in 1..100 {
        bench.pass_at(START + SECOND + n * 2_000_000);
    }
    let numbers: Vec<u32> = bench.received().iter().map(|frame| number(frame)).collect();
    assert_eq!(numbers, (4..27).collect::<Vec<_>>());
    assert_eq!(bench.counters(2).tx_queued, 0);
    bench.rig.audit();
}

/// However little a port may get, there is room for one frame of any size, and for ten full ones.
#[test]
fn every_queue_has_room_for_the_largest_frame() {
    let mut bench = Bench::new(None, Some(limit(1000, 1000, 1)));
    bench.rig.port(PortId(2)).take_offloads(all_offloads());
    let send_large = |bench: &mut Bench, n| {
        let (header, frame) = large_packet(n, 65_000, 1400);
        bench.rig.port(PortId(1)).send_with(header, &frame);
        bench.settle();
    };
    for n in 0..3 {
        send_large(&mut bench, n);
    }
    let queued = bench.counters(2).tx_queued;
    assert_eq!(
        (
            bench.received().len(),
            queued,
            bench.drops(DropReason::ShaperFull)
        ),
        (1, 1, 1)
    );
    bench.pass_at(START + 1000 * SECOND);
    assert_eq!(bench.received().len(), 1);
    for n in 0..12 {
        bench.send(&frame(1, 2, n, 1514));
    }
    bench.settle();
    assert_eq!(bench.counters(2).tx_queued, 10);
    bench.rig.audit();
}

/// A limit that goes lets what waits pass, one that changes keeps it.
#[test]
fn a_change_of_limits_loses_nothing() {
    let slow = limit(1_000_000, 1_000_000, 1000);
    let mut bench = Bench::new(Some(slow), Some(slow));
    for n in 0..11 {
        bench.send(&frame(1, 2, n, 1000));
    }
    bench.settle();
    assert_eq!(
        (bench.received().len(), bench.counters(1).rx_frames),
        (1, 1)
    );
    bench.shape(None, Some(slow));
    bench.settle();
    assert_eq!(
        (bench.received().len(), bench.counters(2).tx_queued),
        (0, 10)
    );
    // Nobody gets a full bucket by a change.
    bench.shape(None, Some(limit(1_000_000, 2_000_000, 1000)));
    bench.settle();
    assert_eq!(
        (bench.received().len(), bench.counters(2).tx_queued),
        (0, 10)
    );
    // What concerns others is no change.
    bench.ports[2].promiscuous = true;
    bench.apply();
    bench.settle();
    assert_eq!(
        (bench.received().len(), bench.counters(2).tx_queued),
        (0, 10)
    );
    bench.shape(None, None);
    bench.send(&frame(1, 2, 11, 1000));
    bench.settle();
    let numbers: Vec<u32> = bench.received().iter().map(|frame| number(frame)).collect();
    assert_eq!(numbers, (1..12).collect::<Vec<_>>());
    bench.rig.audit();
    // And a limit that comes back is a new one.
    bench.apply();
    bench.shape(None, Some(slow));
    bench.send(&frame(1, 2, 12, 1000));
    bench.settle();
    assert_eq!(bench.received().len(), 1);
}

#[test]
fn an_ingress_limit_outlives_the_engine() {
    let slow = limit(1_000_000, 1_000_000, 1000);
    let mut bench = Bench::new(Some(slow), None);
    bench.send(&frame(1, 2, 0, 1000));
    bench.settle();
    let _ = bench.rig.datapath.detach(PortId(1));
    bench.rig.attach(PortId(1), DEPTH).expect("an eventfd");
    bench.apply();
    bench.send(&frame(1, 2, 1, 1000));
    bench.settle();
    assert_eq!(
        bench.received().len(),
        1,
        "the bucket is as empty as before"
    );
    bench.pass_at(START + SECOND);
    assert_eq!(bench.received().len(), 1);
}

#[test]
fn what_waits_for_a_port_that_goes_is_counted_there() {
    let slow = limit(1_000_000, 1_000_000, 1000);
    type Change = fn(&mut Bench);
    let changes: [(DropReason, Change); 4] = [
        (DropReason::PortBlocked, |bench| {
            bench.ports[1].admission = Admission::Blocked;
            bench.apply();
        }),
        (DropReason::PortDown, |bench| {
            bench.ports[1].admission = Admission::Down;
            bench.apply();
        }),
        (DropReason::PortDown, |bench| {
            let _ = bench.rig.datapath.detach(PortId(2));
        }),
        (DropReason::PortDown, |bench| {
            let removed = bench.ports.remove(1);
            bench.apply();
            bench.ports.insert(1, removed);
        }),
    ];
    for (reason, change) in changes {
        let mut bench = Bench::new(None, Some(slow));
        for n in 0..11 {
            bench.send(&frame(1, 2, n, 1000));
        }
        bench.settle();
        assert_eq!(bench.counters(2).tx_queued, 10);
        change(&mut bench);
        bench.pass_at(bench.now);
        assert_eq!((bench.counters(2).tx_queued, bench.drops(reason)), (0, 10));
        bench.rig.audit();
        // The thread has forgotten what it held back.
        bench.pass_at(bench.now + 100 * SECOND);
        assert_eq!(bench.received().len(), 1);
        bench.rig.audit();
    }
}

/// However it leaves the switch, a large packet costs what its segments do, tags and all.
#[test]
fn a_large_packet_costs_what_its_segments_do() {
    // 100 segments.
    let (header, packet) = large_packet(1, 40_000, 400);
    let octets = 40_000 + 100 * HEADERS as u64;
    // Microseconds for octets.
    let slow = Some(limit(8_000_000, 8_000_000, 1));
    for (shape_in, shape_out, takes, tag) in [
        (slow, None, true, 0),
        (slow, None, false, 0),
        (None, slow, true, 0),
        (None, slow, false, 0),
        (None, slow, true, 4),
        (None, slow, false, 4),
    ] {
        let mut bench = Bench::new(shape_in, shape_out);
        if tag > 0 {
            bench.ports[1].vlan = Policy::trunk_all();
            bench.apply();
        }
        if takes {
            bench.rig.port(PortId(2)).take_offloads(all_offloads());
        }
        bench.rig.port(PortId(1)).send_with(header, &packet);
        bench.send(&frame(1, 2, 2, 60));
        bench.settle();
        assert!(bench.received().iter().all(|frame| number(frame) == 1));
        let opens_at = START + (octets + 100 * tag) * 1000 - 1000;
        bench.pass_at(opens_at);
        assert!(bench.received().is_empty(), "{shape_in:?} {takes} {tag}");
        bench.pass_at(opens_at + 1001);
        assert_eq!(
            number(&bench.received()[0]),
            2,
            "{shape_in:?} {takes} {tag}"
        );
        bench.rig.audit();
    }
}

/// Whatever is done to a frame on its way out is done to one that waited, too.
#[test]
fn what_waited_is_what_it_would_have_been() {
    let slow = Some(limit(8_000_000, 8_000_000, 1));
    for (trunk, takes) in [(false, false), (false, true), (true, false), (true, true)] {
        let exchange = |shape_out| {
            let mut bench = Bench::new(None, shape_out);
            if trunk {
                bench.ports[1].vlan = Policy::trunk_all();
                bench.apply();
            }
            if takes {
                bench.rig.port(PortId(2)).take_offloads(all_offloads());
            }
            for n in 0..5 {
                bench.send(&frame(1, 2, n, 60 + 100 * n as usize));
                let (header, packet) = large_packet(n, 5000, 1000);
                bench.rig.port(PortId(1)).send_with(header, &packet);
            }
            bench.settle();
            for _ in 0..10 {
                bench.pass_at(bench.now + SECOND);
            }
            bench.rig.audit();
            bench.rig.port(PortId(2)).drain_with_headers()
        };
        let (at_once, waited) = (exchange(None), exchange(slow));
        assert_eq!(at_once.len(), if takes { 10 } else { 30 });
        assert!(at_once == waited, "{trunk} {takes}");
    }
}

#[test]
fn a_trace_tells_of_limits() {
    let slow = limit(1_000_000, 1_000_000, 1000);
    let mut bench = Bench::new(Some(slow), None);
    let trace = |bench: &Bench| {
        let trace = bench.rig.datapath.trace(PortId(1), &frame(1, 2, 0, 60));
        let trace = trace.expect("the port is configured");
        (trace.shaped_in, trace.shaped_out)
    };
    assert_eq!(trace(&bench), (true, vec![]));
    bench.shape(None, Some(slow));
    assert_eq!(trace(&bench), (false, vec![PortId(2)]));
    bench.ports[0].shape_in = Some(slow);
    let would = bench.rig.datapath.trace_in(
        &one_switch(bench.ports.clone()),
        PortId(1),
        &frame(1, 2, 0, 60),
    );
    let would = would.expect("the port is configured");
    assert!(would.shaped_in);
}

fn all_offloads() -> Offloads {
    Offloads::CHECKSUM.with(Offloads::TCP_V4)
}

/// What a port sends at a time: ordinary frames, by their lengths, or a large packet and the size of its segments.
#[derive(Clone, Debug)]
enum Load {
    Frames(Vec<usize>),
    Large(usize, u16),
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![
        3 => vec(60usize..1514, 1..40).prop_map(Load::Frames),
        1 => (1usize..60_000, 400u16..1400).prop_map(|(payload, size)| Load::Large(payload, size)),
    ]
}

fn shape() -> impl Strategy<Value = ShapeConfig> {
    let average = prop_oneof![10_000u64..1_000_000, 1_000_000u64..5_000_000_000];
    (average, 1.0f64..10.0, 1u64..300_000)
        .prop_map(|(average, times, burst)| limit(average, (average as f64 * times) as u64, burst))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is sent whenever, and whenever the thread comes by: no time sees more than the limit lets pass in it, nothing is
    /// overtaken, and every frame is somewhere.
    #[test]
    fn no_time_sees_more_than_its_limit(
        shape in shape(),
        is_in: bool,
        takes: bool,
        trunk: bool,
        steps in vec((0u64..2_000_000, option::weighted(0.7, load())), 1..60),
    ) {
        let (shape_in, shape_out) = if is_in { (Some(shape), None) } else { (None, Some(shape)) };
        let mut bench = Bench::new(shape_in, shape_out);
        if trunk && !is_in {
            bench.ports[1].vlan = Policy::trunk_all();
            bench.apply();
        }
        if takes {
            bench.rig.port(PortId(2)).take_offloads(all_offloads());
        }
        let (mut sent, mut passed, mut numbers) = (0, Vec::new(), Vec::new());
        let mut look = |bench: &Bench| {
            bench.rig.audit();
            let got = bench.rig.port(PortId(2)).drain_with_headers();
            numbers.extend(got.iter().map(|(_, frame)| number(frame)));
            passed.push((bench.now, got.iter().map(cost).sum::<u64>()));
        };
        for (wait, load) in steps {
            match load {
                None => {}
                Some(Load::Frames(lengths)) => for len in lengths {
                    bench.send(&frame(1, 2, sent, len));
                    sent += 1;
                },
                Some(Load::Large(payload, size)) => {
                    let (header, frame) = large_packet(sent, payload, size);
                    bench.rig.port(PortId(1)).send_with(header, &frame);
                    sent += 1;
                }
            }
            bench.pass_at(bench.now + wait);
            look(&bench);
        }
        // A large packet with all its segments' headers and tags.
        let one_frame = 60_000.0 + 150.0 * (HEADERS + 4) as f64;
        let peak_burst = (shape.peak as f64 / 8.0 * 0.005).min(shape.burst as f64);
        for first in 0..passed.len() {
            let mut octets = 0;
            for &(at, more) in &passed[first..] {
                octets += more;
                let seconds = (at - passed[first].0) as f64 / SECOND as f64;
                let most = |burst: f64, rate: u64| burst + rate as f64 / 8.0 * seconds + one_frame;
                prop_assert!(octets as f64 <= most(shape.burst as f64, shape.average));
                prop_assert!(octets as f64 <= most(peak_burst, shape.peak));
            }
        }
        // Given time, everything that is somewhere arrives.
        let mut look = |bench: &Bench| {
            bench.rig.audit();
            let got = bench.rig.port(PortId(2)).drain_with_headers();
            numbers.extend(got.iter().map(|(_, frame)| number(frame)));
        };
        while !bench.rig.port(PortId(1)).is_idle() || bench.counters(2).tx_queued > 0 {
            bench.pass_at(bench.now + 1000 * SECOND);
            look(&bench);
        }
        prop_assert!(numbers.is_sorted());
        numbers.dedup();
        prop_assert_eq!(numbers.len() as u64 + bench.drops(DropReason::ShaperFull), u64::from(sent));
        prop_assert!(!is_in || numbers.len() == sent as usize, "ingress drops nothing");
    }
}
