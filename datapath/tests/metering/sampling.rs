//! What of many packets is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use weft_datapath::{Datapath, Options, PollMode};

use super::*;

/// Packets of which one in N is counted are not added to those of which every one was, and are told after them.
#[test]
fn another_sampling_begins_anew() {
    let mut bench = Bench::new(METER, &[A]);
    let sent = frame(A, mac(B.0), 10);
    bench.send(A, std::slice::from_ref(&sent));
    bench.set(|config| config.switches[0].meter.as_mut().unwrap().sampling = 2);
    assert_eq!(bench.rig.datapath.flow_sampling(SwitchId(0)), Some(0));
    // Those that one in two was counted of are told at once, if they are not held back.
    bench.send(A, &vec![sent; 64]);
    bench.set(|config| config.switches[0].meter.as_mut().unwrap().sampling = 4);
    bench.wait(1_000);
    let datapath = &bench.rig.datapath;
    let take = |is_asked_for: bool| {
        let mut told = Vec::new();
        datapath.take_flows(
            usize::MAX,
            |_| is_asked_for,
            |origin, ended| {
                told.push((origin.sampling, ended.record().reason));
            },
        );
        told
    };
    assert_eq!(take(false), [], "of a switch that is not asked for");
    assert_eq!(take(true), [(0, EndReason::Forced)]);
    assert_eq!(take(true), [(2, EndReason::Forced)]);
    assert_eq!(take(true), []);
    assert_eq!(datapath.flow_sampling(SwitchId(0)), Some(4));
    bench.set(|config| config.switches[0].meter = None);
    bench.wait(1_000);
    assert_eq!(bench.rig.datapath.flow_sampling(SwitchId(0)), None);
}

/// Who sees the same frames on two threads does not have the same ones counted.
#[test]
fn threads_sample_each_for_itself() {
    const FRAMES: u16 = 4_000;
    let (sender, _events) = crossbeam_channel::bounded(64);
    let options = Options {
        cores: vec![0, 1],
        poll: PollMode::Adaptive,
    };
    let datapath = Datapath::start(&options, &sender).unwrap();
    // One on each thread, and whom both send to.
    let attach = |id| datapath.attach_memory(id, 64, true).unwrap();
    let [a, b, _c] = [A, B, C].map(attach);
    assert!(datapath.threads().iter().all(|thread| thread.queues > 0));
    let ports = [(A, true), (B, true), (C, false)].map(|(id, metered)| PortConfig {
        metered,
        ..port(id.0, Policy::External)
    });
    let mut config = one_team(TeamPolicy::SourceId, ports);
    config.switches[0].meter = Some(MeterConfig {
        flows: 10_000,
        sampling: 10,
        ..METER
    });
    datapath.apply(&config).unwrap();
    for (handle, from) in [(&a, A), (&b, B)] {
        for number in 0..FRAMES {
            let mut numbered = frame(from, mac(C.0), 10);
            numbered[36..38].copy_from_slice(&number.to_be_bytes());
            handle.send(&numbered);
        }
    }
    let until = Instant::now() + Duration::from_secs(20);
    let entered = |id| datapath.counters(id).unwrap().rx_frames;
    while [A, B].iter().any(|id| entered(*id) < FRAMES.into()) {
        assert!(Instant::now() < until, "not all frames entered");
        std::thread::yield_now();
    }
    datapath.end_flows(Duration::from_secs(10), || {});
    let mut taken = BTreeMap::<_, BTreeSet<_>>::new();
    datapath.take_flows(
        usize::MAX,
        |_| true,
        |_, ended| {
            let Record { flow, counts, .. } = ended.record();
            assert_eq!(counts.packets, 1);
            let numbers = taken.entry(flow.ingress.0).or_default();
            assert!(numbers.insert(flow.dst_port));
        },
    );
    let [of_a, of_b] = [A, B].map(|id| &taken[&interface(id)]);
    // Binomial: one in ten, and five standard deviations of 19 each.
    for numbers in [of_a, of_b] {
        assert!((305..=495).contains(&numbers.len()), "{}", numbers.len());
    }
    // Those that both took: one in ten of these, and six standard deviations of 6 each.
    let both = of_a.intersection(of_b).count();
    assert!(both <= 80, "{both}");
}
