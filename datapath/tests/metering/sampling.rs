//! What of many packets is counted.

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
