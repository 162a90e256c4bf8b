//! All kinds of frames, told in all versions to all collectors.

use weft_tests::{Collectors, until};

use crate::flows::{
    Flow, Flows, SCTP, Totals, agree, dissect, known, of_capture, of_nfacctd, of_nfdump, of_tshark,
    told,
};
use crate::lab::Lab;
use crate::mix;

/// Everything that nfcapd, nfacctd and tshark can know of the mix is what a capture has, where `forget` blanks what the version does
/// not tell.
fn compare(
    version: &str,
    forget: impl Fn(&mut Flow, &mut Totals) -> bool,
) -> Vec<serde_json::Value> {
    let lab = Lab::new();
    let network = Collectors::new(&lab.host);
    let (nfcapd, nfacctd) = (network.nfcapd(2055), network.nfacctd(2056));
    let export = network.capture(2055);
    let received = lab.capture();
    lab.tell(&format!(
        "--collector 10.8.0.9:2055 --collector 10.8.0.9:2056 --version {version} --active 2s --idle 1s"
    ));
    lab.send(&lab.one, &mix::frames(lab.one.mac, lab.two.mac));
    lab.over(1);
    let frames = of_capture(received.holds(lab.delivered(&lab.two)));
    let is_ipv6 = |flow: &Flow| flow.addresses.is_some_and(|[src, _]| src.is_ipv6());
    assert!(
        frames.keys().any(is_ipv6) && frames.len() > 80,
        "{frames:#?}"
    );
    let frames = known(&frames, forget);
    // Everything is told when it has ended.
    lab.host.end();

    let (records, log) = nfcapd.ends();
    if version != "ipfix" {
        assert!(log.contains("Sequence Errors: 0"), "{log}");
    }
    let expected = known(&frames, |flow, totals| {
        (flow.ethertype, totals.layer2_octets) = (0, 0);
        true
    });
    agree("nfdump", &of_nfdump(&records), &expected);

    let expected = known(&frames, |flow, totals| {
        (flow.ethertype, totals.layer2_octets, totals.tcp_flags) = (0, 0, 0);
        // In version 5, nfacctd 1.7.7 reads no ports of SCTP.
        if version == "5" && flow.protocol == SCTP {
            flow.ports = [0, 0];
        }
        flow.addresses.is_some()
    });
    let packets = |flows: &Flows| flows.values().map(|totals| totals.packets).sum::<u64>();
    until("nfacctd tells of every packet", || {
        packets(&of_nfacctd(&nfacctd.records())) >= packets(&expected)
    });
    agree("nfacctd", &of_nfacctd(&nfacctd.records()), &expected);

    let records = dissect(export.all(&lab.host));
    agree("tshark", &of_tshark(&records), &frames);
    records
}

#[test]
fn ipfix_tells_all_flows_of_the_mix() {
    let records = compare("ipfix", |_, _| true);
    // One and the same VLAN by all of its names, and the first port is where all enter.
    for record in &records {
        assert_eq!(told(record, "vlanid"), told(record, "dot1q_vlan_id"));
        assert_eq!(
            told(record, "inputint"),
            told(record, "observation_point_id")
        );
    }
}

#[test]
fn version_9_tells_all_flows_of_the_mix() {
    compare("9", |_, _| true);
}

#[test]
fn version_5_tells_the_flows_of_ipv4() {
    compare("5", |flow, totals| {
        (flow.macs, flow.vlan, flow.ethertype) = Default::default();
        totals.layer2_octets = 0;
        flow.addresses.is_some_and(|[src, _]| src.is_ipv4())
    });
}
