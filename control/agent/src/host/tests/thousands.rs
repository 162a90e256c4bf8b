//! A host of thousands of ports, of which a change concerns a few.

use std::sync::atomic::{AtomicBool, Ordering};

use weft_api::ApplyOptions;

use super::{Bench, eventually, frame};
use crate::testing::{PORTGROUPS, manifest};

const PORTS: usize = 4000;

#[test]
fn one_vlan_of_4000_ports_changes_and_nobody_else_loses_a_frame() {
    let names: Vec<_> = (0..PORTS).map(|number| format!("p{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names);
    let apply = |vlan| {
        let options = ApplyOptions::default();
        let result = bench
            .host()
            .apply(&manifest(PORTS, vlan), options, "root", |_| {});
        result.unwrap()
    };
    assert_eq!(apply(100).changes.len(), 1 + PORTGROUPS + PORTS);
    assert_eq!(bench.host().status().counts.ports_up, PORTS);

    // Ports 0 and 100 are in the first port group, 99 and 199 in the last, whose VLAN changes.
    let (one, other) = (bench.memory.port("p0"), bench.memory.port("p100"));
    let to_other = [2, 0, 0, 0, 0, 100, 2, 0, 0, 0, 0, 0];
    let (mut sent, mut received) = (0, 0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..20 {
                let result = apply(100 + round % 2 * 900);
                if round > 0 {
                    assert_eq!(result.changes.len(), 1);
                    assert_eq!(result.ports.len(), PORTS / PORTGROUPS);
                    assert_eq!(result.interrupted.len(), PORTS / PORTGROUPS);
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        // As much as the receive queue of the other side holds is under way at a time.
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..64 {
                let mut frame = frame(0, 0);
                frame[..12].copy_from_slice(&to_other);
                one.send(&frame);
                sent += 1;
            }
            eventually("the frames arrive", || {
                received += other.drain().len();
                received == sent
            });
        }
    });
    assert!(sent > 0);
    let stats = bench.host().stats(&["vm0".to_owned()]).unwrap();
    assert_eq!(
        (stats[0].rx_delivered, stats[0].drops.len()),
        (sent as u64, 0)
    );
    for name in ["p0", "p100", "p99", "p3999"] {
        assert_eq!(bench.memory.opened(name), 1, "{name} was left alone");
    }
}
