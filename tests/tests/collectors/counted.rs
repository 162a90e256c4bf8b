//! Which frames are counted, and as what.

use weft_packet::MacAddr;
use weft_tests::{Collectors, until};

use crate::flows::{dissect, told};
use crate::lab::Lab;
use crate::mix;

/// What a direction is told as (IANA "flowDirection").
const IN: u64 = 0;
const OUT: u64 = 1;

/// Sends five frames from a VM to another, six from the VM to the world behind an uplink and seven from there to the VM; compares what is
/// told with `expected`: by source port, direction and packets.
fn counted(settings: &str, expected: &[[u64; 3]]) {
    let lab = Lab::new();
    let world = lab.host.world("eth1");
    lab.host.does("uplink add vSwitch1 eth1");
    let network = Collectors::new(&lab.host);
    let export = network.capture(2055);
    let _listener = network.socket(2055);
    lab.tell(&format!(
        "--collector 10.8.0.9:2055 --active 60s --idle 1s {settings}"
    ));
    let frames =
        |from: MacAddr, to: MacAddr, port, count| vec![mix::datagram(from, to, port, 50); count];
    lab.send(&lab.one, &frames(lab.one.mac, lab.two.mac, 5, 5));
    lab.send(&lab.one, &frames(lab.one.mac, world.mac, 6, 6));
    let before = lab.delivered(&lab.one);
    let socket = world.socket();
    for frame in frames(world.mac, lab.one.mac, 7, 7) {
        socket.send(&frame);
    }
    until("the frames of the world have come", || {
        lab.delivered(&lab.one) == before + 7
    });
    lab.over(expected.len() as u64);
    lab.host.end();
    let records = dissect(export.all(&lab.host));
    let read = |record| ["srcport", "direction", "packets"].map(|name| told(record, name));
    let mut found: Vec<_> = records.iter().map(read).collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{settings}");
}

#[test]
fn a_frame_is_counted_once_though_both_its_ports_are() {
    counted("--direction both", &[[5, IN, 5], [6, IN, 6], [7, OUT, 7]]);
}

#[test]
fn what_vms_send_is_counted() {
    counted("--direction in", &[[5, IN, 5], [6, IN, 6]]);
}

#[test]
fn what_vms_receive_is_counted() {
    counted("--direction out", &[[5, OUT, 5], [7, OUT, 7]]);
}

#[test]
fn what_stays_on_the_host_is_counted() {
    counted("--internal-only yes", &[[5, IN, 5]]);
}
