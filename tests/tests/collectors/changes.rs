//! Settings that change while flows go on: what was counted before is told as it was counted, and to whom it was to be told.

use std::collections::BTreeMap;

use weft_tests::{Collectors, Vm};

use crate::flows::{agree, dissect, of_capture, of_nfdump, of_tshark};
use crate::lab::Lab;
use crate::mix;

/// A flow to this port.
fn flow(lab: &Lab, port: u16, packets: usize) -> Vec<Vec<u8>> {
    vec![mix::datagram(lab.one.mac, lab.two.mac, port, 100); packets]
}

/// Collectors multiply by the sampling that they were told last.
#[test]
fn flows_are_told_with_the_sampling_that_they_were_counted_with() {
    const SAMPLING: u64 = 50;
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let nfcapd = network.nfcapd(2055);
    lab.tell("--collector 10.8.0.9:2055");
    lab.send(&lab.one, &flow(&lab, 1, 400));
    lab.host
        .does(&format!("netflow set vSwitch1 --sampling {SAMPLING}"));
    lab.send(&lab.one, &flow(&lab, 2, 4_000));
    lab.host.does("netflow set vSwitch1 --sampling 0");
    lab.send(&lab.one, &flow(&lab, 3, 300));
    lab.host.end();
    let (records, log) = nfcapd.ends();
    let packets: BTreeMap<_, _> = of_nfdump(&records)
        .into_iter()
        .map(|(flow, totals)| (flow.ports[0], totals.packets))
        .collect();
    assert_eq!((packets[&1], packets[&3]), (400, 300), "{log}");
    assert_eq!(packets[&2] % SAMPLING, 0, "{packets:?} {log}");
    // Seven standard deviations of the 80 that are to be counted.
    let counted = packets[&2] / SAMPLING;
    assert!((18..=142).contains(&counted), "{packets:?}");
}

/// The flows of a switch that loses its NetFlow, and of one that is deleted and added again, by the time that they are told.
#[test]
fn flows_are_told_though_nobody_is_to_be_told_of_later_ones() {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let export = network.capture(2055);
    let received = lab.capture();
    lab.tell("--collector 10.8.0.9:2055");
    lab.send(&lab.one, &flow(&lab, 1, 40));
    lab.host.does("portgroup set Lab --netflow inherit");
    lab.host.does("netflow del vSwitch1");
    lab.tell("--collector 10.8.0.9:2055");
    lab.send(&lab.one, &flow(&lab, 1, 30));

    lab.host.does("port del one");
    lab.host.does("port del two");
    lab.host.does("portgroup del Lab");
    lab.host.does("netflow del vSwitch1");
    lab.host.does("vswitch del vSwitch1");
    lab.host.does("vswitch add vSwitch1");
    lab.host
        .does("portgroup add Lab --vswitch vSwitch1 --vlan 4095");
    for vm in [&lab.one, &lab.two] {
        let Vm {
            name,
            interface,
            mac,
            ..
        } = vm;
        lab.host.does(&format!(
            "port add {name} --portgroup Lab --veth {interface} --mac {mac}"
        ));
    }
    lab.are_up();
    lab.tell("--collector 10.8.0.9:2055");
    lab.send(&lab.one, &flow(&lab, 1, 20));
    lab.host.end();

    let records = dissect(export.all(&lab.host));
    assert_eq!(records.len(), 3, "{records:#?}");
    agree(
        "tshark",
        &of_tshark(&records),
        &of_capture(received.holds(90)),
    );
}
